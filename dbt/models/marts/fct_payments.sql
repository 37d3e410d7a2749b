with disputes as (
  select
    category as payment_type,
    paid_out_date as payment_date,
    transaction_id as payment_id,
    charge_id,
    'succeeded' as status,
    currency,
    abs(amount) as amount,
    created_at
  from {{ ref('balance_transactions') }}
  where category in ('dispute', 'dispute_reversal')
), payments as (
  select 'charge' as payment_type, * exclude (rejection) from {{ ref('stg_stripe_charges') }} where rejection is null
  union all by name
  select 'refund' as payment_type, * exclude (rejection) from {{ ref('stg_stripe_refunds') }} where rejection is null
  union all by name
  select * from disputes
)
select
  payment_date,
  payment_id,
  payment_type,
  charge_id,
  order_id,
  status,
  currency,
  amount,
  case when status <> 'succeeded' then 0 when payment_type in ('refund', 'dispute') then -amount else amount end as cash,
  is_disputed,
  dispute_id,
  created_at
from payments
where {{ in_window('payment_date') }}
