-- One row per day and currency. What is not connected is not judged: null until Stripe's first day. What was charged is what was ordered, plus the differences listed by order.
with ordered as (
  select order_date as reconciliation_date, currency, count(*) as orders, sum(amount) as ordered_amount
  from {{ ref('fct_orders') }}
  where is_paid and order_type = 'sale'
  group by all
), refunded as (
  select payment_date as reconciliation_date, currency, count(*) as refunds, sum(amount) as refunded_amount
  from {{ ref('fct_payments') }}
  where payment_type = 'refund' and status = 'succeeded'
  group by all
), differing as (
  select
    reconciliation_date,
    currency,
    coalesce(sum(difference) filter (comparison = 'order_vs_charge'), 0) as charge_difference,
    coalesce(sum(difference) filter (comparison = 'refund_vs_payout'), 0) as payout_difference,
    count(*) as differences
  from {{ ref('revenue_reconciliation_differences') }}
  group by all
), grain as (
  select reconciliation_date, currency from ordered
  union select reconciliation_date, currency from refunded
  union select reconciliation_date, currency from differing
)
select
  reconciliation_date,
  currency,
  coalesce(orders, 0) as orders,
  {{ money('coalesce(ordered_amount, 0)') }} as ordered_amount,
  case when reconciliation_date >= getvariable('stripe_charges_since') or charge_difference <> 0
    then {{ money('coalesce(ordered_amount, 0) + coalesce(charge_difference, 0)') }} end as charged_amount,
  coalesce(refunds, 0) as refunds,
  {{ money('coalesce(refunded_amount, 0)') }} as refunded_amount,
  case when reconciliation_date >= getvariable('stripe_payouts_since') or payout_difference <> 0
    then {{ money('coalesce(refunded_amount, 0) + coalesce(payout_difference, 0)') }} end as paid_out_refunds,
  coalesce(differences, 0) as differences,
  coalesce(reconciliation_date >= getvariable('stripe_charges_since'), false) as is_connected,
  reconciliation_date + {{ var('settlement_days') }} < getvariable('today') as is_closed
from grain
left join ordered using (reconciliation_date, currency)
left join refunded using (reconciliation_date, currency)
left join differing using (reconciliation_date, currency)
where {{ in_window('reconciliation_date') }}
