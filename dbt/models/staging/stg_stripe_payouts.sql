-- What Stripe paid out: one row per balance transaction of each payout that was not cancelled or failed. `rejection` says
-- why one is no good.
with newest as (
  {{ newest_object('stripe_payouts') }}
), listed as (
  select
    created_date as paid_out_date,
    object_id as payout_id,
    from_json(payload->'$.balance_transactions.data', '["JSON"]') as transactions
  from newest
  where payload->>'$.status' not in ('failed', 'canceled')
), numbered as (
  select
    paid_out_date,
    payout_id,
    unnest(transactions) as found,
    generate_subscripts(transactions, 1) as position
  from listed
), typed as (
  select
    paid_out_date,
    payout_id,
    position,
    found->>'$.id' as transaction_id,
    found->>'$.type' as transaction_type,
    {{ id_in('found', 'source') }} as source_id,
    upper(found->>'$.currency') as currency,
    found->>'$.amount' as minor_units
  from numbered
), amounts as (
  select *, {{ from_minor_units('minor_units', 'currency') }} as amount from typed
)
select
  *,
  case
    when coalesce(transaction_id, '') = '' then 'missing_id'
    when currency is null or currency not in {{ known_currencies() }} then 'unknown_currency'
    {{ unless_minor_units('minor_units', 'amount') }}
  end as rejection
from amounts
