-- What became of payments later and does not fit together, or is money lost: each is told once, whenever it happened.
with charges as (
  select * from {{ ref('fct_payments') }} where payment_type = 'charge'
), refunds as (
  select
    refunds.*,
    charges.currency as charge_currency,
    charges.cash as charged,
    charges.order_id as charge_order_id,
    -sum(refunds.cash) over (
      partition by refunds.charge_id, refunds.currency order by refunds.created_at, refunds.payment_id
      rows unbounded preceding
    ) as given_back
  from {{ ref('fct_payments') }} as refunds left join charges on charges.payment_id = refunds.charge_id
  where refunds.payment_type = 'refund'
), moved as (
  select
    source_id,
    currency,
    any_value(charge_id) as charge_id,
    min(paid_out_date) as paid_out_date,
    coalesce(sum(amount) filter (category in ('refund', 'refund_failure')), 0) as refunded,
    coalesce(sum(amount) filter (category in ('dispute', 'dispute_reversal')), 0) as disputed,
    count(*) filter (category = 'refund_failure') > 0 as has_failed,
    count(*) filter (category in ('dispute', 'dispute_reversal')) > 0 as is_dispute,
    count(*) filter (category = 'charge_failure') > 0 as is_charge_taken_back,
    sum(amount) filter (category = 'charge_failure') as taken_back
  from (
    -- A transaction that cannot be tied to what it is about stands for itself.
    select * replace (coalesce(source_id, transaction_id) as source_id)
    from {{ ref('balance_transactions') }}
  )
  group by all
), disputes as (
  select moved.*, charges.payment_id as of_charge, charges.order_id
  from moved left join charges
    on charges.payment_id = moved.charge_id or charges.dispute_id = moved.source_id or charges.payment_id = moved.source_id
  where is_dispute
  qualify row_number() over (partition by moved.source_id, moved.currency order by charges.payment_id) = 1
), exceptions as (
  select
    'refund_beyond_charge' as reason, coalesce(order_id, charge_order_id) as order_id, payment_id, charge_id, currency,
    given_back - charged as amount, payment_date as happened_on
  from refunds
  where status = 'succeeded' and currency = charge_currency and given_back > charged
  union all by name
  select
    'refund_in_another_currency' as reason, coalesce(order_id, charge_order_id) as order_id, payment_id, charge_id,
    currency, amount, payment_date as happened_on
  from refunds
  where status = 'succeeded' and currency <> charge_currency
  union all by name
  select
    'failed_refund_not_given_back' as reason, coalesce(order_id, charge_order_id) as order_id, payment_id,
    refunds.charge_id, refunds.currency, -refunded as amount, payment_date as happened_on
  from refunds join moved on moved.source_id = refunds.payment_id and moved.currency = refunds.currency
  where status in ('failed', 'canceled') and refunded <> 0
  union all by name
  select
    'refund_given_back' as reason, coalesce(order_id, charge_order_id) as order_id, payment_id, refunds.charge_id,
    refunds.currency, amount, payment_date as happened_on
  from refunds join moved on moved.source_id = refunds.payment_id and moved.currency = refunds.currency
  where status = 'succeeded' and has_failed
  union all by name
  select
    'dispute' as reason, order_id, source_id as payment_id, of_charge as charge_id, currency, -disputed as amount,
    paid_out_date as happened_on
  from disputes
  where disputed <> 0
  union all by name
  select
    'disputed_charge' as reason, order_id, payment_id, charge_id, currency, amount, payment_date as happened_on
  from charges
  where is_disputed and payment_id not in (select of_charge from disputes where of_charge is not null)
  union all by name
  select
    'charge_taken_back' as reason, order_id, payment_id, charges.charge_id, charges.currency, -taken_back as amount,
    payment_date as happened_on
  from charges join moved on moved.source_id = charges.payment_id and moved.currency = charges.currency
  where status = 'succeeded' and is_charge_taken_back
)
select reason, payment_id, currency, order_id, charge_id, {{ money('amount') }} as amount, happened_on
from exceptions
