-- Stripe's refunds, newest version of each, amounts as decimals. The order is the refund's own, or that of its charge
-- where the connector expands it.
{{ newest_payment(
  'stripe_refunds',
  charge=id_in('payload', 'charge'),
  order="coalesce(payload->>'$.metadata.order_id', payload->>'$.charge.metadata.order_id')",
  minor_units="payload->>'$.amount'"
) }}
