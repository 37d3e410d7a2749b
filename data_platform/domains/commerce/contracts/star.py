"""Contracts of the star schema: dimensions with their history, and facts at the grain of a row of the source.
Computed by the dbt models of the same names. Money is a decimal beside its currency. Not here: aggregates."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl

from data_platform.core.contract import received
from data_platform.core.contract.published import MonthlySummary, Published
from data_platform.core.contract.table import Personal, Rule, Severity, Table, column
from data_platform.domains.commerce.contracts.sources import (
    DAILY,
    OWNER,
    RawOrderChanges,
    RawOrderItemChanges,
    RawProductChanges,
    RawSendgridEvents,
    RawStripeCharges,
    RawStripePayouts,
    RawStripeRefunds,
    RawUserChanges,
)
from data_platform.domains.gameplay.contracts.events import PlayerEvents

CURRENCY = "^[A-Z]{3}$"
ORDER_TYPES = ("sale", "return")
BALANCE_CATEGORIES = ("refund", "refund_failure", "dispute", "dispute_reversal", "charge_failure")
PAYMENT_TYPES = ("charge", "refund", "dispute", "dispute_reversal")
ROW_TYPES = ("order", "order_item", "charge", "refund", "balance_transaction", "email_event", "product")


class Modelled(Table):
    """Base of the tables that dbt computes."""

    owner = OWNER
    kind = "dbt"


class Version(Table):
    """What makes a row a version of a slowly changing dimension (SCD2)."""

    valid_from: dt.datetime = column("From when this version holds (UTC, inclusive).")
    valid_to: dt.datetime | None = column("Until when it held (UTC, exclusive); null while it holds.")
    is_current: bool = column("True for the version that holds now.")


class DimUsers(Version, Modelled):
    """Users with their history (SCD2): one row per user and version; a deletion ends the last one."""

    key = "commerce/dim_users"
    primary_key = ("user_key",)
    published = Published(indexes=(("user_id", "valid_from"),))

    user_key: str = column(
        "Surrogate key: digest of the user and the start of the version.",
        min_length=1,
        derived_from=[RawUserChanges.user_id, RawUserChanges.changed_at],
    )
    user_id: str = column("The user; also the player's id.", personal=Personal.PSEUDONYM, min_length=1)
    email: str | None = column("Address, lower case.", personal=Personal.DIRECT)
    country: str | None = column("ISO 3166 country code.")
    plan: str | None = column("Subscription, for example `free` or `gold`.")
    registered_at: dt.datetime | None = column("When the user signed up (UTC).")


class DimProducts(Version, Modelled):
    """Products with their history (SCD2): one row per product and version."""

    key = "commerce/dim_products"
    primary_key = ("product_key",)
    published = Published(indexes=(("product_id", "valid_from"),))

    product_key: str = column(
        "Surrogate key: digest of the product and the start of the version.",
        min_length=1,
        derived_from=[RawProductChanges.product_id, RawProductChanges.changed_at],
    )
    product_id: str = column("The product.", min_length=1)
    name: str | None = column("What the shop calls it.")
    category: str | None = column("For example `cosmetic` or `subscription`.")
    list_price: Decimal | None = column("Price before discounts.", ge=0, severity=Severity.WARNING)
    currency: str | None = column("ISO 4217 code of the price.")


class DimDate(Modelled):
    """The calendar: one row per day of every year with an order. Fiscal year and holidays: dbt/dbt_project.yml."""

    key = "commerce/dim_date"
    primary_key = ("date_day",)
    published = Published()

    date_day: dt.date = column("The day.", derived_from=[RawOrderChanges.order_date])
    year: int = column("Calendar year.")
    quarter: int = column("Calendar quarter.", ge=1, le=4)
    month: int = column("Calendar month.", ge=1, le=12)
    month_start: dt.date = column("First day of the month.")
    is_month_end: bool = column("True for the last day of the month.")
    iso_year: int = column("Year the ISO week belongs to; differs from the calendar year around New Year.")
    iso_week: int = column("ISO week, 1 to 53.", ge=1, le=53)
    iso_week_label: str = column("For example `2026-W01`.", pattern=r"^\d{4}-W\d{2}$")
    iso_weekday: int = column("Monday is 1, Sunday is 7.", ge=1, le=7)
    is_weekend: bool = column("Saturday or Sunday.")
    fiscal_year: int = column("Fiscal year, named by the calendar year it ends in.")
    fiscal_quarter: int = column("Quarter of the fiscal year.", ge=1, le=4)
    fiscal_month: int = column("Month of the fiscal year.", ge=1, le=12)
    holiday: str | None = column("Name of the holiday, on one.")


class FctOrders(Modelled):
    """Orders: one row per order, filed under the UTC day it was placed on, as its newest change left it. An order is
    one whatever its day: a change that tells another `ordered_at` moves it, and both days are computed again."""

    key = "commerce/fct_orders"
    partition = "order_date"
    primary_key = ("order_date", "order_id")
    fresh = DAILY
    published = Published(indexes=(("user_id", "order_date"),))

    order_date: dt.date = column("UTC day of `ordered_at`.")
    order_id: str = column("The order.", min_length=1)
    user_id: str | None = column(
        "Who ordered; null for guests.", personal=Personal.PSEUDONYM, references=RawUserChanges.user_id
    )
    user_key: str | None = column(
        "Version of the user at `ordered_at`, in dim_users; null for guests and unknown users.",
        derived_from=[RawUserChanges.user_id, RawUserChanges.changed_at],
    )
    order_type: str = column("`sale`, or `return` for a credit note.", isin=ORDER_TYPES)
    status: str = column("State of the order in the application.", min_length=1)
    is_paid: bool = column("Paid at some time, whatever became of it.", derived_from=[RawOrderChanges.status])
    currency: str = column("ISO 4217 code.", pattern=CURRENCY)
    amount: Decimal = column("Sum of the items.", ge=0, derived_from=[RawOrderChanges.total_amount])
    revenue: Decimal = column(
        "What the order adds to revenue: its amount once paid, minus it for a return, else 0.",
        derived_from=[RawOrderChanges.total_amount, RawOrderChanges.status, RawOrderChanges.order_type],
    )
    ordered_at: dt.datetime = column("When the order was placed (UTC).")
    business_date: dt.date = column(
        "Day of `ordered_at` by the clock finance closes by.", derived_from=[RawOrderChanges.ordered_at]
    )
    changed_at: dt.datetime = column("When the order last changed (UTC).")


class FctOrderVersions(Version, Modelled):
    """Orders with their history: one row per order and change that was accepted; a deletion or a change that is
    rejected ends the version before it. The current version of each order is its row in fct_orders. A version
    stays on the day that it told; the one after it may be on another."""

    key = "commerce/fct_order_versions"
    partition = "order_date"
    primary_key = ("order_date", "order_id", "valid_from")
    fresh = DAILY

    order_date: dt.date = column("UTC day of `ordered_at`, whenever the change was made.")
    order_id: str = column("The order.", min_length=1)
    user_id: str | None = column("Who ordered; null for guests.", personal=Personal.PSEUDONYM)
    order_type: str = column("`sale`, or `return` for a credit note.", isin=ORDER_TYPES)
    status: str = column("State of the order in the application.", min_length=1)
    is_paid: bool = column("Paid by then, whatever became of it.", derived_from=[RawOrderChanges.status])
    currency: str = column("ISO 4217 code.", pattern=CURRENCY)
    amount: Decimal = column("Sum of the items.", ge=0, derived_from=[RawOrderChanges.total_amount])
    ordered_at: dt.datetime = column("When the order was placed (UTC).")
    valid_from: dt.datetime = column(
        "When the change was committed: from then on this version held (UTC, inclusive).",
        derived_from=[RawOrderChanges.changed_at],
    )
    valid_to: dt.datetime | None = column(
        "When the next change was, of whatever kind (UTC, exclusive); null for the newest.",
        derived_from=[RawOrderChanges.changed_at],
    )


class FctOrderItems(Modelled):
    """Order lines: one row per line, filed under the UTC day that its newest change tells."""

    key = "commerce/fct_order_items"
    partition = "order_date"
    primary_key = ("order_date", "order_item_id")
    fresh = DAILY
    published = Published(
        indexes=(("product_id", "order_date"),),
        summaries=(
            MonthlySummary("product_sales_by_month", ("product_id", "currency"), ("quantity", "amount", "revenue")),
        ),
    )

    order_date: dt.date = column("UTC day of the order.")
    order_item_id: str = column("The line.", min_length=1)
    order_id: str = column("Its order.", min_length=1, references=RawOrderChanges.order_id)
    product_id: str = column("What was ordered.", min_length=1, references=RawProductChanges.product_id)
    product_key: str | None = column(
        "Version of the product at the time of the order, in dim_products.",
        derived_from=[RawProductChanges.product_id, RawProductChanges.changed_at],
    )
    user_id: str | None = column("Who ordered.", personal=Personal.PSEUDONYM)
    order_type: str = column("`sale`, or `return` for a credit note.", isin=ORDER_TYPES)
    quantity: int = column("Pieces.", unit="pieces", ge=1)
    currency: str = column("ISO 4217 code, the order's.", pattern=CURRENCY)
    unit_price: Decimal = column("Price of a piece.", ge=0)
    amount: Decimal = column(
        "Pieces times price.", ge=0, derived_from=[RawOrderItemChanges.quantity, RawOrderItemChanges.unit_price]
    )
    revenue: Decimal = column(
        "What the line adds to revenue: its amount once paid, minus it for a return, else 0.",
        derived_from=[RawOrderItemChanges.quantity, RawOrderItemChanges.unit_price, RawOrderChanges.status],
    )
    ordered_at: dt.datetime = column("When the order was placed (UTC).")


class BalanceTransactions(Modelled):
    """Balance transactions of Stripe's payouts that give money back or take it: refunds, refunds that failed, disputes
    lost and won, charges taken back. One row per transaction, on the day of its payout; failed payouts are left out."""

    key = "commerce/balance_transactions"
    partition = "paid_out_date"
    primary_key = ("paid_out_date", "transaction_id")

    paid_out_date: dt.date = column("UTC day of the payout.", derived_from=[RawStripePayouts.created_date])
    transaction_id: str = column(
        "Stripe's id of the balance transaction.", min_length=1, derived_from=[RawStripePayouts.payload]
    )
    category: str = column(
        "Why money moved: Stripe's reporting category, also of older versions of its API.",
        isin=BALANCE_CATEGORIES,
        derived_from=[RawStripePayouts.payload],
    )
    source_id: str | None = column(
        "What it is about: the refund, dispute or charge.", derived_from=[RawStripePayouts.payload]
    )
    charge_id: str | None = column(
        "The charge of a dispute, where the payout says it.", derived_from=[RawStripePayouts.payload]
    )
    currency: str = column("ISO 4217 code.", pattern=CURRENCY, derived_from=[RawStripePayouts.payload])
    amount: Decimal = column("How the balance changed: negative took money.", derived_from=[RawStripePayouts.payload])
    created_at: dt.datetime = column("When the payout was made (UTC).")


class FctPayments(Modelled):
    """Payments: one row per Stripe charge or refund, on the UTC day it was made, failed ones with their status; and one
    per balance transaction by which a dispute took money or gave it back, on the day of its payout. A version that
    tells another `created_at` moves the row, and both days are computed again."""

    key = "commerce/fct_payments"
    partition = "payment_date"
    primary_key = ("payment_date", "payment_id")
    fresh = DAILY
    published = Published(indexes=(("order_id", "payment_date"),))
    row_rules = (
        Rule(
            "cash_has_the_sign_of_its_type",
            "charges and reversed disputes bring cash, refunds and disputes take it",
            pl.when(pl.col("payment_type").is_in(["charge", "dispute_reversal"]))
            .then(pl.col("cash") >= 0)
            .otherwise(pl.col("cash") <= 0),
        ),
    )

    payment_date: dt.date = column(
        "UTC day of `created_at`.",
        derived_from=[RawStripeCharges.created_date, RawStripeRefunds.created_date, BalanceTransactions.paid_out_date],
    )
    payment_id: str = column(
        "Stripe's id of the charge or refund; of a dispute that of the balance transaction.",
        min_length=1,
        derived_from=[RawStripeCharges.object_id, RawStripeRefunds.object_id, BalanceTransactions.transaction_id],
    )
    payment_type: str = column("What moved the money, or was to.", isin=PAYMENT_TYPES)
    charge_id: str | None = column(
        "The charge; of a refund the one it gives back; of a dispute the one disputed, where the payout says it.",
        derived_from=[RawStripeCharges.object_id, RawStripeRefunds.payload],
    )
    order_id: str | None = column(
        "The order, from the metadata the application sends along.",
        derived_from=[RawStripeCharges.payload, RawStripeRefunds.payload],
    )
    status: str = column(
        "`succeeded`, `pending` or `failed`.", derived_from=[RawStripeCharges.payload, RawStripeRefunds.payload]
    )
    currency: str = column(
        "ISO 4217 code.", pattern=CURRENCY, derived_from=[RawStripeCharges.payload, RawStripeRefunds.payload]
    )
    amount: Decimal = column(
        "What was captured, given or taken back; of a payment that did not succeed, what was tried. Never negative.",
        ge=0,
        derived_from=[RawStripeCharges.payload, RawStripeRefunds.payload, BalanceTransactions.amount],
    )
    cash: Decimal = column(
        "What moved: the amount of a charge, minus that of a refund or dispute, 0 unless it succeeded.",
        derived_from=[RawStripeCharges.payload, RawStripeRefunds.payload, BalanceTransactions.amount],
    )
    is_disputed: bool | None = column(
        "Of a charge: it was disputed at some time, as Stripe says.", derived_from=[RawStripeCharges.payload]
    )
    dispute_id: str | None = column(
        "Of a charge: its dispute, where the charge names it.", derived_from=[RawStripeCharges.payload]
    )
    created_at: dt.datetime = column("When it was made (UTC).")


class RejectedRows(Modelled, received.RejectedRows):
    """Orders, lines, charges, refunds, balance transactions of payouts and products that were received but are no good,
    with the reason."""

    key = "commerce/rejected_rows"

    event_date: dt.date = column(
        "Day of the row, as in the raw table.",
        derived_from=[
            RawOrderChanges.order_date,
            RawOrderItemChanges.order_date,
            RawStripeCharges.created_date,
            RawStripeRefunds.created_date,
            RawStripePayouts.created_date,
            RawProductChanges.change_date,
        ],
    )
    row_type: str = column("Which kind of row.", isin=ROW_TYPES)
    row_id: str = column("Its id.", min_length=1)


class FctEvents(Modelled):
    """Player events as a fact: one row per clean event."""

    key = "commerce/fct_events"
    partition = "event_date"
    primary_key = ("event_date", "event_id")
    fresh = DAILY
    sorted = False

    event_date: dt.date = column("UTC day of the event.")
    event_id: str = column("The event.", min_length=1)
    user_id: str = column("Who acted.", personal=Personal.PSEUDONYM, derived_from=[PlayerEvents.player_id])
    user_key: str | None = column(
        "Version of the user at the time, in dim_users.",
        derived_from=[RawUserChanges.user_id, RawUserChanges.changed_at],
    )
    campaign_id: str | None = column("Campaign the player was in, if any.")
    event_type: str = column("What happened.", min_length=1)
    session_id: str | None = column("The client's session id.")
    occurred_at: dt.datetime = column("When the server saw it (UTC).", derived_from=[PlayerEvents.timestamp])


class FctEmailEngagement(Modelled):
    """What users did with their e-mails: one row per user and UTC day with an e-mail event."""

    key = "commerce/fct_email_engagement"
    partition = "event_date"
    primary_key = ("event_date", "user_id")

    event_date: dt.date = column("UTC day of the events.", derived_from=[RawSendgridEvents.created_date])
    user_id: str = column(
        "Whose address it was sent to.", personal=Personal.PSEUDONYM, derived_from=[RawSendgridEvents.payload]
    )
    delivered: int = column("Deliveries.", unit="events", ge=0, derived_from=[RawSendgridEvents.payload])
    opens: int = column("Opens.", unit="events", ge=0, derived_from=[RawSendgridEvents.payload])
    clicks: int = column("Clicks.", unit="events", ge=0, derived_from=[RawSendgridEvents.payload])
    bounces: int = column("Bounces and drops.", unit="events", ge=0, derived_from=[RawSendgridEvents.payload])
    unsubscribes: int = column("Unsubscriptions.", unit="events", ge=0, derived_from=[RawSendgridEvents.payload])
    spam_reports: int = column("Reports as spam.", unit="events", ge=0, derived_from=[RawSendgridEvents.payload])
