-- Focus groups and surveys with their history: what a project has to do, and whether it is done.
with focus_groups as (
  {{ log_versions(source('clean', 'focus_group_changes'), ['tenant_id', 'focus_group_id'], ['project_id', 'status']) }}
), surveys as (
  {{ log_versions(source('clean', 'survey_changes'), ['tenant_id', 'survey_id'], ['project_id', 'status']) }}
)
select tenant_id, project_id, status = '{{ var("done_focus_group") }}' as is_done, valid_from, valid_to from focus_groups
union all
select tenant_id, project_id, status = '{{ var("done_survey") }}' as is_done, valid_from, valid_to from surveys
