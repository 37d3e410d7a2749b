-- Stripe's refunds, newest version of each, amounts as decimals.
{{ newest_payment('stripe_refunds', charge="payload->>'$.charge'") }}
