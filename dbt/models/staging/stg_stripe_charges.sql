-- Stripe's charges, newest version of each, amounts as decimals.
{{ newest_payment('stripe_charges', charge="payload->>'$.id'") }}
