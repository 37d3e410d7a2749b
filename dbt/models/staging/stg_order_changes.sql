-- Every change of an order, amounts as decimals. `rejection` says why the order is no good as this change left it;
-- `is_paid` that it had been paid by then, whatever became of it.
with typed as (
  select
    order_date,
    order_id,
    user_id,
    coalesce(order_type, 'sale') as order_type,
    status,
    upper(currency) as currency,
    {{ exact_amount('total_amount', 'upper(currency)') }} as amount,
    total_amount,
    ordered_at,
    changed_at,
    operation,
    sequence,
    source_file,
    source_line,
    received_at
  from {{ source('raw', 'order_changes') }}
)
select
  *,
  bool_or({{ is_paid('status') }}) over (partition by order_id order by changed_at) as is_paid,
  case
    when order_type not in ('sale', 'return') then 'unknown_order_type'
    when currency not in {{ known_currencies() }} then 'unknown_currency'
    {{ unless_exact('amount', 'total_amount', 'amount', 'currency') }}
    when amount < 0 then 'negative_amount'
  end as rejection
from typed
