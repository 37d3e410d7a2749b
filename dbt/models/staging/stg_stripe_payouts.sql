-- What Stripe paid out: one row per balance transaction of each payout that was not cancelled or failed.
with newest as (
  {{ newest_object('stripe_payouts') }}
), listed as (
  select
    created_date as paid_out_date,
    object_id as payout_id,
    unnest(from_json(payload->'$.balance_transactions.data', '["JSON"]')) as found
  from newest
  where payload->>'$.status' not in ('failed', 'canceled')
), typed as (
  select
    paid_out_date,
    payout_id,
    found->>'$.id' as transaction_id,
    found->>'$.type' as transaction_type,
    {{ id_in('found', 'source') }} as source_id,
    upper(found->>'$.currency') as currency,
    try_cast(found->>'$.amount' as bigint) as minor_units
  from listed
)
select *, {{ from_minor_units('minor_units', 'currency') }} as amount
from typed
