"""Contracts of budgets and of how each stands, day by day. Not here: the forecast (transforms/budgets), who is alerted
(notices)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.core.contract.table import Table, column
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS, VALID_DATE
from data_platform.domains.metering.contracts.usage import OWNER

THRESHOLDS = (50, 80, 100)
"""Per cent of a budget at which somebody is told."""
RECENT_DAYS = 28
"""Days that the forecast and what is usual are taken from: four of each weekday."""
PERIODS = {"month": 1, "quarter": 3, "year": 12}
"""Period → its months; all begin with a month, years with January (UTC)."""
LONGEST_PERIOD = 366
"""Days of the longest of them."""
REASONS = {
    "amount_is_no_decimal": "the amount cannot be read",
    "amount_not_above_zero": "nothing is a share of it",
    "unknown_period": f"the period is none of {', '.join(PERIODS)}",
    "unknown_currency": "the currency is none of ISO 4217",
}


class Budgeted(Table):
    """What a budget is for."""

    budget_id: str = column("The budget.", min_length=1)
    tenant_id: str = column("Whose budget it is.", min_length=1)
    project_id: str | None = column("The project it is for; null for all.")
    feature: str | None = column("The feature it is for; null for all.")
    budget_period: str = column("`month`, `quarter` or `year` (UTC).", min_length=1)
    currency: str = column("ISO 4217 code; only costs in it count.", min_length=1)


class RawBudgets(Budgeted, ReceivedLines):
    """Budgets as received. Of lines of one id that hold on a day the one valid from the latest moment counts, of these
    the newest."""

    key = "raw/budgets"
    partition = "valid_date"
    primary_key = ("valid_date", "source_file", "source_line", "received_at")
    owner = OWNER
    tenant = "tenant_id"

    valid_date: dt.date = column(VALID_DATE)
    valid_from: dt.datetime = column("From when on it holds (UTC).")
    valid_to: dt.datetime | None = column("Until when, exclusive; null: until the next line of the same.")
    amount: str = column("What may be spent in a period: a decimal as text.", min_length=1)


class RawBudgetsRejected(RejectedLines):
    """Lines of budget files that cannot be budgets."""

    key = "raw/budgets_rejected"
    owner = OWNER


class BudgetStatus(Budgeted):
    """How each budget stood at the end of each day: what was spent of it, and what will be by the end of its period."""

    key = "metering/budget_status"
    partition = "status_date"
    primary_key = ("status_date", "tenant_id", "budget_id")
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    status_date: dt.date = column("UTC day, with all its calls.")
    period_start: dt.date | None = column("First day of the period that the day is in.")
    period_end: dt.date | None = column("The day after its last.")
    amount: Decimal | None = column("What may be spent in the period.", decimals=PRICE_DECIMALS)
    spent: Decimal = column("What was spent in it so far.", decimals=PRICE_DECIMALS)
    unpriced_calls: int = column("Calls of the period without a price, whose cost is missing.", unit="calls", ge=0)
    reached_percent: int = column("The highest threshold that was reached.", unit="%", isin=(0, *THRESHOLDS))
    forecast: Decimal | None = column(
        "What will be spent by its end: so far, and for each day left the mean of its weekday over the last "
        f"{RECENT_DAYS} days (of all days, with less than two of each weekday).",
        decimals=PRICE_DECIMALS,
    )
    forecast_low: Decimal | None = column(
        "Nine in ten times it is more: the forecast plus the lowest tenth of how days differed from their mean, times "
        "the root of the days left, wider where means are of few days; null with less than a week of days.",
        decimals=PRICE_DECIMALS,
    )
    forecast_high: Decimal | None = column("Nine in ten times it is less.", decimals=PRICE_DECIMALS)
    day_cost: Decimal = column("Cost of the day itself.", decimals=PRICE_DECIMALS)
    usual_day_cost: Decimal | None = column(
        "Median of the days before; null with less than a week of them.", decimals=PRICE_DECIMALS
    )
    is_burning: bool = column(
        "Whether the day cost more than three times the usual, more than any day before, and 1 % of the budget."
    )
    reason: str | None = column(
        "Why nothing is said of it: " + "; ".join(f"`{name}`, {text}" for name, text in REASONS.items()) + ".",
        isin=tuple(REASONS),
    )
