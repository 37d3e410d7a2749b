-- Nothing vanishes: the orders of a day are those of the fact and those that were rejected.
{{ config(meta={'judges': 'fct_orders'}, severity='error') }}
with received as (
  select order_date, count(distinct order_id) as orders
  from {{ source('raw', 'order_changes') }}
  where {{ in_window('order_date') }}
  group by order_date
), deleted as (
  select order_date, count(distinct order_id) as orders
  from {{ source('raw', 'order_changes') }} as changes
  where operation = 'delete' and {{ in_window('order_date') }}
    and changed_at = (
      select max(changed_at) from {{ source('raw', 'order_changes') }} as same
      where same.order_id = changes.order_id and same.order_date = changes.order_date
    )
  group by order_date
), stored as (
  select order_date, count(*) as orders from {{ ref('fct_orders') }}
  where {{ in_window('order_date') }} group by order_date
), rejected as (
  select order_date, count(*) as orders from {{ ref('stg_orders') }}
  where rejection is not null and {{ in_window('order_date') }} group by order_date
)
select order_date, received.orders as received, deleted.orders as deleted, stored.orders as stored,
  rejected.orders as rejected
from received left join deleted using (order_date) left join stored using (order_date)
left join rejected using (order_date)
where received.orders
  <> coalesce(deleted.orders, 0) + coalesce(stored.orders, 0) + coalesce(rejected.orders, 0)
