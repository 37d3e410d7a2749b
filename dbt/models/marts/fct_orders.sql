select
  orders.order_date,
  orders.order_id,
  orders.user_id,
  case when users.valid_to is null or orders.ordered_at < users.valid_to then users.surrogate_key end as user_key,
  orders.order_type,
  orders.status,
  orders.is_paid,
  orders.currency,
  orders.amount,
  {{ revenue('orders', 'orders.amount') }} as revenue,
  orders.ordered_at,
  (orders.ordered_at at time zone '{{ var("business_time_zone") }}')::date as business_date,
  orders.changed_at
from {{ ref('stg_orders') }} as orders
asof left join {{ ref('stg_user_versions') }} as users
  on orders.user_id = users.user_id and orders.ordered_at >= users.valid_from
where {{ in_window('orders.order_date') }} and orders.rejection is null
