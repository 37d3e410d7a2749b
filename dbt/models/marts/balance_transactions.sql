-- Of each payout what took money from customers' payments or gave it back; listed twice on a day, it is one.
select
  paid_out_date,
  transaction_id,
  category,
  source_id,
  charge_id,
  currency,
  amount,
  created_at
from {{ ref('stg_stripe_payouts') }}
where {{ in_window('paid_out_date') }} and rejection is null
  and category in ({{ quoted_list(var('balance_categories')) }})
qualify row_number() over (partition by paid_out_date, transaction_id order by payout_id, position) = 1
