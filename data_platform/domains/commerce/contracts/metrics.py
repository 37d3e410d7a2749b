"""Contracts of commerce's aggregates: daily metrics, reconciliation, cohorts, customer lifetime.
Computed by the dbt models of the same names. Not here: facts and dimensions."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl

from data_platform.core.contract.published import MonthlySummary, Published
from data_platform.core.contract.table import Personal, Rule, Severity, column
from data_platform.domains.commerce.contracts.sources import DAILY
from data_platform.domains.commerce.contracts.star import (
    CURRENCY,
    BalanceTransactions,
    FctOrders,
    FctOrderVersions,
    FctPayments,
    Modelled,
)
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity

SETTLEMENT_DAYS = 3
"""Within so many days of an order its charge is made, and of a refund its payout; the same in dbt/dbt_project.yml."""


EXCEPTIONS = (
    "refund_beyond_charge",
    "refund_in_another_currency",
    "failed_refund_not_given_back",
    "refund_given_back",
    "charge_taken_back",
    "dispute",
    "disputed_charge",
)


CLOSED = (
    f"The {SETTLEMENT_DAYS} days after it, in which Stripe settles, were over in UTC when the row was computed. "
    f"Payments of day {SETTLEMENT_DAYS + 1} after it have it computed again."
)


def totals_in_range(*columns: str) -> Rule:
    """Each row's amounts may fit where their sum does not: the sum is null then, and this rule names the row."""
    return Rule(
        "totals_in_range",
        f"no total is beyond 9999999999999999.99 ({', '.join(columns)}), where it is null",
        pl.all_horizontal(pl.col(*columns).is_not_null()),
        Severity.WARNING,
    )


class FctDailyActiveUsers(Modelled):
    """Active users of each day: one row per UTC day, also one without any."""

    key = "commerce/fct_daily_active_users"
    partition = "activity_date"
    primary_key = ("activity_date",)
    fresh = DAILY
    published = Published()

    activity_date: dt.date = column("UTC day.")
    daily_active_users: int = column(
        "Players with an event on the day.", unit="users", ge=0, derived_from=[PlayerDailyActivity.player_id]
    )
    weekly_active_users: int = column(
        "Players with one in the 7 days ending with it.",
        unit="users",
        ge=0,
        derived_from=[PlayerDailyActivity.player_id],
    )
    monthly_active_users: int = column(
        "Players with one in the 30 days ending with it.",
        unit="users",
        ge=0,
        derived_from=[PlayerDailyActivity.player_id],
    )


class MvDailyMetrics(Modelled):
    """The business by day: one row per UTC day and currency. Counts of the game are the same in each currency's row."""

    key = "commerce/mv_daily_metrics"
    partition = "metric_date"
    primary_key = ("metric_date", "currency")
    fresh = DAILY
    row_rules = (totals_in_range("gross_revenue", "returns", "refunds", "disputes", "net_revenue"),)
    published = Published(
        summaries=(
            MonthlySummary(
                "metrics_by_month",
                ("currency",),
                ("events", "orders", "gross_revenue", "returns", "refunds", "net_revenue"),
            ),
        ),
    )

    metric_date: dt.date = column("UTC day.", derived_from=[FctOrders.order_date, FctPayments.payment_date])
    currency: str = column("ISO 4217 code; on a day without money the reporting currency.", pattern=CURRENCY)
    events: int = column("Clean events.", unit="events", ge=0, derived_from=[PlayerDailyActivity.total_events])
    active_users: int = column(
        "Players with an event.", unit="users", ge=0, derived_from=[PlayerDailyActivity.player_id]
    )
    orders: int = column("Paid orders in this currency.", unit="orders", ge=0, derived_from=[FctOrders.order_id])
    paying_users: int = column(
        "Users with a paid order in this currency.", unit="users", ge=0, derived_from=[FctOrders.user_id]
    )
    gross_revenue: Decimal | None = column("Amount of the paid orders.", ge=0, derived_from=[FctOrders.revenue])
    returns: Decimal | None = column("Credit notes of the day.", ge=0, derived_from=[FctOrders.revenue])
    refunds: Decimal | None = column(
        "Refunds made on the day, of orders of any day.", ge=0, derived_from=[FctPayments.cash]
    )
    disputes: Decimal | None = column(
        "What disputes took on the day, minus what those that were won gave back.", derived_from=[FctPayments.cash]
    )
    net_revenue: Decimal | None = column(
        "Gross revenue minus returns, refunds and disputes.", derived_from=[FctOrders.revenue, FctPayments.cash]
    )
    conversion: float | None = column(
        "Users with a paid order in any currency / active users; null without active users.",
        ge=0,
        derived_from=[FctOrders.user_id, PlayerDailyActivity.player_id],
    )


class RevenueReconciliationDifferences(Modelled):
    """What does not agree to the cent: one row per order whose charges, or refund whose payout, is another amount. Days
    before the first charge, or payout, that was received are not judged."""

    key = "commerce/revenue_reconciliation_differences"
    partition = "reconciliation_date"
    primary_key = ("reconciliation_date", "comparison", "subject_id", "currency")
    row_rules = (totals_in_range("found", "difference"),)
    profiled = False

    reconciliation_date: dt.date = column(
        "UTC day of the order, of the refund, or of the payment that has neither.",
        derived_from=[FctOrders.order_date, FctPayments.payment_date, BalanceTransactions.paid_out_date],
    )
    comparison: str = column("What was compared.", isin=("order_vs_charge", "refund_vs_payout"))
    order_id: str | None = column("The order.")
    subject_id: str = column(
        "The order, or the payment without an order; the refund, or the balance transaction without one.",
        derived_from=[FctOrders.order_id, FctPayments.payment_id, BalanceTransactions.transaction_id],
    )
    currency: str = column("ISO 4217 code.", pattern=CURRENCY)
    expected: Decimal = column("Amount of the order or refund.", derived_from=[FctOrders.amount, FctPayments.amount])
    found: Decimal | None = column(
        "Amount charged or paid out.", derived_from=[FctPayments.amount, BalanceTransactions.amount]
    )
    difference: Decimal | None = column(
        "Found minus expected.", derived_from=[FctOrders.amount, FctPayments.amount, BalanceTransactions.amount]
    )
    is_closed: bool = column(CLOSED)


class RevenueReconciliation(Modelled):
    """Orders against Stripe: one row per UTC day and currency. A day that is closed and differs is not published here;
    what differs is listed in revenue_reconciliation_differences."""

    key = "commerce/revenue_reconciliation"
    partition = "reconciliation_date"
    primary_key = ("reconciliation_date", "currency")
    fresh = DAILY
    published = Published()
    row_rules = (
        Rule(
            "reconciled_to_the_cent",
            "no order or refund of a closed day differs (tolerance zero)",
            ~pl.col("is_closed") | (pl.col("differences") == 0),
        ),
        Rule(
            "stripe_is_connected",
            "charges were received of this day or one before; else it is not judged",
            pl.col("is_connected"),
            Severity.INFO,
        ),
        totals_in_range("ordered_amount", "refunded_amount"),
    )

    reconciliation_date: dt.date = column("UTC day.", derived_from=[FctOrders.order_date, FctPayments.payment_date])
    currency: str = column("ISO 4217 code.", pattern=CURRENCY)
    orders: int = column("Paid orders.", unit="orders", ge=0, derived_from=[FctOrders.order_id])
    ordered_amount: Decimal | None = column("Their amount.", ge=0, derived_from=[FctOrders.amount])
    charged_amount: Decimal | None = column(
        "What Stripe charged for them; null before its first charge.",
        derived_from=[RevenueReconciliationDifferences.difference, FctOrders.amount],
    )
    refunds: int = column("Refunds that succeeded.", unit="refunds", ge=0, derived_from=[FctPayments.payment_id])
    refunded_amount: Decimal | None = column("Their amount.", ge=0, derived_from=[FctPayments.amount])
    paid_out_refunds: Decimal | None = column(
        "What Stripe took back for them in payouts; null before the first one.",
        derived_from=[RevenueReconciliationDifferences.difference, FctPayments.amount],
    )
    differences: int = column(
        "Orders and refunds that differ.", ge=0, derived_from=[RevenueReconciliationDifferences.subject_id]
    )
    is_connected: bool | None = column("Charges were received of this day or one before.")
    is_closed: bool = column(CLOSED)


def _none(what: str, *reasons: str) -> Rule:
    return Rule(f"no_{what}", f"none is {', '.join(reasons)}", ~pl.col("reason").is_in(reasons), Severity.WARNING)


class PaymentExceptions(Modelled):
    """What became of payments later and does not fit together, or is money lost: one row per payment and reason.
    A refund is held against its charge, a failed one against the payouts that took and gave back its money, a dispute
    counts as what it took in the end; what was set right is no longer here."""

    key = "commerce/payment_exceptions"
    primary_key = ("reason", "payment_id", "currency", "order_id")
    row_rules = (
        _none("refunds_beyond_their_charge", "refund_beyond_charge", "refund_in_another_currency"),
        _none("failures_unsettled", "failed_refund_not_given_back", "refund_given_back", "charge_taken_back"),
        _none("disputes", "dispute", "disputed_charge"),
    )

    reason: str = column("Why it is listed.", isin=EXCEPTIONS)
    payment_id: str = column("The charge or refund; of `dispute` the dispute.", min_length=1)
    currency: str = column("ISO 4217 code of the amount.", pattern=CURRENCY)
    order_id: str | None = column("Its order, where known.", derived_from=[FctPayments.order_id])
    charge_id: str | None = column("Its charge, where known.", derived_from=[FctPayments.charge_id])
    amount: Decimal | None = column(
        "What is too much, missing or gone.", derived_from=[FctPayments.cash, BalanceTransactions.amount]
    )
    happened_on: dt.date = column(
        "UTC day of the payment, or of the payout with the dispute.",
        derived_from=[FctPayments.payment_date, BalanceTransactions.paid_out_date],
    )


class RevenueRetentionCohorts(Modelled):
    """Who buys again: one row per month of first purchase, month since then, and currency."""

    key = "commerce/revenue_retention_cohorts"
    primary_key = ("cohort_month", "months_since", "currency")
    row_rules = (totals_in_range("revenue"),)
    published = Published()

    cohort_month: dt.date = column("Month (UTC) of the first paid order.", derived_from=[FctOrders.order_date])
    months_since: int = column("Months after it; 0 is the month itself.", unit="months", ge=0)
    currency: str = column("ISO 4217 code.", pattern=CURRENCY)
    cohort_users: int = column("Users of the cohort, whatever they paid in.", ge=1, derived_from=[FctOrders.user_id])
    users: int = column("Those with a paid order in the month and currency.", ge=1, derived_from=[FctOrders.user_id])
    orders: int = column("Their paid orders.", unit="orders", ge=1, derived_from=[FctOrders.order_id])
    revenue: Decimal | None = column("Their revenue.", ge=0)
    retained_share: float = column("Users / users of the cohort.", ge=0, le=1, derived_from=[FctOrders.user_id])


class LifetimeFields(Modelled):
    """Inputs of RFM and BG/NBD models of a user in a currency. A purchase is a day with a paid order."""

    row_rules = (totals_in_range("revenue"),)

    user_id: str = column("The user.", personal=Personal.PSEUDONYM)
    currency: str = column("ISO 4217 code.", pattern=CURRENCY)
    frequency: int = column(
        "Days with a paid order after the first such day.",
        unit="days",
        ge=0,
        derived_from=[FctOrderVersions.order_date],
    )
    recency: int = column(
        "From the first to the last day with a paid order.",
        unit="days",
        ge=0,
        derived_from=[FctOrderVersions.order_date],
    )
    first_order_date: dt.date = column("First day with a paid order.", derived_from=[FctOrderVersions.order_date])
    last_order_date: dt.date = column("Last day with a paid order.", derived_from=[FctOrderVersions.order_date])
    revenue: Decimal | None = column("Amount of all paid orders.", ge=0, derived_from=[FctOrderVersions.amount])
    monetary_value: Decimal | None = column(
        "Mean revenue of a day after the first one, rounded half up; null without such a day.",
        ge=0,
        derived_from=[FctOrderVersions.amount],
    )


class CustomerLifetime(LifetimeFields):
    """Customers as known now: one row per user and currency with a paid order. To learn from a past day take
    customer_lifetime_snapshots, which know nothing of what came after it."""

    key = "commerce/customer_lifetime"
    primary_key = ("user_id", "currency")
    published = Published()

    observed_days: int = column(
        "T: from the first day with a paid order to the newest day with any order.",
        unit="days",
        ge=0,
        derived_from=[FctOrderVersions.order_date],
    )


class CustomerLifetimeSnapshots(LifetimeFields):
    """Customers as known at the end of each day: one row per day and user and currency with a paid order by then."""

    key = "commerce/customer_lifetime_snapshots"
    partition = "snapshot_date"
    primary_key = ("snapshot_date", "user_id", "currency")
    fresh = DAILY
    profiled = False

    snapshot_date: dt.date = column("The day at whose end this was known, UTC.")
    observed_days: int = column(
        "T: from the first day with a paid order to the snapshot day.",
        unit="days",
        ge=0,
        derived_from=[FctOrderVersions.order_date],
    )
