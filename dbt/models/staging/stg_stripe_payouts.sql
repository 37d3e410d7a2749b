-- What Stripe paid out: one row per balance transaction of each payout that was not cancelled or failed. `category` says
-- why money moved, in the words of Stripe's reporting categories, also where the API is older than these; `rejection` why
-- a row is no good. https://docs.stripe.com/reports/reporting-categories
with newest as (
  {{ newest_object('stripe_payouts') }}
), listed as (
  select
    created_date as paid_out_date,
    object_id as payout_id,
    created_at,
    {{ is_another_object('payout') }} as is_another_object,
    case when {{ is_another_object('payout') }} then [json_object()]
      else from_json(payload->'$.balance_transactions.data', '["JSON"]') end as transactions
  from newest
  where {{ is_another_object('payout') }} or payload->>'$.status' not in ('failed', 'canceled')
), numbered as (
  select
    paid_out_date,
    payout_id,
    created_at,
    is_another_object,
    unnest(transactions) as found,
    generate_subscripts(transactions, 1) as position
  from listed
), typed as (
  select
    paid_out_date,
    payout_id,
    created_at,
    is_another_object,
    position,
    found->>'$.id' as transaction_id,
    found->>'$.type' as transaction_type,
    found->>'$.reporting_category' as reporting_category,
    {{ id_in('found', 'source') }} as source_id,
    {{ id_in('found', 'source.charge') }} as charge_id,
    found->>'$.source.object' as source_object,
    found->>'$.description' as description,
    upper(found->>'$.currency') as currency,
    found->>'$.amount' as minor_units
  from numbered
), amounts as (
  select *, {{ from_minor_units('minor_units', 'currency') }} as amount from typed
)
select
  * exclude (is_another_object, reporting_category, source_object, description),
  case
    when reporting_category in ('dispute', 'dispute_reversal')
      or transaction_type = 'adjustment' and reporting_category is null and (
        source_object = 'dispute' or source_id similar to '(dp|du|pdp)_.*' or description ilike 'chargeback %')
      then case when amount < 0 then 'dispute' else 'dispute_reversal' end
    when reporting_category is not null then reporting_category
    when transaction_type in ('refund', 'payment_refund') then 'refund'
    when transaction_type in ('payment_failure_refund', 'payment_reversal') then 'charge_failure'
    else transaction_type
  end as category,
  case
    when is_another_object then 'not_a_payout'
    when coalesce(transaction_id, '') = '' then 'missing_id'
    when currency is null or currency not in {{ known_currencies() }} then 'unknown_currency'
    {{ unless_minor_units('minor_units', 'amount') }}
  end as rejection
from amounts
