-- Users by the month (UTC) of their first paid order, followed month by month.
with paid as (
  select user_id, date_trunc('month', order_date)::date as order_month, currency, revenue
  from {{ ref('fct_orders') }}
  where is_paid and order_type = 'sale' and user_id is not null
), cohorts as (
  select user_id, min(order_month) as cohort_month from paid group by user_id
), sizes as (
  select cohort_month, count(*) as cohort_users from cohorts group by cohort_month
)
select
  cohort_month,
  datediff('month', cohort_month, order_month) as months_since,
  currency,
  any_value(cohort_users) as cohort_users,
  count(distinct user_id) as users,
  count(*) as orders,
  {{ money('sum(revenue)') }} as revenue,
  count(distinct user_id)::double / any_value(cohort_users) as retained_share
from paid
join cohorts using (user_id)
join sizes using (cohort_month)
group by cohort_month, order_month, currency
