"""One alarm for one cause: which of several tables tells what departed on a day, and days on which a shop is closed.
Not here: what is unusual (test_anomalies)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from data_platform.core.contract import lineage
from data_platform.core.contract import table as contracts
from data_platform.core.contract.lineage import ROWS, declare_inputs, same_day_origins
from data_platform.core.contract.table import Table, column
from data_platform.core.lake.store import Lake
from data_platform.core.quality import anomalies
from data_platform.core.quality.profile import MEASURES, look
from data_platform.core.quality.profile_store import departures, history, judge_by_history, remember
from data_platform.core.quality.rejudging import judge_again
from data_platform.core.quality.validation import Status, Verdict

FIRST = dt.date(2024, 3, 4)
"""A Monday."""
DAYS = [FIRST + dt.timedelta(number) for number in range(30)]
NOW = dt.datetime(2024, 12, 1, 12, tzinfo=dt.UTC)


class _Shop(Table):
    """What the tables of a shop share."""

    key = "testing/shop"
    partition = "day"
    primary_key = ("day", "id")
    owner = "team:test"

    day: dt.date = column("Day.")
    id: str = column("Id.")


class Received(_Shop):
    """Lines as received, which nobody judges."""

    key = "testing/received"
    profiled = False

    price: float | None = column("Price.")
    note: str | None = column("Note.")


class Sales(_Shop):
    """Sales."""

    key = "testing/sales"

    price: float | None = column("Price.")


class Refunds(_Shop):
    """Made of the same lines."""

    key = "testing/refunds"

    cost: float | None = column("Price.", derived_from=[Received.price])


class Totals(_Shop):
    """Made of sales."""

    key = "testing/totals"

    turnover: float | None = column("Price.", derived_from=[Sales.price])
    comment: str | None = column("Of nobody else.")


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "INPUTS", {})
    monkeypatch.setattr("data_platform.core.quality.causes.INPUTS", lineage.INPUTS)
    for table in (Received, Sales, Refunds, Totals):
        monkeypatch.setitem(contracts._CONTRACTS, table.key, table)
    for table, inputs in ((Sales, Received), (Refunds, Received), (Totals, Sales)):
        declare_inputs(table, [inputs.days()])


def frame(table: type[Table], rows: Sequence[int] = (), missing: float = 0.0, spoilt: str = "") -> pl.DataFrame:
    """A hundred rows a day or as many as told; `missing` is the share of values of the column `spoilt` on the last."""
    counts = [*([100] * (len(DAYS) - len(rows))), *rows]
    made = [
        {"day": day, "id": f"{number}", **dict.fromkeys(table.columns.keys() & {"price", "cost", "turnover"}, 2.5)}
        | ({spoilt: None} if day == DAYS[-1] and number < missing * count else {})
        for day, count in zip(DAYS, counts, strict=True)
        for number in range(count)
    ]
    return pl.DataFrame(made, schema=table.schema())


def publish(lake: Lake, table: type[Table], rows: pl.DataFrame, hours: int = 0) -> dict[str, Verdict]:
    """The last day's verdicts; the table and its measures are written as a step does."""
    found = judge_by_history(lake, table, [look(table, rows)], DAYS, NOW)
    remember(lake, table, found.measured, (), f"run-{hours}", NOW + dt.timedelta(hours=hours))
    lake.commit(table, lake.stage(table, rows), replacing=[str(day) for day in DAYS])
    return last(found.verdicts)


def last(verdicts: Sequence[Verdict]) -> dict[str, Verdict]:
    return {one.rule: one for one in verdicts if one.partition == str(DAYS[-1])}


def again(lake: Lake, table: type[Table]) -> dict[str, Verdict]:
    found = judge_again(lake, table, [DAYS])
    return last([one for one in found.found() if one.rule.endswith("_anomaly")])


@pytest.fixture
def lake(tmp_path: Any) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_what_departed_upstream_is_reported_there_alone(lake: Lake) -> None:
    sales = publish(lake, Sales, frame(Sales, [10]))["volume_anomaly"]
    totals = publish(lake, Totals, frame(Totals, [10]))["volume_anomaly"]
    assert sales.status == Status.FAILED, sales.message
    assert (totals.status, totals.message) == (Status.PASSED, "told at testing/sales: rows")
    assert history(lake, Totals, DAYS[0], DAYS[-1])[1] == {DAYS[-1]}, "later days do not learn from it all the same"


def test_a_column_of_another_name_is_followed_by_its_lineage(lake: Lake) -> None:
    publish(lake, Sales, frame(Sales, missing=0.5, spoilt="price"))
    totals = publish(lake, Totals, frame(Totals, missing=0.5, spoilt="turnover"))["null_share_anomaly"]
    assert (totals.status, totals.message) == (Status.PASSED, "told at testing/sales: null_share:turnover")


def test_what_departed_here_alone_is_reported_here(lake: Lake) -> None:
    publish(lake, Sales, frame(Sales, missing=0.5, spoilt="price"))
    totals = publish(lake, Totals, frame(Totals, [10]))["volume_anomaly"]
    assert totals.status == Status.FAILED, "rows are another thing than prices"


def test_of_two_tables_made_of_the_same_lines_the_first_judged_tells(lake: Lake) -> None:
    sales = publish(lake, Sales, frame(Sales, [10]))["volume_anomaly"]
    refunds = publish(lake, Refunds, frame(Refunds, [10]), hours=1)["volume_anomaly"]
    assert sales.status == Status.FAILED, sales.message
    assert (refunds.status, refunds.message) == (Status.PASSED, "told at testing/sales: rows")


def test_judged_again_days_say_what_they_said(lake: Lake) -> None:
    first = {
        table: publish(lake, table, frame(table, [10]), hours) for hours, table in enumerate((Refunds, Sales, Totals))
    }
    for table, said in first.items():
        assert again(lake, table) == said
        assert publish(lake, table, frame(table, [10]), hours=9) == said, "also when they are computed again"
    failing = [table for table, said in first.items() if said["volume_anomaly"].status == Status.FAILED]
    assert failing == [Refunds]


def test_what_was_mended_elsewhere_is_reported_here(lake: Lake) -> None:
    publish(lake, Sales, frame(Sales, [10]))
    publish(lake, Refunds, frame(Refunds, [10]), hours=1)
    publish(lake, Sales, frame(Sales), hours=2)
    assert departures(lake, [Sales.key, Refunds.key], DAYS[0], DAYS[-1]) == {(DAYS[-1], Refunds.key, ROWS): False}
    assert again(lake, Refunds)["volume_anomaly"].status == Status.FAILED


def test_what_is_read_since_ever_is_of_no_one_day() -> None:
    declare_inputs(Totals, [Sales.until()])
    assert not any(same_day_origins(Totals).values())
    declare_inputs(Totals, [Sales.days(-6, 0)])
    assert same_day_origins(Totals)["turnover"] == {(Sales.key, "price"), (Received.key, "price")}


# ------------------------------------------------------------------------------------------------------ closed days
def silent(closed: Sequence[int], weekly: bool = True) -> dict[dt.date, Verdict]:
    """Verdicts on the rows of eight weeks of a shop that rests on Saturdays if `weekly`, and on the numbered days."""
    days = [FIRST + dt.timedelta(number) for number in range(56)]
    counts = [
        0.0 if number in closed or (weekly and number % 7 == 5) else 80.0 + 37 * number % 29 for number in range(56)
    ]
    measured = pl.DataFrame({"day": days, "measure": "rows", "value": counts}, schema=MEASURES)
    found = anomalies.judge(Sales, measured, measured.clear()).verdicts
    return {dt.date.fromisoformat(one.partition): one for one in found if one.rule == "volume_anomaly"}


def days_reported(verdicts: dict[dt.date, Verdict]) -> list[int]:
    return [(day - FIRST).days for day, verdict in verdicts.items() if verdict.status == Status.FAILED]


def test_a_bank_holiday_of_a_shop_that_rests_on_saturdays_is_no_alarm() -> None:
    found = silent([39, 41, 42])  # Good Friday, Easter Sunday and Monday
    assert days_reported(found) == []
    assert found[FIRST + dt.timedelta(39)].message == "no rows, as on closed days before"


def test_a_shop_that_never_closed_is_reported_when_it_is_silent() -> None:
    assert days_reported(silent([39], weekly=False)) == [39]


def test_silence_longer_than_holidays_is_reported_from_the_fourth_day_on() -> None:
    assert days_reported(silent(range(42, 50))) == [45, 46, 48, 49], "47 is a Saturday"


def test_days_before_the_first_row_are_no_closed_days() -> None:
    assert days_reported(silent([*range(3), 39], weekly=False)) == [39]
