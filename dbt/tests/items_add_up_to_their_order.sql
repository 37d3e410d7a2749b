-- The lines of an order add up to what the application says the order costs. Lines stay on the day they were told of:
-- an order that moved to another day has left them behind and is not judged.
{{ config(meta={'judges': 'fct_order_items'}, severity='warn') }}
with lines as (
  select order_date, order_id, sum(amount) as amount
  from {{ ref('fct_order_items') }}
  where {{ in_window('order_date') }}
  group by order_date, order_id
), moved as (
  select order_id from {{ ref('stg_order_changes') }} group by order_id having count(distinct order_date) > 1
)
select orders.order_date, orders.order_id, orders.amount as ordered, coalesce(lines.amount, 0) as lines
from {{ ref('stg_orders') }} as orders
left join lines using (order_date, order_id)
where orders.rejection is null and {{ in_window('orders.order_date') }} and orders.amount <> coalesce(lines.amount, 0)
  and orders.order_id not in (select order_id from moved)
