"""The landing folders of commerce: real connectors (change capture, Stripe, SendGrid) write the same lines there.
Not here: how a folder is read."""

from __future__ import annotations

from data_platform.domains.commerce.contracts import sources as raw
from data_platform.sources.landing_source import LandingSource

# What the shop knew before the first day is known on the first day: its changes are not rejected as too old.
USERS = LandingSource("users", raw.RawUserChanges, raw.RawUserChangesRejected, "changed_at", clamp_to_first_day=True)
PRODUCTS = LandingSource(
    "products", raw.RawProductChanges, raw.RawProductChangesRejected, "changed_at", clamp_to_first_day=True
)
ORDERS = LandingSource("orders", raw.RawOrderChanges, raw.RawOrderChangesRejected, "ordered_at")
ORDER_ITEMS = LandingSource("order_items", raw.RawOrderItemChanges, raw.RawOrderItemChangesRejected, "ordered_at")
STRIPE_CHARGES = LandingSource("stripe_charges", raw.RawStripeCharges, raw.RawStripeChargesRejected, "created_at")
STRIPE_REFUNDS = LandingSource("stripe_refunds", raw.RawStripeRefunds, raw.RawStripeRefundsRejected, "created_at")
STRIPE_PAYOUTS = LandingSource("stripe_payouts", raw.RawStripePayouts, raw.RawStripePayoutsRejected, "created_at")
# A customer may be older than anything that is sold here.
STRIPE_CUSTOMERS = LandingSource(
    "stripe_customers", raw.RawStripeCustomers, raw.RawStripeCustomersRejected, "created_at", clamp_to_first_day=True
)
STRIPE_SUBSCRIPTIONS = LandingSource(
    "stripe_subscriptions", raw.RawStripeSubscriptions, raw.RawStripeSubscriptionsRejected, "created_at",
    clamp_to_first_day=True,
)  # fmt: skip
SENDGRID_STATS = LandingSource("sendgrid_stats", raw.RawSendgridStats, raw.RawSendgridStatsRejected, "created_at")
SENDGRID_EVENTS = LandingSource("sendgrid_events", raw.RawSendgridEvents, raw.RawSendgridEventsRejected, "created_at")

SOURCES = (
    USERS, PRODUCTS, ORDERS, ORDER_ITEMS, STRIPE_CHARGES, STRIPE_REFUNDS, STRIPE_PAYOUTS, STRIPE_CUSTOMERS,
    STRIPE_SUBSCRIPTIONS, SENDGRID_STATS, SENDGRID_EVENTS,
)  # fmt: skip
