-- Stripe's refunds, newest version of each, amounts as decimals. The order is the refund's own, or that of its charge
-- where the connector expands it. What has the id of a charge of the day is no refund.
with refunds as (
  {{ newest_payment(
    'stripe_refunds',
    'refund',
    charge=id_in('payload', 'charge'),
    order="coalesce(payload->>'$.metadata.order_id', payload->>'$.charge.metadata.order_id')",
    minor_units="payload->>'$.amount'"
  ) }}
), charges as (
  select payment_date, payment_id, true as is_charge from {{ ref('stg_stripe_charges') }} where rejection is null
)
select
  refunds.* exclude (rejection),
  case when rejection is null and is_charge then 'id_of_a_charge' else rejection end as rejection
from refunds
left join charges using (payment_date, payment_id)
