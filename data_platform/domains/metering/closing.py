"""Whether a month can be closed: what is still missing, open or unexplained, each with what to do.
Belongs here: pure functions over tables. Not here: days that are out of date (operations/plan), printing (cli)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.calendar import next_month
from data_platform.core.errors import counted
from data_platform.domains.metering.contracts.invoices import AGREES

MOST_NAMED = 3


@dataclass(frozen=True)
class Obstacle:
    """Why a month is not closed yet."""

    problem: str
    remedy: str


def month_of(text: str) -> dt.date:
    """The first day of `2026-10`. Raises ValueError."""
    return dt.datetime.strptime(text, "%Y-%m").date()


def first_open_month(closed: Collection[dt.date]) -> dt.date:
    """The first month after the earliest closed one that is open itself: its bill holds what is corrected of closed
    ones. In: at least one month, by their first days."""
    month = min(closed)
    while month in closed:
        month = next_month(month)
    return month


def open_before(month: dt.date, closed: Collection[dt.date]) -> Iterator[Obstacle]:
    """Months are closed one after the other, from whichever was the earliest on: a month that is left out would have
    all corrections on a bill that nobody issues. In: the months that are closed."""
    if closed and (first := first_open_month(closed)) < month:
        yield Obstacle(f"{first:%Y-%m} is open", "close it first")


def obstacles(
    month: dt.date, today: dt.date, daily_costs: pl.LazyFrame, allocation: pl.LazyFrame, reconciliation: pl.LazyFrame
) -> Iterator[Obstacle]:
    """What keeps a month open. In: TenantDailyCosts, CostAllocation and InvoiceReconciliation of it."""
    beyond = next_month(month)
    if today < beyond:
        yield Obstacle(f"{month:%Y-%m} ends with {beyond - dt.timedelta(days=1)}", "wait until it is over")
    of_month = pl.col("usage_date").is_between(month, beyond, closed="left")
    yield from _unpriced(daily_costs.filter(of_month))
    yield from _not_allocated(allocation.filter(pl.col("cost_month").dt.month_start() == month))
    yield from _differences(reconciliation.filter(of_month))


def _unpriced(daily_costs: pl.LazyFrame) -> Iterator[Obstacle]:
    unpriced = daily_costs.filter(pl.col("unpriced_calls") > 0)
    by_model = unpriced.group_by("provider", "model").agg(pl.col("unpriced_calls").sum())
    found = by_model.sort("unpriced_calls", "model", descending=[True, False]).collect()
    if len(found):
        calls = counted(int(found["unpriced_calls"].sum()), "call")
        named = _named(f"{provider} {model}" for provider, model, _ in found.iter_rows())
        yield Obstacle(f"{calls} without a price: {named}", "send their prices to landing/model_prices")


def _not_allocated(allocation: pl.LazyFrame) -> Iterator[Obstacle]:
    found = allocation.filter(pl.col("reason").is_not_null()).sort("cost_id").collect()
    if len(found):
        named = _named(f"{row['cost_id']} ({row['reason']})" for row in found.iter_rows(named=True))
        yield Obstacle(
            f"{counted(len(found), 'shared cost')} that nobody bears: {named}",
            "correct the cost or its rule in landing/shared_costs or landing/allocation_rules",
        )


def _differences(reconciliation: pl.LazyFrame) -> Iterator[Obstacle]:
    """Also days that are not invoiced, of providers that have invoiced others of the month."""
    invoiced = reconciliation.filter(pl.col("lines") > 0).select("provider").unique()
    missing = (pl.col("status") == "not_invoiced") & pl.col("has_invoices")
    found = (
        reconciliation.join(invoiced.with_columns(has_invoices=True), on="provider", how="left")
        .filter(~pl.col("status").is_in(AGREES) | missing.fill_null(False))
        .sort("usage_date", "provider", "model")
        .collect()
    )
    if len(found):
        named = _named(
            f"{row['usage_date']} {row['provider']} {row['model']} ({row['status']})"
            for row in found.iter_rows(named=True)
        )
        yield Obstacle(
            f"{counted(len(found), 'difference')} between usage and invoices: {named}",
            "see metering/invoice_reconciliation; ask the provider, or correct usage or prices",
        )


def _named(texts: Iterator[str]) -> str:
    """The first few, and how many more there are."""
    every = list(texts)
    more = f" and {len(every) - MOST_NAMED} more" if len(every) > MOST_NAMED else ""
    return ", ".join(every[:MOST_NAMED]) + more
