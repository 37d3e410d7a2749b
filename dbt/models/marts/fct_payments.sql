with payments as (
  select 'charge' as payment_type, * from {{ ref('stg_stripe_charges') }}
  union all by name
  select 'refund' as payment_type, * from {{ ref('stg_stripe_refunds') }}
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
  case when status <> 'succeeded' then 0 when payment_type = 'refund' then -amount else amount end as cash,
  created_at
from payments
where {{ in_window('payment_date') }} and rejection is null
