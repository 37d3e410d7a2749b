-- Each order line as its newest change left it, beside its order, which must have been told on the line's day, wherever
-- it moved since. `rejection` says why a line is no good, if it is not.
with newest as (
  {{ newest_change(source('raw', 'order_item_changes'), ['order_item_id'],
    ['order_id', 'product_id', 'quantity', 'unit_price', 'currency', 'ordered_at']) }}
), typed as (
  select
    order_date,
    order_item_id,
    order_id,
    product_id,
    quantity,
    unit_price as price,
    {{ exact_amount('unit_price', 'upper(currency)') }} as unit_price,
    upper(currency) as currency,
    ordered_at,
    changed_at
  from newest
  where operation <> 'delete'
), priced as (
  select *, {{ money('quantity * unit_price') }} as amount from typed
), told as (
  select distinct order_date, order_id from {{ ref('stg_order_changes') }}
)
select
  items.*,
  orders.user_id,
  orders.order_type,
  orders.is_paid,
  case
    when items.quantity < 0 then 'negative_quantity'
    when items.quantity = 0 then 'zero_quantity'
    when items.currency not in {{ known_currencies() }} then 'unknown_currency'
    {{ unless_exact('price', 'items.price', 'items.unit_price', 'items.currency') }}
    when items.unit_price < 0 then 'negative_price'
    when items.amount is null then 'amount_out_of_range'
    when orders.order_id is null then 'no_order'
    when orders.rejection is not null then 'order_rejected'
    when items.currency <> orders.currency then 'currency_mismatch'
  end as rejection
from priced as items
left join told using (order_date, order_id)
left join {{ ref('stg_orders') }} as orders on told.order_id = orders.order_id
