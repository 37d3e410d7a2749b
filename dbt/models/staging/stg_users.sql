-- Changes to users, text tidied. One row per received change.
select
  change_date,
  user_id,
  nullif(lower(trim(email)), '') as email,
  upper(country) as country,
  plan,
  registered_at,
  operation,
  changed_at,
  sequence,
  source_file,
  source_line,
  received_at
from {{ source('raw', 'user_changes') }}
