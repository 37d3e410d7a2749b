"""What a player bought and which e-mails were read, in windows of 30 days, as known at the end of each day.
Not here: which player these features are joined to (`domains/churn`), facts (dbt/models)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.gameplay.transforms.calendar import (
    SNAPSHOT,
    days_after,
    last_window_day,
    on_snapshot_days,
    window_sums,
)

MILLION = 1_000_000
CENT = Decimal("0.01")
MOST_CENTS = 10**18 - 1
"""What an amount of the contract holds; a sum beyond it is null."""
EMAIL_EVENTS = ("delivered", "opens", "clicks")


def commerce_features(
    order_versions: pl.LazyFrame,
    payments: pl.LazyFrame,
    email_engagement: pl.LazyFrame,
    planning_rates: Mapping[str, Decimal],
    days: Sequence[dt.date],
) -> pl.LazyFrame:
    """PlayerCommerceFeatures of the snapshot days `days`: one row per day and player with something in the window.

    Needs FctOrderVersions, FctPayments and FctEmailEngagement of D-29..D. An order counts as its version at the end of
    D says, a refund from the day it was made, an e-mail event on its day: nothing later is looked at. Orders are filed
    under the day they were placed; a refund counts while both it and its sale are in the window. `planning_rates` are
    units of a currency per unit of the reporting one; raises InvalidOperationError for a currency without a rate.
    """
    paid = _paid(order_versions, planning_rates)
    sales = paid.filter(pl.col("order_type") == "sale")
    first, last = pl.col("first"), pl.col("last")
    bought = on_snapshot_days(sales, first, last, days).select(
        *SNAPSHOT, orders=pl.lit(1, pl.Int64), spend="cents", last_order="order_date"
    )
    credited = on_snapshot_days(paid.filter(pl.col("order_type") == "return"), first, last, days).select(
        *SNAPSHOT, given_back="cents"
    )
    refunds = payments.filter(pl.col("payment_type") == "refund").select(
        "order_id", refunded_on="payment_date", refunded=_in_reporting_cents(-pl.col("cash"), planning_rates)
    )
    refunded_on = pl.col("refunded_on")
    refunded = on_snapshot_days(
        sales.join(refunds, on="order_id"),
        pl.max_horizontal("first", refunded_on),
        pl.min_horizontal("last", last_window_day(refunded_on)),
        days,
    ).select(*SNAPSHOT, given_back="refunded")
    emails = window_sums(
        email_engagement.select(*EMAIL_EVENTS, activity_date="event_date", player_id="user_id"), EMAIL_EVENTS, days
    )
    together = pl.concat([bought, credited, refunded, emails], how="diagonal")
    # Sums of integers: cents and counts do not depend on the order of the rows.
    counted = together.group_by(SNAPSHOT).agg(
        pl.col("orders", "spend", "given_back", *EMAIL_EVENTS).sum(), pl.col("last_order").max()
    )
    spend, delivered = pl.col("spend"), pl.col("delivered")
    return conform(
        PlayerCommerceFeatures,
        counted.with_columns(
            spend=pl.when(spend <= MOST_CENTS).then(spend).cast(pl.Decimal(38, 2)) * pl.lit(CENT),
            days_since_last_order=(pl.col("snapshot_date") - pl.col("last_order")).dt.total_days(),
            refund_share=pl.when(spend > 0).then(pl.col("given_back") / spend),
            emails_delivered=delivered,
            email_open_rate=pl.when(delivered > 0).then(pl.col("opens") / delivered),
            email_click_rate=pl.when(delivered > 0).then(pl.col("clicks") / delivered),
        ),
    )


def _paid(order_versions: pl.LazyFrame, planning_rates: Mapping[str, Decimal]) -> pl.LazyFrame:
    """Paid versions of users' orders with `cents` and the snapshot days `first`..`last` on whose ends they held, while
    the order is in the window."""
    ended = days_after(pl.col("valid_to").dt.date(), -1)
    held = order_versions.filter("is_paid", pl.col("user_id").is_not_null()).select(
        "order_id",
        "order_type",
        "order_date",
        player_id="user_id",
        cents=_in_reporting_cents(pl.col("amount"), planning_rates),
        first=pl.max_horizontal("order_date", pl.col("valid_from").dt.date()),
        last=pl.min_horizontal(ended, last_window_day(pl.col("order_date"))),
    )
    # Most versions end on the day they began: they never were what a day ended with.
    return held.filter(pl.col("first") <= pl.col("last"))


def _in_reporting_cents(amount: pl.Expr, planning_rates: Mapping[str, Decimal]) -> pl.Expr:
    """An amount beside its `currency` as whole cents of the reporting currency, rounded half up; needs amounts of two
    decimals, not below zero. In 128-bit integers: a float would depend on the machine, and 64 bits hold nine of the
    largest amounts."""
    millionths = {currency: int(rate * MILLION) for currency, rate in planning_rates.items()}
    rate = pl.col("currency").replace_strict(millionths, return_dtype=pl.Int64).cast(pl.Int128)
    cents = amount.to_physical().cast(pl.Int128)
    return (2 * MILLION * cents + rate) // (2 * rate)
