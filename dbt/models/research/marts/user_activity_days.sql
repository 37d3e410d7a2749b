select
  interaction_date as activity_date,
  tenant_id,
  user_id,
  count(*) as interactions,
  count(distinct persona_id) as personas,
  count(distinct project_id) as projects
from {{ ref('fact_persona_interactions') }}
where {{ in_window('interaction_date') }}
group by all
