-- Changes to products, prices as decimals. One row per received change.
select
  change_date,
  product_id,
  name,
  category,
  {{ exact_amount('list_price') }} as list_price,
  upper(currency) as currency,
  operation,
  changed_at
from {{ source('raw', 'product_changes') }}
