-- What language models cost research's projects, beside the discussions that were held.
with held as (
  select event_date as usage_date, tenant_id, project_id, count(distinct discussion_id) as discussions
  from {{ source('research', 'discussion_events') }}
  group by all
), costs as (
  select
    usage_date,
    tenant_id,
    project_id,
    feature,
    currency,
    {{ total('calls') }} as calls,
    {{ total('unpriced_calls') }} as unpriced_calls,
    {{ total('total_tokens') }} as total_tokens,
    sum(cost) as cost
  from {{ source('metering', 'tenant_daily_costs') }}
  where {{ in_window('usage_date') }}
  group by all
)
select
  usage_date,
  tenant_id,
  project_id,
  {{ project_of('tenant_id', 'project_id') }} as project,
  feature,
  currency,
  calls,
  unpriced_calls,
  total_tokens,
  cost,
  coalesce(discussions, 0) as discussions,
  case when discussions > 0
    then {{ millionths_of('cost', 'discussions') }}
  end as cost_per_discussion
from costs
join {{ ref('stg_known_projects') }} using (tenant_id, project_id)
left join held using (usage_date, tenant_id, project_id)
where known_from < usage_date + 1
