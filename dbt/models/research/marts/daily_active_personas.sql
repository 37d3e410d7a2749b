-- Each active day of a persona counts for the windows of the 30 days that begin with it.
with days as (
  {{ days_of_the_run('activity_date') }}
), persona_days as (
  select
    interaction_date,
    tenant_id,
    project_id,
    persona_id,
    count(*) as interactions,
    {%- for kind in ['created', 'edited', 'discussed', 'surveyed'] %}
    count(*) filter (interaction_type = '{{ kind }}') as {{ kind }}{{ ',' if not loop.last }}
    {%- endfor %}
  from {{ ref('fact_persona_interactions') }}
  group by all
), active as (
  select
    days.activity_date,
    found.tenant_id,
    found.project_id,
    found.persona_id,
    max(found.interaction_date) as last_active,
    {%- for count in ['interactions', 'created', 'edited', 'discussed', 'surveyed'] %}
    sum(found.{{ count }}) filter (found.interaction_date = days.activity_date) as {{ count }}{{ ',' if not loop.last }}
    {%- endfor %}
  from days
  join persona_days as found
    on found.interaction_date between days.activity_date - {{ var('active_days') - 1 }} and days.activity_date
  group by all
)
select
  activity_date,
  tenant_id,
  project_id,
  {{ project_of('tenant_id', 'project_id') }} as project,
  count(*) filter (last_active = activity_date) as active_personas,
  count(*) filter (last_active > activity_date - 7) as weekly_active_personas,
  count(*) as monthly_active_personas,
  max(last_active) as last_active_date,
  {%- for count in ['interactions', 'created', 'edited', 'discussed', 'surveyed'] %}
  coalesce({{ total(count) }}, 0) as {{ count }}{{ ',' if not loop.last }}
  {%- endfor %}
from active
group by activity_date, tenant_id, project_id
