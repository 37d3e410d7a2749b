with items as (
  select * from {{ ref('stg_order_items') }}
  where {{ in_window('order_date') }} and rejection is null
)
select
  items.order_date,
  items.order_item_id,
  items.order_id,
  items.product_id,
  case when products.valid_to is null or items.ordered_at < products.valid_to then products.surrogate_key end
    as product_key,
  items.user_id,
  items.order_type,
  items.quantity,
  items.currency,
  items.unit_price,
  items.amount,
  {{ revenue('items', 'items.amount') }} as revenue,
  items.ordered_at
from items
asof left join {{ ref('stg_product_versions') }} as products
  on items.product_id = products.product_id and items.ordered_at >= products.valid_from
