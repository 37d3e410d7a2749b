-- What language models cost each discussion; which calls are whose is in the contract.
with calls as (
  select
    usage_date, tenant_id, usage_id, usage.project_id, trace_id,
    case when json_type(tags, '$.discussion_id') = 'VARCHAR' then nullif(tags->>'$.discussion_id', '') end as named
  from {{ source('clean', 'llm_usage') }} as usage
  join {{ ref('stg_known_projects') }} as projects using (tenant_id, project_id)
  where {{ in_window('usage_date') }} and known_from < usage_date + 1 and (tags is not null or trace_id is not null)
), traced as (
  select
    event_date + days.away as usage_date, tenant_id, project_id, correlation_id as trace_id,
    min(discussion_id) as discussion_id
  from {{ source('research', 'discussion_events') }}, (values (-1), (0), (1)) as days(away)
  where correlation_id is not null
  group by all
  having min(discussion_id) = max(discussion_id)
), of_discussions as (
  select usage_date, tenant_id, usage_id, coalesce(named, discussion_id) as discussion_id
  from calls left join traced using (usage_date, tenant_id, project_id, trace_id)
  where named is not null or discussion_id is not null
)
select
  usage_date,
  tenant_id,
  project_id,
  discussion_id,
  coalesce(feature, '') as feature,
  case when cost is null then '' else currency end as currency,
  count(*) as calls,
  count(*) filter (cost is null) as unpriced_calls,
  {{ total('total_tokens') }} as total_tokens,
  sum(cost) as cost
from {{ source('metering', 'usage_costs') }}
join of_discussions using (usage_date, tenant_id, usage_id)
group by all
