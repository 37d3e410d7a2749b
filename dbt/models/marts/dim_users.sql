select
  surrogate_key as user_key,
  user_id,
  email,
  country,
  plan,
  registered_at,
  valid_from,
  valid_to,
  valid_to is null as is_current
from {{ ref('stg_user_versions') }}
