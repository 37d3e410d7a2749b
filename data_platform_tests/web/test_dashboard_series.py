"""Sums, weeks, cohorts and rankings of dashboards against arithmetic by hand; where pictures put a value.
Not here: pages (test_dashboards)."""

from __future__ import annotations

import datetime as dt
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.contract.panels import Chart, Panel
from data_platform.domains.commerce.contracts.metrics import MvDailyMetrics
from data_platform.domains.gameplay.contracts.activity import CampaignMetrics, DailyMetrics, PlayerRetention
from data_platform.web.dashboards.drawing import HEIGHT, axis, draw, ticks
from data_platform.web.dashboards.series import Period, cohorts, pictures, ranking
from data_platform.web.dashboards.words import changed, heat, short, value

LAST = dt.date(2026, 3, 31)
SESSIONS = Panel("Sessions", "", Chart.BARS, {"sessions": DailyMetrics.sessions})
DAU = Panel("DAU", "", Chart.LINES, {"DAU": DailyMetrics.dau})


def of_days(values: dict[int, float | None], column: str) -> pl.DataFrame:
    """Days back from LAST → value."""
    days = sorted(values, reverse=True)
    return pl.DataFrame(
        {"metric_date": [LAST - dt.timedelta(day) for day in days], column: [values[day] for day in days]},
        schema={"metric_date": pl.Date, column: pl.Int64},
    )


def test_a_year_of_bars_is_shown_by_whole_weeks_that_end_with_the_last_day() -> None:
    ((picture,), more) = pictures(SESSIONS, of_days({day: 1 for day in range(365)}, "sessions"), Period(365, LAST))
    assert (len(picture.points), picture.span, more) == (52, 7, 0)
    assert picture.points[-1] == LAST - dt.timedelta(6)
    assert picture.series[0].values == [7] * 52
    assert picture.series[0].number == 365, "the total is of all days"


def test_a_day_without_rows_is_a_gap_and_not_zero() -> None:
    ((picture,), _) = pictures(DAU, of_days({0: 5, 2: 0}, "dau"), Period(30, LAST))
    assert picture.series[0].values == [None] * 27 + [0, None, 5]
    svg = draw(Chart.LINES, picture, "l", "d", "n", str)
    (path,) = re.findall(r'class="line s0" d="([^"]*)"', svg)
    assert path.count("M") == 2, "nothing is drawn across the gap"


@pytest.mark.parametrize(
    ("values", "change"),
    [
        ({day: 2 for day in range(30)} | {day: 1 for day in range(30, 60)}, 1.0),
        ({day: 2 for day in range(30)} | {day: 1 for day in range(30, 59)}, None),
        ({day: 2 for day in range(30)} | {day: 0 for day in range(30, 60)}, None),
    ],
)
def test_totals_are_compared_with_whole_periods_alone(values: dict[int, float | None], change: float | None) -> None:
    ((picture,), _) = pictures(SESSIONS, of_days(values, "sessions"), Period(30, LAST))
    assert picture.series[0].change == change


def test_cohorts_are_weighted_by_those_of_whom_something_is_known() -> None:
    panel = Panel(
        "R", "", Chart.COHORTS, {"1": PlayerRetention.d1_retention, "7": PlayerRetention.d7_retention},
        weight=PlayerRetention.cohort_size,
    )  # fmt: skip
    monday = dt.date(2026, 3, 23)
    rows = pl.DataFrame(
        {
            "cohort_date": [monday, monday + dt.timedelta(1), monday + dt.timedelta(8)],
            "cohort_size": [10, 30, 5],
            "d1_retention": [0.5, 0.1, None],
            "d7_retention": [0.2, None, None],
        },
        schema_overrides={"d7_retention": pl.Float64},
    )
    newest, older = cohorts(panel, rows, Period(30, LAST))
    assert (newest.first, newest.last, newest.size, list(newest.shares)) == (LAST, LAST, 5, [None, None])
    assert (older.size, older.shares[0], older.shares[1]) == (40, pytest.approx(8 / 40), pytest.approx(0.2))
    (march,) = cohorts(panel, rows, Period(365, LAST))
    assert march.size == 45


def test_a_ranking_adds_up_the_period_and_leaves_out_zeros() -> None:
    panel = Panel("T", "", Chart.RANKING, {"events": CampaignMetrics.events}, by=CampaignMetrics.campaign_id)
    rows = pl.DataFrame(
        {
            "metric_date": [LAST, LAST, LAST - dt.timedelta(1), LAST - dt.timedelta(40), LAST],
            "campaign_id": ["b", "a", "a", "b", "zero"],
            "events": [5, 2, 3, 100, 0],
        }
    )
    assert [(one.name, list(one.values)) for one in ranking(panel, rows, Period(30, LAST))] == [("a", [5]), ("b", [5])]


def test_each_currency_has_a_picture_and_the_rest_are_counted() -> None:
    panel = Panel("M", "", Chart.BARS, {"orders": MvDailyMetrics.orders}, by=MvDailyMetrics.currency)
    days = {"EUR": 5, "USD": 4, "GBP": 3, "PLN": 2, "JPY": 0}
    rows = pl.DataFrame(
        [
            {"metric_date": LAST - dt.timedelta(day), "currency": currency, "orders": int(day < count)}
            for currency, count in days.items()
            for day in range(10)
        ]
    )
    found, more = pictures(panel, rows, Period(30, LAST))
    assert ([one.name for one in found], more) == (["EUR", "USD", "GBP"], 1)


@given(st.floats(-1e12, 1e12), st.floats(0, 1e12))
def test_a_grid_holds_all_values_and_is_round(low: float, span: float) -> None:
    grid = axis(min(low, 0), max(low + span, 0))
    hair = (grid[-1] - grid[0]) * 1e-8
    assert grid[0] <= low + hair
    assert grid[-1] >= low + span - hair
    assert 3 <= len(grid) <= 7
    assert 0 in grid


def test_what_goes_down_hangs_below_zero() -> None:
    panel = Panel(
        "R", "", Chart.BARS, {"in": MvDailyMetrics.gross_revenue}, below={"out": MvDailyMetrics.refunds},
    )  # fmt: skip
    rows = pl.DataFrame({"metric_date": [LAST], "gross_revenue": [100.0], "refunds": [50.0]})
    ((picture,), _) = pictures(panel, rows, Period(30, LAST))
    grid = ticks(Chart.BARS, picture)
    assert (grid[0], grid[-1]) == (-50, 100)
    svg = draw(Chart.BARS, picture, "l", "d", "n", str)
    ends = dict(re.findall(r'class="fill (s\d)" d="M[\d.]+ ([\d.]+V[\d.]+)', svg))
    zero = HEIGHT * 100 / 150
    assert ends == {"s0": f"{zero:.1f}V0.0", "s1": f"{zero:.1f}V{HEIGHT:.1f}"}


def test_numbers_read_as_their_columns_measure() -> None:
    assert value(0.256, DailyMetrics.stickiness) == "25.60%"  # type: ignore[arg-type]
    assert value(1234567, DailyMetrics.dau) == "1,234,567"  # type: ignore[arg-type]
    assert value(12.5, DailyMetrics.avg_session_minutes) == "12.5 min"  # type: ignore[arg-type]
    assert value(None, DailyMetrics.dau) == "–"  # type: ignore[arg-type]
    assert [short(n, DailyMetrics.dau) for n in (0, 950, 12_000, 2.5e6)] == ["0", "950", "12k", "2.5M"]  # type: ignore[arg-type]
    assert short(0.25, DailyMetrics.stickiness) == "25%"  # type: ignore[arg-type]
    assert [changed(one, 30) for one in (None, -0.125, 3.1)] == ["", "-12% in 30 days", "×4 in 30 days"]
    assert [heat(one, 0.4) for one in (None, 0, 0.2, 0.4)] == ["none", "h0", "h4", "h7"]
    assert heat(0, 0) == "h0"
