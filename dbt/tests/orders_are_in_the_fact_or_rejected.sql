-- Nothing vanishes: the orders told of a day are those of the fact, those that were rejected, deleted, or told of another
-- day since.
{{ config(meta={'judges': 'fct_orders'}, severity='error') }}
with received as (
  select distinct order_date, order_id from {{ source('raw', 'order_changes') }} where {{ in_window('order_date') }}
), newest as (
  {{ newest_change(ref('stg_order_changes'), ['order_id'], order_ties()) }}
), stored as (
  select order_date, count(*) as orders from {{ ref('fct_orders') }}
  where {{ in_window('order_date') }} group by order_date
), rejected as (
  select order_date, count(*) as orders from {{ ref('stg_orders') }}
  where rejection is not null and {{ in_window('order_date') }} group by order_date
), told as (
  select
    received.order_date,
    count(*) as received,
    count(*) filter (newest.order_date <> received.order_date) as moved,
    count(*) filter (newest.order_date = received.order_date and newest.operation = 'delete') as deleted
  from received join newest using (order_id)
  group by received.order_date
)
select order_date, told.received, told.moved, told.deleted, stored.orders as stored, rejected.orders as rejected
from told left join stored using (order_date) left join rejected using (order_date)
where told.received <> told.moved + told.deleted + coalesce(stored.orders, 0) + coalesce(rejected.orders, 0)
