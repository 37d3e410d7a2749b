"""How each budget stands at the end of a day: spent, threshold reached, forecast, and whether the day is out of the
ordinary. Not here: who is told (notices). Sums are Polars', what follows is whole numbers of 10^-18: no float."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl

from data_platform.core.contract.calendar import DAY, end_of
from data_platform.domains.metering.contracts.budgets import PERIODS, RECENT_DAYS, THRESHOLDS, BudgetStatus
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS
from data_platform.domains.metering.currencies import DECIMALS
from data_platform.domains.metering.money import EXACT, amount_of

WEEK = 7
MOST_USUAL = 3
"""A day of more than so many usual ones burns: a weekday's rhythm stays below, a runaway loop does not."""
LEAST_SHARE = 100
"""A burning day costs at least this part of the budget: who spends cents is not woken."""
ROOT_DIGITS = 10**9
SCOPE = ("tenant_id", "project_id", "feature", "currency")
Row = dict[str, Any]
Costs = Mapping[dt.date, int]
"""Day → cost in units of 10^-18; days without calls are missing."""
ByScope = dict[tuple[Any, ...], dict[dt.date, int]]
"""Tenant, project, feature and currency of budgets → day → number."""


@dataclass(frozen=True)
class Forecast:
    """Units of 10^-18 by the end of a period; the bounds are None with too few days to tell."""

    expected: int
    low: int | None
    high: int | None


def budget_status(budgets: pl.LazyFrame, feature_days: pl.LazyFrame, days: list[dt.date]) -> pl.DataFrame:
    """In: RawBudgets until the days, TenantFeatureDays of the longest period before them. Out: BudgetStatus."""
    lines = budgets.sort("valid_from", "received_at", "source_file", "source_line").collect()
    costs, unpriced = _by_budget(lines, feature_days.filter(pl.col("usage_date") >= _needed_from(lines, days[0])))
    rows = [
        _status(line, day, costs[_key(line)], unpriced[_key(line)])
        for day in days
        for line in _held(lines.to_dicts(), day)
    ]
    return pl.DataFrame(rows, schema=BudgetStatus.schema(), orient="row")


def _held(lines: Sequence[Row], day: dt.date) -> list[Row]:
    """The line of each budget that holds at the end of a day; `lines` with the latest last."""
    end = end_of(day)
    held = {(line["tenant_id"], line["budget_id"]): line for line in lines if line["valid_from"] < end}
    return [line for line in held.values() if line["valid_to"] is None or line["valid_to"] >= end]


def _needed_from(lines: pl.DataFrame, day: dt.date) -> dt.date:
    """The first day whose costs a status looks at: only budgets of a year make it read a year."""
    periods = [period for period in lines["budget_period"].unique() if period in PERIODS]
    return min([day - RECENT_DAYS * DAY, *(period_of(day, period)[0] for period in periods)])


def _key(line: Row) -> tuple[Any, ...]:
    return tuple(line[name] for name in SCOPE)


def _by_budget(lines: pl.DataFrame, feature_days: pl.LazyFrame) -> tuple[ByScope, ByScope]:
    """Cost by day of what each budget is for, and calls without a price."""
    wanted = lines.lazy().select(SCOPE).unique()
    narrowed = wanted.join(feature_days, on="tenant_id", suffix="_used").filter(
        pl.col("project_id").is_null() | (pl.col("project_id") == pl.col("project_id_used")),
        pl.col("feature").is_null() | (pl.col("feature") == pl.col("feature_used")),
        # Calls without a price have no currency: they are counted, and cost nothing yet.
        (pl.col("currency") == pl.col("currency_used")) | (pl.col("currency_used") == ""),
    )
    summed = narrowed.group_by(*SCOPE, "usage_date").agg(pl.col("cost", "unpriced_calls").sum()).collect()
    costs: ByScope = defaultdict(dict)
    unpriced: ByScope = defaultdict(dict)
    for row in summed.iter_rows(named=True):
        costs[_key(row)][row["usage_date"]] = _units(row["cost"])
        unpriced[_key(row)][row["usage_date"]] = row["unpriced_calls"]
    return costs, unpriced


def _units(amount: Decimal) -> int:
    return int(EXACT.scaleb(amount, PRICE_DECIMALS))


def _amount(units: int | None) -> Decimal | None:
    return None if units is None else EXACT.scaleb(Decimal(units), -PRICE_DECIMALS)


def _status(line: Row, day: dt.date, costs: Costs, unpriced: Mapping[dt.date, int]) -> Row:
    stated = {
        name: line[name] for name in ("budget_id", "tenant_id", "project_id", "feature", "budget_period", "currency")
    }
    row = stated | {
        "status_date": day,
        "amount": amount_of(line["amount"]),
        "spent": Decimal(0),
        "unpriced_calls": 0,
        "reached_percent": 0,
        "day_cost": _amount(costs.get(day, 0)),
        "is_burning": False,
    }
    if reason := _unusable(row):
        return row | {"reason": reason}
    budget = _units(row["amount"])
    start, end = period_of(day, line["budget_period"])
    so_far = [date for date in costs if start <= date <= day]
    spent = sum(costs[date] for date in so_far)
    found = forecast(costs, day, (end - day).days - 1, spent)
    usual = usual_cost(costs, day)
    return row | {
        "period_start": start,
        "period_end": end,
        "spent": _amount(spent),
        "unpriced_calls": sum(unpriced[date] for date in so_far),
        "reached_percent": max((t for t in THRESHOLDS if spent * 100 >= t * budget), default=0),
        "forecast": _amount(found.expected),
        "forecast_low": _amount(found.low),
        "forecast_high": _amount(found.high),
        "usual_day_cost": _amount(usual),
        "is_burning": usual is not None and is_burning(costs, day, usual, budget),
    }


def _unusable(row: Row) -> str | None:
    if row["amount"] is None:
        return "amount_is_no_decimal"
    if row["amount"] <= 0:
        return "amount_not_above_zero"
    if row["budget_period"] not in PERIODS:
        return "unknown_period"
    return None if row["currency"] in DECIMALS else "unknown_currency"


def period_of(day: dt.date, period: str) -> tuple[dt.date, dt.date]:
    """First day of the period (PERIODS) of a day, and the day after its last."""
    months = PERIODS[period]
    first = dt.date(day.year, day.month - (day.month - 1) % months, 1)
    beyond = first.month - 1 + months
    return first, dt.date(first.year + beyond // 12, beyond % 12 + 1, 1)


def _recent(costs: Costs, last: dt.date) -> list[tuple[dt.date, int]]:
    """The last days up to one, days without calls as 0, from the first with calls on."""
    first = min((date for date in costs if last - RECENT_DAYS * DAY < date <= last), default=None)
    if first is None:
        return []
    return [(first + n * DAY, costs.get(first + n * DAY, 0)) for n in range((last - first).days + 1)]


def forecast(costs: Costs, day: dt.date, days_left: int, spent: int) -> Forecast:
    """What a period will have cost: see the contract for the method."""
    recent = _recent(costs, day)
    if not recent or not days_left:
        return Forecast(spent, spent, spent) if recent else Forecast(spent, None, None)
    ahead = Counter((day + n * DAY).weekday() for n in range(1, days_left + 1))
    means, seen = _means(recent)
    expected = spent + sum(means[weekday] * count for weekday, count in ahead.items())
    if len(recent) < WEEK:
        return Forecast(expected, None, None)
    residuals = sorted(cost - means[date.weekday()] for date, cost in recent)
    tenth = len(residuals) // 10
    # One mean for all days errs the same way on all of them.
    spread = _spread(ahead if len(recent) >= 2 * WEEK else {0: days_left}, seen)
    low, high = (
        residual * math.isqrt(int(spread * ROOT_DIGITS**2)) // ROOT_DIGITS
        for residual in (residuals[tenth], residuals[-1 - tenth])
    )
    return Forecast(expected, max(spent, expected + min(low, 0)), expected + max(high, 0))


def _means(recent: Sequence[tuple[dt.date, int]]) -> tuple[list[int], list[int]]:
    """The mean of each weekday, Monday first, and of how many days it is."""
    if len(recent) < 2 * WEEK:
        return [sum(cost for _, cost in recent) // len(recent)] * WEEK, [len(recent)] * WEEK
    by_weekday: list[list[int]] = [[] for _ in range(WEEK)]
    for date, cost in recent:
        by_weekday[date.weekday()].append(cost)
    return [sum(costs) // len(costs) for costs in by_weekday], [len(costs) for costs in by_weekday]


def _spread(ahead: Mapping[int, int], seen: Sequence[int]) -> Fraction:
    """The variance of the days ahead together, in variances of one residual. Means of few days err themselves, and
    residuals from them are too small: without both, 63 of 100 intervals held what 80 should."""
    return sum((Fraction(n * (seen[day] + n), max(seen[day] - 1, 1)) for day, n in ahead.items()), Fraction(0))


def usual_cost(costs: Costs, day: dt.date) -> int | None:
    """The median of the days before; None with less than a week of them."""
    before = sorted(cost for _, cost in _recent(costs, day - DAY))
    if len(before) < WEEK:
        return None
    return (before[(len(before) - 1) // 2] + before[len(before) // 2]) // 2


def is_burning(costs: Costs, day: dt.date, usual: int, budget: int) -> bool:
    """Whether the day is out of the ordinary, and matters."""
    cost = costs.get(day, 0)
    most = max(cost for _, cost in _recent(costs, day - DAY))
    return cost > MOST_USUAL * usual and cost > most and cost * LEAST_SHARE >= budget
