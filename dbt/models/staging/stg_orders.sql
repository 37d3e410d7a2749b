-- Each order as its newest change left it; deleted ones are gone. `rejection` says why an order is no good, if it is not.
with newest as (
  {{ newest_change(source('raw', 'order_changes'), ['order_date', 'order_id'],
    ['status', 'currency', 'total_amount', 'user_id', 'order_type', 'ordered_at']) }}
), typed as (
  select
    order_date,
    order_id,
    user_id,
    coalesce(order_type, 'sale') as order_type,
    status,
    upper(currency) as currency,
    {{ exact_amount('total_amount') }} as amount,
    total_amount,
    ordered_at,
    changed_at
  from newest
  where operation <> 'delete'
)
select
  *,
  case
    when order_type not in ('sale', 'return') then 'unknown_order_type'
    when currency not in {{ known_currencies() }} then 'unknown_currency'
    when amount is null then 'amount_is_no_exact_decimal'
    when amount < 0 then 'negative_amount'
  end as rejection
from typed
