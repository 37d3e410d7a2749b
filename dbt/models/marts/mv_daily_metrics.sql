-- One row per day and currency; a day without money has a row of the reporting currency.
with days as (
  select unnest(generate_series(getvariable('first_day'), getvariable('last_day'), interval 1 day))::date as metric_date
), activity as (
  select activity_date as metric_date, {{ total('total_events') }} as events, count(*) as active_users
  from {{ source('gameplay', 'player_daily_activity') }}
  group by all
), ordered as (
  select
    order_date as metric_date,
    currency,
    count(*) filter (is_paid and order_type = 'sale') as orders,
    count(distinct user_id) filter (is_paid and order_type = 'sale') as paying_users,
    coalesce(sum(revenue) filter (order_type = 'sale'), 0) as gross_revenue,
    coalesce(-sum(revenue) filter (order_type = 'return'), 0) as returns
  from {{ ref('fct_orders') }}
  group by all
), refunded as (
  select
    payment_date as metric_date,
    currency,
    coalesce(-sum(cash) filter (payment_type = 'refund'), 0) as refunds,
    coalesce(-sum(cash) filter (payment_type <> 'refund'), 0) as disputes
  from {{ ref('fct_payments') }}
  where payment_type <> 'charge'
  group by all
), buyers as (
  select order_date as metric_date, count(distinct user_id) as paying_users
  from {{ ref('fct_orders') }}
  where is_paid and order_type = 'sale'
  group by all
), currencies as (
  select metric_date, currency from ordered
  union
  select metric_date, currency from refunded
), grain as (
  select metric_date, coalesce(currency, '{{ var("reporting_currency") }}') as currency
  from days left join currencies using (metric_date)
)
select
  metric_date,
  currency,
  coalesce(activity.events, 0) as events,
  coalesce(activity.active_users, 0) as active_users,
  coalesce(ordered.orders, 0) as orders,
  coalesce(ordered.paying_users, 0) as paying_users,
  {{ money('coalesce(ordered.gross_revenue, 0)') }} as gross_revenue,
  {{ money('coalesce(ordered.returns, 0)') }} as returns,
  {{ money('coalesce(refunded.refunds, 0)') }} as refunds,
  {{ money('coalesce(refunded.disputes, 0)') }} as disputes,
  {{ money('coalesce(ordered.gross_revenue, 0) - coalesce(ordered.returns, 0) - coalesce(refunded.refunds, 0)
    - coalesce(refunded.disputes, 0)') }} as net_revenue,
  case when activity.active_users > 0 then coalesce(buyers.paying_users, 0)::double / activity.active_users end
    as conversion
from grain
left join activity using (metric_date)
left join buyers using (metric_date)
left join ordered using (metric_date, currency)
left join refunded using (metric_date, currency)
