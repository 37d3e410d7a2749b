{%- set weights = var('health_weights') -%}
-- How each project stands at the end of a day: what is done, who is active, how long nothing happened.
with days as (
  {{ days_of_the_run('score_date') }}
), projects as (
  select days.score_date, versions.tenant_id, versions.project_id
  from days join {{ ref('stg_project_versions') }} as versions on {{ held_at_the_end('versions', 'days.score_date') }}
), personas as (
  select days.score_date, versions.tenant_id, versions.project_id, count(*) as personas
  from days join {{ ref('stg_persona_versions') }} as versions on {{ held_at_the_end('versions', 'days.score_date') }}
  group by all
), studies as (
  select
    days.score_date, versions.tenant_id, versions.project_id,
    count(*) as studies, count(*) filter (versions.is_done) as completed_studies
  from days join {{ ref('stg_study_versions') }} as versions on {{ held_at_the_end('versions', 'days.score_date') }}
  group by all
), counted as (
  select
    score_date,
    tenant_id,
    project_id,
    coalesce(studies, 0) as studies,
    coalesce(completed_studies, 0) as completed_studies,
    coalesce(personas, 0) as personas,
    coalesce(monthly_active_personas, 0) as active_personas,
    score_date - last_active_date as days_since_active
  from projects
  left join studies using (score_date, tenant_id, project_id)
  left join personas using (score_date, tenant_id, project_id)
  left join {{ ref('daily_active_personas') }} as active
    on active.activity_date = projects.score_date and active.tenant_id = projects.tenant_id
    and active.project_id = projects.project_id
), parts as (
  select
    *,
    case when studies > 0 then completed_studies / studies else 0e0 end as completion,
    case when personas > 0 then least(active_personas / personas, 1) else 0e0 end as engagement,
    coalesce(1 - days_since_active / {{ var('active_days') }}, 0) as recency
  from counted
)
select
  score_date,
  tenant_id,
  project_id,
  {{ project_of('tenant_id', 'project_id') }} as project,
  studies,
  completed_studies,
  personas,
  active_personas,
  days_since_active,
  completion,
  engagement,
  recency,
  {{ weights.completion }} * completion + {{ weights.engagement }} * engagement + {{ weights.recency }} * recency
    as health_score
from parts
