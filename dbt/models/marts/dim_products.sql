select
  surrogate_key as product_key,
  product_id,
  name,
  category,
  list_price,
  currency,
  valid_from,
  valid_to,
  valid_to is null as is_current
from {{ ref('stg_product_versions') }}
