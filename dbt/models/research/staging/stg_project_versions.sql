-- SCD2 versions of projects with their surrogate key.
{{ log_versions(source('clean', 'research_project_changes'), ['tenant_id', 'project_id'],
  ['user_id', 'name', 'status', 'language', 'target_demographics', 'created_at']) }}
