"""Budgets that somebody is told of: half, four fifths or all of one is spent, or a day burns.
Not here: how that is found (transforms/budgets), who is told and how often (observability/alerts)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from data_platform.core.contract.calendar import midnight
from data_platform.core.contract.notices import Notice, Told
from data_platform.domains.metering.contracts.budgets import LONGEST_PERIOD, BudgetStatus
from data_platform.domains.metering.currencies import DECIMALS
from data_platform.domains.metering.money import rounded

LEVELS: dict[int, Literal["info", "warning", "critical"]] = {50: "info", 80: "warning", 100: "critical"}


def spent_budgets(rows: pl.LazyFrame, today: dt.date) -> Iterator[Told]:
    """One episode per budget and period, whose level rises with what is spent. In: BudgetStatus of the last days."""
    for row in _newest(rows, today, pl.col("reached_percent") > 0):
        reached = row["reached_percent"]
        level = LEVELS[reached]
        likely = f" By its end it will be {_money(row, row['forecast'])}" if row["forecast"] is not None else ""
        if likely and row["forecast_low"] is not None:
            likely += f" (from {_money(row, row['forecast_low'])} to {_money(row, row['forecast_high'])})"
        yield Told(
            key=f"{row['tenant_id']}/{row['budget_id']}:{row['period_start']}",
            level=level,
            title=f"budget {row['budget_id']} of {row['tenant_id']}: {reached} % is spent",
            what=f"{_money(row, row['spent'])} of {_money(row, row['amount'])} were spent of the "
            f"{row['budget_period']} from {row['period_start']} on.{likely}{'.' if likely else ''}",
            since=midnight(row["status_date"]),
        )


def burning_budgets(rows: pl.LazyFrame, today: dt.date) -> Iterator[Told]:
    """One episode per budget that burns on the newest day known of it, one day ago at most."""
    for row in _newest(rows, today, pl.col("is_burning") & (pl.col("status_date") >= today - dt.timedelta(days=1))):
        yield Told(
            key=f"{row['tenant_id']}/{row['budget_id']}",
            level="warning",
            title=f"budget {row['budget_id']} of {row['tenant_id']} burns",
            what=f"{row['status_date']} cost {_money(row, row['day_cost'])}; a usual day costs "
            f"{_money(row, row['usual_day_cost'])}.",
            since=midnight(row["status_date"]),
        )


def _newest(rows: pl.LazyFrame, today: dt.date, wanted: pl.Expr) -> Iterator[dict[str, Any]]:
    """Rows of the newest day, on which every budget that holds has one: those that are wanted, of periods that are not
    over. A budget that was ended since tells nothing more."""
    day = rows.select(pl.col("status_date").max()).collect().item()
    found = rows.filter(pl.col("status_date").eq_missing(pl.lit(day)), pl.col("period_end") > today, wanted)
    yield from found.sort("tenant_id", "budget_id").collect().iter_rows(named=True)


def _money(row: dict[str, Any], amount: Decimal) -> str:
    """For people: whole cents."""
    return f"{rounded(amount, DECIMALS.get(row['currency'], 2)):,f} {row['currency']}"


NOTICES = (
    Notice(
        "budget",
        BudgetStatus,
        spent_budgets,
        "See in metering/budget_status what is left, then raise the budget or lower the use.",
        "alert-a-budget-is-spent",
        # What was spent stays spent while nothing is computed: with less, a week without a run was told as recovered.
        look_back=dt.timedelta(days=LONGEST_PERIOD),
    ),
    Notice(
        "budget_burn",
        BudgetStatus,
        burning_budgets,
        "Find in metering/tenant_daily_costs the feature and model whose calls grew that day.",
        "alert-a-budget-burns",
    ),
)
