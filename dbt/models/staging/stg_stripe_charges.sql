-- Stripe's charges, newest version of each, amounts as decimals. An authorised charge has `succeeded` too: its amount is
-- what was captured of it, which is nothing as yet, or less than was authorised.
{{ newest_payment(
  'stripe_charges',
  'charge',
  charge="object_id",
  order="payload->>'$.metadata.order_id'",
  minor_units="case
      when payload->>'$.status' <> 'succeeded' then payload->>'$.amount'
      when payload->>'$.captured' = 'false' then '0'
      else coalesce(payload->>'$.amount_captured', payload->>'$.amount')
    end",
  more={
    'is_disputed': "coalesce(payload->>'$.disputed' = 'true', false)",
    'dispute_id': id_in('payload', 'dispute')
  }
) }}
