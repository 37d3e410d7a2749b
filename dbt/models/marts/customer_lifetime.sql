-- As known now: a purchase is a day with a paid order. Observed until the newest day with any order.
with observed as (
  select max(order_date) as observed_until from {{ ref('fct_order_versions') }} where is_current
), purchases as (
  select user_id, currency, order_date, observed_until, sum(amount) as revenue
  from {{ ref('fct_order_versions') }} cross join observed
  where is_current and is_paid and order_type = 'sale' and user_id is not null
  group by all
)
{{ lifetimes('purchases', ['user_id', 'currency']) }}
