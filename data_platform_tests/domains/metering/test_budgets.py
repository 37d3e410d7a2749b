"""How budgets stand: against a naive sum, with a forecast whose interval holds as often as it says, and one episode per
budget and period through the alerts there are. Not here: delivery of alerts."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.discovery import notices
from data_platform.core.lake.store import Lake
from data_platform.domains.metering.contracts.budgets import BudgetStatus, RawBudgets
from data_platform.domains.metering.contracts.rollups import TenantFeatureDays
from data_platform.domains.metering.transforms.budgets import budget_status, forecast, period_of
from data_platform.observability.alerts.episodes import Reason, State, advance
from data_platform.observability.alerts.messages import of_notification
from data_platform.observability.alerts.problems import Problem, noticed
from data_platform.observability.runbook import sections
from data_platform_tests.support.metering_rows import budget, daily_cost, frame_of

DAY = dt.timedelta(days=1)


def status(budgets: list[dict[str, Any]], daily: list[dict[str, Any]], *days: dt.date) -> pl.DataFrame:
    return budget_status(frame_of(RawBudgets, budgets), frame_of(TenantFeatureDays, daily), list(days))


def october(day: int) -> dt.date:
    return dt.date(2026, 10, day)


def spent_on(costs: Mapping[int, str]) -> list[dict[str, Any]]:
    return [daily_cost("a", cost, usage_date=october(day)) for day, cost in costs.items()]


@pytest.mark.parametrize(
    ("day", "period", "expected"),
    [
        (dt.date(2026, 10, 31), "month", (october(1), dt.date(2026, 11, 1))),
        (dt.date(2026, 12, 1), "month", (dt.date(2026, 12, 1), dt.date(2027, 1, 1))),
        (dt.date(2026, 12, 31), "quarter", (october(1), dt.date(2027, 1, 1))),
        (dt.date(2024, 2, 29), "quarter", (dt.date(2024, 1, 1), dt.date(2024, 4, 1))),
        (dt.date(2024, 12, 31), "year", (dt.date(2024, 1, 1), dt.date(2025, 1, 1))),
    ],
)
def test_periods(day: dt.date, period: str, expected: tuple[dt.date, dt.date]) -> None:
    assert period_of(day, period) == expected


@pytest.mark.parametrize(
    ("spent", "reached"),
    [("0", 0), ("49.999999999999999999", 0), ("50", 50), ("79.99", 50), ("80", 80), ("100", 100), ("250", 100)],
)
def test_thresholds_are_reached_to_the_last_digit(spent: str, reached: int) -> None:
    found = status([budget()], spent_on({5: spent}), october(5))
    assert found.select("spent", "reached_percent").row(0) == (Decimal(spent), reached)


def test_a_budget_counts_what_it_is_for() -> None:
    daily = [
        daily_cost("a", "1", project_id="p", feature="chat"),
        daily_cost("a", "2", project_id="p", feature="search"),
        daily_cost("a", "4", project_id="q", feature="chat"),
        daily_cost("a", "8", currency="USD"),
        daily_cost("a", "0", currency="", unpriced_calls=3),
        daily_cost("other", "16"),
        daily_cost("a", "32", usage_date=dt.date(2026, 9, 30)),
        daily_cost("a", "64", usage_date=dt.date(2026, 7, 1)),
        daily_cost("a", "128", usage_date=october(6)),
    ]
    budgets = [
        budget(budget_id="all"),
        budget(budget_id="project", project_id="p"),
        budget(budget_id="feature", feature="chat"),
        budget(budget_id="both", project_id="p", feature="chat"),
        budget(budget_id="quarter", budget_period="quarter"),
        budget(budget_id="dollars", currency="USD"),
    ]
    found = status(budgets, daily, october(5))
    assert {row["budget_id"]: int(row["spent"]) for row in found.iter_rows(named=True)} == {
        "all": 7,
        "project": 3,
        "feature": 5,
        "both": 1,
        "quarter": 7,
        "dollars": 8,
    }
    assert found.filter(budget_id="all")["unpriced_calls"].to_list() == [3]
    september = status([budget(budget_id="q", budget_period="quarter")], daily, dt.date(2026, 9, 30))
    assert int(september["spent"][0]) == 96
    yearly = [budget(budget_id="y", budget_period="year"), budget(budget_id="m")]
    found = status(yearly, [*daily, daily_cost("a", "256", usage_date=dt.date(2026, 1, 1))], october(5), october(6))
    assert {(row["status_date"].day, row["budget_id"]): int(row["spent"]) for row in found.iter_rows(named=True)} == {
        (5, "y"): 359, (5, "m"): 7, (6, "y"): 487, (6, "m"): 135,
    }  # fmt: skip


def test_the_line_that_holds_counts() -> None:
    lines = [
        budget(amount="1"),
        budget(amount="2", source_line=2),
        budget(amount="3", valid_from=dt.datetime(2026, 10, 5, tzinfo=dt.UTC)),
        budget(budget_id="over", valid_to=dt.datetime(2026, 10, 5, tzinfo=dt.UTC)),
    ]
    found = status(lines, [], october(4), october(5))
    assert [(row[0].day, row[1], int(row[2])) for row in found.select("status_date", "budget_id", "amount").rows()] == [
        (4, "b", 2),
        (4, "over", 100),
        (5, "b", 3),
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount": "much"}, "amount_is_no_decimal"),
        ({"amount": "0"}, "amount_not_above_zero"),
        ({"budget_period": "week"}, "unknown_period"),
        ({"currency": "EURO"}, "unknown_currency"),
    ],
)
def test_what_is_no_budget_says_why(change: dict[str, Any], reason: str) -> None:
    found = status([budget(**change)], spent_on({5: "1"}), october(5))
    assert found.select("reason", "reached_percent", "forecast").row(0) == (reason, 0, None)


@given(
    costs=st.dictionaries(st.integers(-60, 30), st.integers(0, 10**30), max_size=40),
    day=st.integers(0, 30),
    amount=st.integers(1, 10**13),
)
@settings(max_examples=60, deadline=None)
def test_equal_to_a_naive_sum(costs: dict[int, int], day: int, amount: int) -> None:
    exact = {october(1) + n * DAY: cost for n, cost in costs.items()}
    daily = [daily_cost("a", f"{cost}e-18", usage_date=date) for date, cost in exact.items()]
    today = october(1) + day * DAY
    row = status([budget(amount=str(amount))], daily, today).row(0, named=True)
    spent = sum(cost for date, cost in exact.items() if october(1) <= date <= today)
    assert Fraction(row["spent"]) == Fraction(spent, 10**18)
    assert row["reached_percent"] == max((t for t in (50, 80, 100) if spent * 100 >= t * amount * 10**18), default=0)
    if row["forecast_low"] is not None:
        assert row["spent"] <= row["forecast_low"] <= row["forecast"] <= row["forecast_high"]


def test_the_forecast_knows_weekdays() -> None:
    """Weekdays cost 10, weekends nothing; after Friday the 16th 15 days are left, of them 10 weekdays."""
    dates = [october(16) - n * DAY for n in range(28)]
    daily = [daily_cost("a", "10", usage_date=date) for date in dates if date.weekday() < 5]
    found = status([budget(amount="1000")], daily, october(16)).row(0, named=True)
    assert (int(found["spent"]), int(found["forecast"])) == (120, 220)
    assert found["forecast_low"] == found["forecast_high"] == found["forecast"]


@pytest.mark.parametrize("period", ["month", "quarter", "year"])
def test_the_interval_holds_four_times_in_five(period: str) -> None:
    """Made-up periods with a weekly rhythm and noise; what the days left cost is known."""
    chance, held = random.Random(7), 0
    first, beyond = period_of(october(1), period)
    days, runs = (beyond - first).days, 150 if period == "year" else 400
    for _ in range(runs):
        scale = [chance.randint(50, 150) for _ in range(7)]
        series = {
            first + n * DAY: scale[(first + n * DAY).weekday()] * chance.randint(60, 140) for n in range(-28, days)
        }
        today = first + chance.randint(2, days - 4) * DAY
        spent = sum(cost for date, cost in series.items() if first <= date <= today)
        known = {date: cost for date, cost in series.items() if date <= today}
        found = forecast(known, today, (beyond - today).days - 1, spent)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= sum(cost for date, cost in series.items() if date >= first) <= found.high
    assert 0.74 <= held / runs <= 0.88, held / runs


@pytest.mark.parametrize(
    ("costs", "amount", "burning"),
    [
        ({**{day: "10" for day in range(1, 15)}, 15: "31"}, "1000", True),
        ({**{day: "10" for day in range(1, 15)}, 15: "30"}, "1000", False),
        ({**{day: "10" for day in range(1, 15)}, 15: "31"}, "4000", False),
        ({**{day: "10" for day in range(1, 14)}, 14: "40", 15: "31"}, "1000", False),
        ({**{day: "10" for day in range(9, 15)}, 15: "99"}, "1000", False),
    ],
    ids=["above three times", "three times", "below 1 % of the budget", "a day before was worse", "too few days"],
)
def test_a_day_that_burns(costs: dict[int, str], amount: str, burning: bool) -> None:
    assert status([budget(amount=amount)], spent_on(costs), october(15))["is_burning"].to_list() == [burning]


# ------------------------------------------------------------------------------------------------- alerts
def looked(lake: Lake, day: dt.date, budgets: list[dict[str, Any]], costs: Mapping[int, str]) -> list[Problem]:
    """What the alerts see when the status of a day is published."""
    now = dt.datetime.combine(day, dt.time(12), dt.UTC)
    lake.replace(BudgetStatus, status(budgets, spent_on(costs), day), [day])
    return [problem for notice in notices() for problem in noticed(notice, lake, now)]


def test_one_episode_per_budget_whose_level_rises(tmp_path: Path) -> None:
    lake, said = Lake(str(tmp_path / "lake")), []
    state = State({})
    spent = {1: "10", 2: "45", 3: "1", 4: "30", 5: "20", 6: "1"}
    for day in range(1, 7):
        problems = looked(lake, october(day), [budget()], {d: c for d, c in spent.items() if d <= day})
        state, notifications = advance(state, problems, dt.datetime(2026, 10, day, 12, tzinfo=dt.UTC))
        said += [(day, one.reason, str(one.level)) for one in notifications]
    # On day 3 and 6 nothing new is said; a critical problem is told again a day later.
    assert said == [
        (2, Reason.OPENED, "info"),
        (4, Reason.ROSE, "warning"),
        (5, Reason.ROSE, "critical"),
        (6, Reason.REMINDER, "critical"),
    ]
    november = dt.date(2026, 11, 1)
    problems = looked(lake, november, [budget()], spent)
    state, (notification,) = advance(state, problems, dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC))
    assert notification.reason == Reason.RECOVERED


def test_a_spent_budget_has_not_recovered_because_nothing_ran_for_weeks(tmp_path: Path) -> None:
    lake, spent = Lake(str(tmp_path / "lake")), budget(budget_period="quarter")
    told = looked(lake, october(2), [spent], {1: "10", 2: "100"})
    state, (opened,) = advance(State({}), told, dt.datetime(2026, 10, 2, 12, tzinfo=dt.UTC))
    assert str(opened.level) == "critical"
    later = dt.datetime(2026, 12, 31, 12, tzinfo=dt.UTC)
    problems = [problem for notice in notices() for problem in noticed(notice, lake, later)]
    assert [problem.key for problem in problems] == [told[0].key]
    _, notifications = advance(state, problems, later)
    assert Reason.RECOVERED not in [one.reason for one in notifications]


def test_a_budget_that_was_ended_is_not_told_of_any_more(tmp_path: Path) -> None:
    lake, costs = Lake(str(tmp_path / "lake")), {1: "100"}
    told = looked(lake, october(4), [budget()], costs)
    state, _ = advance(State({}), told, dt.datetime(2026, 10, 4, 12, tzinfo=dt.UTC))
    ended = budget(valid_to=dt.datetime(2026, 10, 5, tzinfo=dt.UTC))
    problems = looked(lake, october(5), [ended, budget(budget_id="other", amount="1000")], costs)
    assert problems == []
    _, (notification,) = advance(state, problems, dt.datetime(2026, 10, 5, 12, tzinfo=dt.UTC))
    assert notification.reason == Reason.RECOVERED


def test_what_an_alert_says(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    now = dt.datetime(2026, 10, 15, 12, tzinfo=dt.UTC)
    costs = {**{day: "5" for day in range(1, 15)}, 15: "16.004"}
    problems = looked(lake, october(15), [budget(tenant_id="a")], costs)
    _, notifications = advance(State({}), problems, now)
    spent, burning = (of_notification(one, "http://dagster") for one in notifications)
    assert spent.title == "[warning] budget b of a: 80 % is spent"
    assert "86.00 EUR of 100.00 EUR were spent of the month from 2026-10-01 on. By its end it will be" in spent.body
    assert "docs/runbook.md#alert-a-budget-is-spent" in spent.body
    assert "2026-10-15 cost 16.00 EUR; a usual day costs 5.00 EUR." in burning.body


def test_a_table_that_is_not_there_tells_nothing_and_headings_are_there(tmp_path: Path) -> None:
    lake, now = Lake(str(tmp_path / "lake")), dt.datetime(2026, 10, 15, tzinfo=dt.UTC)
    assert not [problem for notice in notices() for problem in noticed(notice, lake, now)]
    assert {notice.heading for notice in notices()} <= sections().keys()
