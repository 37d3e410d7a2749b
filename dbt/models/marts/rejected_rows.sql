-- What was received but is no good, with the reason: nothing vanishes between raw tables and facts.
with rejected as (
  select order_date as event_date, 'order' as row_type, order_id as row_id, rejection as reason,
    to_json({'status': status, 'currency': currency, 'total_amount': total_amount, 'ordered_at': ordered_at, 'changed_at': changed_at})::varchar as row_content
  from {{ ref('stg_orders') }}
  where rejection is not null and {{ in_window('order_date') }}
  union all
  select order_date, 'order_item', order_item_id, rejection,
    to_json({'order_id': order_id, 'product_id': product_id, 'quantity': quantity, 'unit_price': price, 'currency': currency, 'ordered_at': ordered_at, 'changed_at': changed_at})::varchar
  from {{ ref('stg_order_items') }}
  where rejection is not null and {{ in_window('order_date') }}
  union all
  select payment_date, 'charge', payment_id, rejection,
    to_json({'order_id': order_id, 'currency': currency, 'minor_units': minor_units, 'status': status, 'created_at': created_at})::varchar
  from {{ ref('stg_stripe_charges') }}
  where rejection is not null and {{ in_window('payment_date') }}
  union all
  select payment_date, 'refund', payment_id, rejection,
    to_json({'order_id': order_id, 'currency': currency, 'minor_units': minor_units, 'status': status, 'created_at': created_at})::varchar
  from {{ ref('stg_stripe_refunds') }}
  where rejection is not null and {{ in_window('payment_date') }}
  union all
  select paid_out_date, 'balance_transaction', coalesce(nullif(transaction_id, ''), payout_id), rejection,
    to_json({'payout_id': payout_id, 'position': position, 'type': transaction_type, 'source': source_id, 'currency': currency, 'minor_units': minor_units})::varchar
  from {{ ref('stg_stripe_payouts') }}
  where rejection is not null and {{ in_window('paid_out_date') }}
  union all
  select event_date, 'email_event', event_id, rejection, to_json({'event': event_type, 'occurred_at': occurred_at})::varchar
  from {{ ref('stg_sendgrid_events') }}
  where rejection is not null and {{ in_window('event_date') }}
  union
  -- Changes are not reduced to the newest: the same one received twice is one.
  select change_date, 'product', product_id, rejection,
    to_json({'name': name, 'list_price': price, 'currency': currency, 'operation': operation, 'changed_at': changed_at})::varchar
  from {{ ref('stg_products') }}
  where rejection is not null and {{ in_window('change_date') }}
)
select
  event_date,
  row_type,
  row_id,
  reason,
  md5(row_type || '|' || row_id || '|' || row_content) as row_digest,
  row_content as "row"
from rejected
