-- Sums of floats are taken in order of the values: in any other the last digits would depend on who computed first.
with days as (
  {{ days_of_the_run('snapshot_date') }}
), found as (
  select days.snapshot_date, versions.tenant_id, versions.project_id, versions.attribute, versions.value, count(*) as n
  from days join {{ ref('stg_persona_attributes') }} as versions on {{ held_at_the_end('versions', 'days.snapshot_date') }}
  group by all
), shares as (
  select *, n / sum(n) over (partition by snapshot_date, tenant_id, project_id, attribute) as share from found
), indices as (
  select
    snapshot_date,
    tenant_id,
    project_id,
    attribute,
    {{ total('n') }} as personas,
    count(*) as distinct_values,
    -sum(share * ln(share) order by value) as shannon,
    1 - sum(n * n) / pow(sum(n), 2) as simpson
  from shares
  group by all
), wanted as (
  select days.snapshot_date, targets.tenant_id, targets.project_id, targets.attribute, targets.value, targets.share
  from days join {{ ref('stg_project_targets') }} as targets on {{ held_at_the_end('targets', 'days.snapshot_date') }}
), distances as (
  select
    snapshot_date,
    tenant_id,
    project_id,
    attribute,
    count(wanted.share) > 0 as has_target,
    sum(abs(coalesce(shares.share, 0) - coalesce(wanted.share, 0)) order by value) / 2 as distance
  from shares full join wanted using (snapshot_date, tenant_id, project_id, attribute, value)
  group by all
)
select
  snapshot_date,
  tenant_id,
  project_id,
  {{ project_of('tenant_id', 'project_id') }} as project,
  attribute,
  personas,
  distinct_values,
  case when distinct_values > 1 then shannon else 0 end as shannon,
  case when distinct_values > 1 then shannon / ln(distinct_values) else 0 end as shannon_evenness,
  simpson,
  case when distinct_values > 1 then simpson / (1 - 1 / distinct_values) else 0 end as simpson_evenness,
  case when has_target then distance end as target_distance
from indices
join distances using (snapshot_date, tenant_id, project_id, attribute)
