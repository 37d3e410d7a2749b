select
  surrogate_key as persona_key,
  tenant_id,
  persona_id,
  project_id,
  name,
  segment,
  demographics,
  background,
  personal_values,
  created_at,
  valid_from,
  valid_to,
  valid_to is null as is_current
from {{ ref('stg_persona_versions') }}
