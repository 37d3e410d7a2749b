-- What was known of each order from when to when; deletions and rejected changes end a version and start none.
with changes as (
  {{ newest_change(ref('stg_order_changes'), ['order_id', 'changed_at'], order_ties()) }}
), bounded as (
  select *, lead(changed_at) over (partition by order_id order by changed_at) as valid_to
  from changes
)
select
  order_date,
  order_id,
  user_id,
  order_type,
  status,
  is_paid,
  currency,
  amount,
  ordered_at,
  changed_at as valid_from,
  valid_to,
  valid_to is null as is_current
from bounded
where operation <> 'delete' and rejection is null and {{ in_window('order_date') }}
