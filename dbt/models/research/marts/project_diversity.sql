select
  snapshot_date,
  tenant_id,
  project_id,
  any_value(project) as project,
  count(*) as attributes,
  sum(shannon_evenness order by attribute) / count(*) as shannon_evenness,
  sum(simpson_evenness order by attribute) / count(*) as simpson_evenness,
  sum(target_distance order by attribute) / count(target_distance) as target_distance
from {{ ref('persona_diversity') }}
where {{ in_window('snapshot_date') }}
group by snapshot_date, tenant_id, project_id
