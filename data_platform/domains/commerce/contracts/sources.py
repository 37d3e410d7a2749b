"""Contracts of what commerce receives: changes of the application's tables, objects of Stripe's and SendGrid's APIs.
Not here: anything computed from them.

Orders, their items and Stripe's objects are filed under the day they were made, not the day they changed: whatever
comes late rewrites the day it is about, and so exactly the days that depend on it are computed again. When a later line
tells another day of the same row, `identity` says that it is the same: both days are computed again (moved_rows)."""

from __future__ import annotations

import datetime as dt

from data_platform.core.contract.received import ReceivedChanges, ReceivedLines, RejectedLines
from data_platform.core.contract.table import JsonObject, Personal, Table, column, within

OWNER = "team:commerce"
OPERATIONS = ("insert", "update", "delete")
LINE_KEY = ("source_file", "source_line", "received_at")
DAILY = within(hours=26, warn=dt.timedelta(hours=3))


class Change(Table):
    """What change capture says of a row besides its columns: the full row comes with every change."""

    owner = OWNER

    operation: str = column("What happened to the row.", isin=OPERATIONS)
    changed_at: dt.datetime = column("When the change was committed in the application (UTC).")


class DayOfChange(Table):
    """For slowly changing tables: filed under the day of the change."""

    partition = "change_date"

    change_date: dt.date = column("UTC day of `changed_at`; what changed before the first day is filed under it.")


class DayOfOrder(Table):
    """For orders and their items. A change that tells another day moves the row: it counts on the day of its newest
    change, and leaves the day it was on."""

    partition = "order_date"

    order_date: dt.date = column("UTC day of `ordered_at`, whenever the change was made.")
    ordered_at: dt.datetime = column("When the order was placed (UTC).")


class UserFields(Table):
    """What the application knows of a user; a player's user has the player's id."""

    user_id: str = column("The user.", personal=Personal.PSEUDONYM, min_length=1)
    email: str | None = column("Address.", personal=Personal.DIRECT)
    country: str | None = column("ISO 3166 country code.")
    plan: str | None = column("Subscription, for example `free` or `gold`.")
    registered_at: dt.datetime | None = column("When the user signed up (UTC).")


class ProductFields(Table):
    """What the application sells."""

    product_id: str = column("The product.", min_length=1)
    name: str | None = column("What the shop calls it.")
    category: str | None = column("For example `cosmetic` or `subscription`.")
    list_price: str | None = column("Price before discounts: a decimal as text, as change capture delivers it.")
    currency: str | None = column("ISO 4217 code of the price.")


class OrderFields(Table):
    """What the application knows of an order."""

    order_id: str = column("The order.", min_length=1)
    user_id: str | None = column("Who ordered; null for guests.", personal=Personal.PSEUDONYM)
    order_type: str | None = column("`sale`, or `return` for a credit note; null is a sale.")
    status: str = column("For example `pending`, `paid`, `refunded` or `cancelled`.", min_length=1)
    currency: str = column("ISO 4217 code.", min_length=1)
    total_amount: str = column("Sum of the items: a decimal as text, as change capture delivers it.", min_length=1)


class OrderItemFields(Table):
    """What the application knows of an order's line."""

    order_item_id: str = column("The line.", min_length=1)
    order_id: str = column("Its order.", min_length=1)
    product_id: str = column("What was ordered.", min_length=1)
    quantity: int = column("Pieces.", unit="pieces")
    unit_price: str = column("Price of a piece: a decimal as text.", min_length=1)
    currency: str = column("ISO 4217 code.", min_length=1)


class ApiObject(Table):
    """An object of an API, verbatim, in the envelope of the connector that fetched it."""

    identity = "object_id"

    object_id: str = column("The API's id of the object.", min_length=1)
    observed_at: dt.datetime = column("When the connector saw it like this; the newest version counts (UTC).")
    payload: JsonObject = column("The object as the API delivers it.", personal=Personal.CONTENT)


class DayOfCreation(Table):
    """For objects of APIs: filed under the day they were made, as their newest version tells it."""

    partition = "created_date"

    created_date: dt.date = column("UTC day of `created_at`, whenever the object was seen.")
    created_at: dt.datetime = column("When the object was made, `created` of the API (UTC).")


class RawUserChanges(UserFields, Change, DayOfChange, ReceivedChanges):
    """Changes to users as received, duplicates included."""

    key = "raw/user_changes"
    primary_key = ("change_date", *LINE_KEY)


class RawProductChanges(ProductFields, Change, DayOfChange, ReceivedChanges):
    """Changes to products as received, duplicates included."""

    key = "raw/product_changes"
    primary_key = ("change_date", *LINE_KEY)


class RawOrderChanges(OrderFields, Change, DayOfOrder, ReceivedChanges):
    """Changes to orders as received, duplicates included."""

    key = "raw/order_changes"
    identity = "order_id"
    primary_key = ("order_date", *LINE_KEY)
    fresh = DAILY


class RawOrderItemChanges(OrderItemFields, Change, DayOfOrder, ReceivedChanges):
    """Changes to order lines as received, duplicates included."""

    key = "raw/order_item_changes"
    identity = "order_item_id"
    primary_key = ("order_date", *LINE_KEY)


class RawStripeCharges(ApiObject, DayOfCreation, ReceivedLines):
    """Stripe's Charge objects (amounts in minor units) as received, every version of them."""

    key = "raw/stripe_charges"
    optional = True
    primary_key = ("created_date", *LINE_KEY)
    owner = OWNER
    fresh = DAILY


class RawStripeRefunds(ApiObject, DayOfCreation, ReceivedLines):
    """Stripe's Refund objects as received, every version of them."""

    key = "raw/stripe_refunds"
    primary_key = ("created_date", *LINE_KEY)
    owner = OWNER


class RawStripePayouts(ApiObject, DayOfCreation, ReceivedLines):
    """Stripe's Payout objects as received, each with the list of balance transactions that it pays out."""

    key = "raw/stripe_payouts"
    optional = True
    primary_key = ("created_date", *LINE_KEY)
    owner = OWNER


class RawStripeCustomers(ApiObject, DayOfCreation, ReceivedLines):
    """Stripe's Customer objects as received, every version of them; of one that was deleted its id alone."""

    key = "raw/stripe_customers"
    primary_key = ("created_date", *LINE_KEY)
    owner = OWNER


class RawStripeSubscriptions(ApiObject, DayOfCreation, ReceivedLines):
    """Stripe's Subscription objects as received, every version of them, ended ones included."""

    key = "raw/stripe_subscriptions"
    primary_key = ("created_date", *LINE_KEY)
    owner = OWNER


class RawSendgridStats(ApiObject, DayOfCreation, ReceivedLines):
    """SendGrid's numbers of each day (requests, delivered, opens, …) as received; of a day the newest count."""

    key = "raw/sendgrid_stats"
    primary_key = ("created_date", *LINE_KEY)
    owner = OWNER


class RawSendgridEvents(ApiObject, DayOfCreation, ReceivedLines):
    """Events of SendGrid's webhook (delivered, open, click, …) as received, retries included."""

    key = "raw/sendgrid_events"
    primary_key = ("created_date", *LINE_KEY)
    owner = OWNER


class RawUserChangesRejected(RejectedLines):
    """Lines of user change files that cannot be changes."""

    key = "raw/user_changes_rejected"
    owner = OWNER


class RawProductChangesRejected(RejectedLines):
    """Lines of product change files that cannot be changes."""

    key = "raw/product_changes_rejected"
    owner = OWNER


class RawOrderChangesRejected(RejectedLines):
    """Lines of order change files that cannot be changes."""

    key = "raw/order_changes_rejected"
    owner = OWNER


class RawOrderItemChangesRejected(RejectedLines):
    """Lines of order-line change files that cannot be changes."""

    key = "raw/order_item_changes_rejected"
    owner = OWNER


class RawStripeChargesRejected(RejectedLines):
    """Lines of Stripe charge files that cannot be charges."""

    key = "raw/stripe_charges_rejected"
    owner = OWNER


class RawStripeRefundsRejected(RejectedLines):
    """Lines of Stripe refund files that cannot be refunds."""

    key = "raw/stripe_refunds_rejected"
    owner = OWNER


class RawStripePayoutsRejected(RejectedLines):
    """Lines of Stripe payout files that cannot be payouts."""

    key = "raw/stripe_payouts_rejected"
    owner = OWNER


class RawSendgridEventsRejected(RejectedLines):
    """Lines of SendGrid event files that cannot be events."""

    key = "raw/sendgrid_events_rejected"
    owner = OWNER


class RawStripeCustomersRejected(RejectedLines):
    """Lines of Stripe customer files that cannot be customers."""

    key = "raw/stripe_customers_rejected"
    owner = OWNER


class RawStripeSubscriptionsRejected(RejectedLines):
    """Lines of Stripe subscription files that cannot be subscriptions."""

    key = "raw/stripe_subscriptions_rejected"
    owner = OWNER


class RawSendgridStatsRejected(RejectedLines):
    """Lines of SendGrid stats files that cannot be the numbers of a day."""

    key = "raw/sendgrid_stats_rejected"
    owner = OWNER
