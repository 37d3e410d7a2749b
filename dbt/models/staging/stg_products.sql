-- Changes to products, prices as decimals. One row per received change; `rejection` says why one is no good.
with typed as (
  select
    change_date,
    product_id,
    name,
    category,
    {{ exact_amount('list_price', 'upper(currency)') }} as list_price,
    upper(currency) as currency,
    list_price as price,
    operation,
    changed_at,
    sequence,
    source_file,
    source_line,
    received_at
  from {{ source('raw', 'product_changes') }}
)
select
  *,
  case
    when operation = 'delete' or price is null then null
    {{ unless_exact('price', 'price', 'list_price', 'currency') }}
  end as rejection
from typed
