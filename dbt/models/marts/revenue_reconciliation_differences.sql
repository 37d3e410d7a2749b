{%- set settled = var('settlement_days') -%}
-- Tolerance zero: every order whose charges, and every refund whose payout, is not the same amount to the cent. From the
-- first day on that charges, or payouts, were received of; before it where there is one. What became of payments later: payment_exceptions.
with orders as (
  select * from {{ ref('fct_orders') }} where is_paid and order_type = 'sale'
), charges as (
  select * from {{ ref('fct_payments') }} where payment_type = 'charge' and status = 'succeeded'
), refunds as (
  select * from {{ ref('fct_payments') }} where payment_type = 'refund'
), payouts as (
  select * from {{ ref('balance_transactions') }} where category = 'refund'
), charged as (
  select
    orders.order_date as reconciliation_date, 'order_vs_charge' as comparison, orders.order_id, orders.order_id as subject_id,
    orders.currency, any_value(orders.amount) as expected, coalesce(sum(charges.amount), 0) as found
  from orders left join charges
    on charges.order_id = orders.order_id and charges.currency = orders.currency
    and charges.payment_date between orders.order_date and orders.order_date + {{ settled }}
  group by all
  having orders.order_date >= getvariable('stripe_charges_since') or count(charges.payment_id) > 0
), charged_without_order as (
  select
    payment_date as reconciliation_date, 'order_vs_charge' as comparison, order_id, payment_id as subject_id,
    currency, 0 as expected, amount as found
  from charges
  where not exists (
    select 1 from orders
    where orders.order_id = charges.order_id and orders.currency = charges.currency
      and charges.payment_date between orders.order_date and orders.order_date + {{ settled }}
  )
), paid_out as (
  select
    refunds.payment_date as reconciliation_date, 'refund_vs_payout' as comparison, refunds.order_id,
    refunds.payment_id as subject_id, refunds.currency, any_value(refunds.amount) as expected,
    coalesce(-sum(payouts.amount), 0) as found
  from refunds left join payouts
    on payouts.source_id = refunds.payment_id and payouts.currency = refunds.currency
    and payouts.paid_out_date between refunds.payment_date and refunds.payment_date + {{ settled }}
  where refunds.status = 'succeeded'
  group by all
  having refunds.payment_date >= getvariable('stripe_payouts_since') or count(payouts.transaction_id) > 0
), paid_out_without_refund as (
  -- A refund that failed may have been paid out before: Stripe takes it back by a transaction of its own.
  select
    paid_out_date as reconciliation_date, 'refund_vs_payout' as comparison, null as order_id,
    transaction_id as subject_id, currency, 0 as expected, -amount as found
  from payouts
  where not exists (
    select 1 from refunds
    where refunds.payment_id = payouts.source_id and refunds.currency = payouts.currency
      and payouts.paid_out_date between refunds.payment_date and refunds.payment_date + {{ settled }}
  )
), compared as (
  select * from charged
  union all by name select * from charged_without_order
  union all by name select * from paid_out
  union all by name select * from paid_out_without_refund
)
select
  reconciliation_date,
  comparison,
  order_id,
  subject_id,
  currency,
  {{ money('expected') }} as expected,
  {{ money('found') }} as found,
  {{ money('found - expected') }} as difference,
  reconciliation_date + {{ settled }} < getvariable('today') as is_closed
from compared
where found <> expected and {{ in_window('reconciliation_date') }}
