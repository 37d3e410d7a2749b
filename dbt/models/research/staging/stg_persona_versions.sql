-- SCD2 versions of personas with their surrogate key. The facts find their version here too: dim_personas has the same rows.
{{ log_versions(source('clean', 'persona_changes'), ['tenant_id', 'persona_id'],
  ['project_id', 'name', 'segment', 'demographics', 'background', 'personal_values', 'created_at']) }}
