select
  surrogate_key as project_key,
  tenant_id,
  project_id,
  user_id,
  name,
  status,
  language,
  target_demographics,
  created_at,
  valid_from,
  valid_to,
  valid_to is null as is_current
from {{ ref('stg_project_versions') }}
