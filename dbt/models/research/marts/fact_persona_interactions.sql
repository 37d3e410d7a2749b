-- Each interaction with the versions of persona, project and person that held when it began.
with interactions as (
  select * from {{ source('clean', 'persona_interactions') }} where {{ in_window('interaction_date') }}
), personas as (
  {{ versions_for_facts(ref('stg_persona_versions'), ['tenant_id', 'persona_id']) }}
), projects as (
  {{ versions_for_facts(ref('stg_project_versions'), ['tenant_id', 'project_id']) }}
)
select
  interactions.interaction_date,
  interactions.tenant_id,
  interactions.interaction_id,
  interactions.interaction_type,
  interactions.persona_id,
  {{ key_at('personas', 'interactions.started_at', 'interactions.interaction_date') }} as persona_key,
  interactions.user_id,
  case when users.valid_to is null or interactions.started_at < users.valid_to then users.surrogate_key end as user_key,
  interactions.project_id,
  {{ key_at('projects', 'interactions.started_at', 'interactions.interaction_date') }} as project_key,
  interactions.discussion_id,
  interactions.survey_id,
  interactions.started_at,
  interactions.ended_at,
  (epoch_us(interactions.ended_at) - epoch_us(interactions.started_at)) / 1000000 as duration_seconds
from interactions
asof left join personas
  on interactions.tenant_id = personas.tenant_id and interactions.persona_id = personas.persona_id
  and interactions.started_at >= personas.found_from
asof left join projects
  on interactions.tenant_id = projects.tenant_id and interactions.project_id = projects.project_id
  and interactions.started_at >= projects.found_from
asof left join {{ ref('stg_user_versions') }} as users
  on interactions.user_id = users.user_id and interactions.started_at >= users.valid_from
