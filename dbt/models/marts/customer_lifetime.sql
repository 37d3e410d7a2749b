-- Inputs of RFM and BG/NBD models: a purchase is a day with a paid order. Observed until the newest day with any order.
with paid as (
  select user_id, currency, order_date, sum(revenue) as revenue
  from {{ ref('fct_orders') }}
  where is_paid and order_type = 'sale' and user_id is not null
  group by all
), observed as (
  select max(order_date) as last_day from {{ ref('fct_orders') }}
), bought as (
  select
    user_id,
    currency,
    count(*) - 1 as frequency,
    min(order_date) as first_order_date,
    max(order_date) as last_order_date,
    sum(revenue) as revenue,
    sum(revenue) - arg_min(revenue, order_date) as repeat_revenue
  from paid
  group by all
)
select
  user_id,
  currency,
  frequency,
  last_order_date - first_order_date as recency,
  observed.last_day - first_order_date as observed_days,
  first_order_date,
  last_order_date,
  {{ money('revenue') }} as revenue,
  case when frequency > 0 then {{ mean_money('repeat_revenue', 'frequency') }} end as monetary_value
from bought cross join observed
