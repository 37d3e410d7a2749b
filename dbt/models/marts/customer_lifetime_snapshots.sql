-- As known at the end of each day: an order counts as the version that the day ended with says.
with days as (
  select unnest(generate_series(getvariable('first_day'), getvariable('last_day'), interval 1 day))::date as snapshot_date
), held as (
  select
    user_id,
    currency,
    order_date,
    amount,
    greatest(order_date, date_trunc('day', valid_from)::date) as first_day,
    coalesce(date_trunc('day', valid_to)::date, 'infinity') as day_after
  from {{ ref('fct_order_versions') }}
  where is_paid and order_type = 'sale' and user_id is not null
), purchases as (
  select snapshot_date, user_id, currency, order_date, snapshot_date as observed_until, sum(amount) as revenue
  from days join held on first_day <= snapshot_date and snapshot_date < day_after
  group by all
)
{{ lifetimes('purchases', ['snapshot_date', 'user_id', 'currency']) }}
