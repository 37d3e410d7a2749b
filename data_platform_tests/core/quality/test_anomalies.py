"""Profiles of days, their history, and what is unusual: measured against naive counting, injected faults, and a build.
The full mutation benchmark is `python -m benchmarks faults`; here is a smaller one."""

from __future__ import annotations

import datetime as dt
import json
import statistics
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.bench import Bench
from benchmarks.faults import clean_history, inject, registry_lake, shop_faults
from benchmarks.shop_history import FOLDER
from data_platform.core.quality import anomalies
from data_platform.core.quality.check_groups import ANOMALIES
from data_platform.core.quality.profile import FEWEST_ROWS, MEASURES, look, profile
from data_platform.core.quality.validation import Status, Verdict
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform_tests.support.profiles import DAY, Measured, made_history, rows_of, today


def measures(frame: pl.DataFrame, *days: dt.date) -> dict[tuple[dt.date, str], float]:
    found = profile(Measured, [look(Measured, frame)], days or [DAY])
    assert dict(found.schema) == MEASURES
    return {(day, measure): value for day, measure, value in found.iter_rows()}


# ------------------------------------------------------------------------------------------------------- profiles
ROW = st.fixed_dictionaries(
    {
        "colour": st.sampled_from(["a", "b", None]),
        "number": st.none() | st.floats(-1e6, 1e6),
        "count": st.integers(-3, 3),
        "flag": st.booleans(),
        "payload": st.none()
        | st.builds(lambda gold: json.dumps({"gold": gold}, separators=(",", ":")), st.integers(-9, 9)),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(ROW, min_size=1, max_size=60), min_size=1, max_size=3))
def test_measures_are_what_counting_by_hand_gives(days: list[list[dict[str, Any]]]) -> None:
    dates = [DAY + dt.timedelta(number) for number in range(len(days))]
    frame = pl.concat([rows_of(date, rows) for date, rows in zip(dates, days, strict=True)])
    found = measures(frame.sample(fraction=1, shuffle=True, seed=1), *dates)
    for date, rows in zip(dates, days, strict=True):
        wanted: dict[str, float] = {"rows": len(rows)}
        for name in ("colour", "number", "payload"):
            wanted[f"null_share:{name}"] = sum(row[name] is None for row in rows) / len(rows)
        numbers = [row["number"] for row in rows if row["number"] is not None]
        if numbers:
            wanted |= {"mean:number": statistics.fmean(numbers), "max:number": max(numbers), "min:number": min(numbers)}
        wanted["zero_share:count"] = sum(row["count"] == 0 for row in rows) / len(rows)
        wanted["negative_share:count"] = sum(row["count"] < 0 for row in rows) / len(rows)
        wanted["share:flag=true"] = sum(row["flag"] for row in rows) / len(rows)
        for kind in ("a", "b"):
            of_kind = [row for row in rows if row["colour"] == kind]
            if len(of_kind) >= FEWEST_ROWS:
                wanted[f"share:colour={kind}"] = len(of_kind) / len(rows)
            else:
                assert (date, f"share:colour={kind}") not in found
            gold = [json.loads(row["payload"])["gold"] for row in of_kind if row["payload"]]
            if len(gold) >= FEWEST_ROWS:
                wanted[f"mean:payload.{kind}.gold"] = statistics.fmean(gold)
        for name, value in wanted.items():
            assert found[date, name] == pytest.approx(value, abs=1e-6), name


def test_a_day_in_several_frames_is_one_day() -> None:
    frame = rows_of(DAY, [{"colour": "ab"[number % 2], "count": number % 5} for number in range(300)])
    whole = profile(Measured, [look(Measured, frame)], [DAY])
    parts = profile(Measured, [look(Measured, frame[:120]), look(Measured, frame[120:])], [DAY])
    assert whole.select("day", "measure").equals(parts.select("day", "measure"))
    assert whole["value"].to_list() == pytest.approx(parts["value"].to_list())


def test_a_day_without_rows_has_no_rows() -> None:
    assert measures(rows_of(DAY, []), DAY) == {(DAY, "rows"): 0}


def test_values_that_tell_of_a_person_are_in_no_profile() -> None:
    rows = [{"person": "secret-player", "payload": f'{{"note":"secret-{number % 5}"}}'} for number in range(45)]
    assert not [name for _, name in measures(rows_of(DAY, rows)) if "secret" in name], "of fewer rows than FEWEST_ROWS"


def test_large_days_are_measured_on_evenly_spaced_rows() -> None:
    count = 100_000
    frame = (
        rows_of(DAY, [{}])
        .select(pl.all().repeat_by(count).explode())
        .with_columns(id=pl.int_range(pl.len()).cast(pl.String), count=pl.int_range(pl.len()) * 4 // count)
    )
    found = measures(frame)
    assert found[DAY, "rows"] == count
    assert found[DAY, "mean:count"] == pytest.approx(1.5, abs=0.01)


# ------------------------------------------------------------------------------------------------------ judgement


def judged(measured: pl.DataFrame, past: pl.DataFrame, bad: set[dt.date] | None = None) -> dict[str, Verdict]:
    verdicts = anomalies.judge(Measured, measured, past, bad or set()).verdicts
    last = max(verdict.partition for verdict in verdicts)
    found = {verdict.rule: verdict for verdict in verdicts if verdict.partition == last}
    assert set(found) == set(ANOMALIES)
    return found


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"rows": 1900}, "volume_anomaly"),
        ({"rows": 400}, "volume_anomaly"),
        ({"rows": 0}, "volume_anomaly"),
        ({"null_share:number": 0.2}, "null_share_anomaly"),
        ({"share:colour=a": 0.5}, "distribution_anomaly"),
        ({"share:colour=b": None}, "distribution_anomaly"),
        ({"share:colour=typo": 0.05}, "distribution_anomaly"),
        ({"share:colour=a": 0.31}, None),
        ({"rows": 1080}, None),
    ],
)
def test_what_differs_from_the_past_is_reported(changes: dict[str, Any], rule: str | None) -> None:
    found = judged(today(**changes), made_history(56))
    assert [name for name, one in found.items() if one.status == Status.FAILED] == ([rule] if rule else [])
    if rule:
        (name,) = changes
        one = found[rule]
        assert (one.message or "").startswith(f"{name} is ")
        assert one.value is not None
        assert one.threshold is not None
        assert one.value > one.threshold


def test_weekends_are_compared_with_weekends() -> None:
    past, saturday = made_history(56), DAY - dt.timedelta(2)
    before = past.filter(pl.col("day") < saturday)
    assert judged(today(saturday, rows=1500), before)["volume_anomaly"].status == Status.PASSED
    assert judged(today(saturday, rows=700), before)["volume_anomaly"].status == Status.FAILED
    assert judged(today(rows=1000), past)["volume_anomaly"].status == Status.PASSED


@pytest.mark.parametrize(("rows", "status"), [(20, Status.PASSED), (1000, Status.FAILED)])
def test_extremes_of_few_rows_say_nothing(rows: float, status: Status) -> None:
    past = made_history(56, **{"offset_max:at": lambda day: 23.9 + day.day / 1000}).with_columns(
        value=pl.when(pl.col("measure") == "rows").then(rows).otherwise("value")
    )
    measured = today(**{"rows": rows, "offset_max:at": -500})
    assert judged(measured, past)["distribution_anomaly"].status == status


@pytest.mark.parametrize(("days", "status"), [(13, Status.NOT_JUDGED), (14, Status.PASSED)])
def test_two_weeks_of_history_are_needed(days: int, status: Status) -> None:
    found = judged(today(), made_history(days))
    assert {one.status for one in found.values()} == {status}
    if status == Status.NOT_JUDGED:
        assert found["volume_anomaly"].message == "13 days of history; 14 are needed"


def test_later_days_and_the_day_itself_are_not_learned_from() -> None:
    past = made_history(56)
    later = today(DAY + dt.timedelta(1), rows=50_000)
    itself = today(rows=50_000)
    with_them, without = (judged(today(), pl.concat(frames)) for frames in ([past, later, itself], [past]))
    assert with_them == without


def test_known_bad_days_are_not_learned_from() -> None:
    """Half of the days were empty: learned from, they make an empty day look usual."""
    past = made_history(56)
    broken = {DAY - dt.timedelta(back) for back in range(1, 57, 2)}
    zero = pl.when(pl.col("day").is_in(list(broken)) & (pl.col("measure") == "rows")).then(0.0).otherwise("value")
    past = past.with_columns(value=zero)
    assert judged(today(rows=0), past)["volume_anomaly"].status == Status.PASSED
    assert judged(today(rows=0), past, broken)["volume_anomaly"].status == Status.FAILED


def test_unusual_days_of_a_range_are_not_learned_from_until_they_are_the_new_normal() -> None:
    """From DAY on there are three times as many rows: an alarm for two weeks, then the new level is what is usual."""
    level = pl.concat([today(DAY + dt.timedelta(number), rows=3000 + number % 3) for number in range(21)])
    failed = [
        verdict.status == Status.FAILED
        for verdict in anomalies.judge(Measured, level, made_history(56)).verdicts
        if verdict.rule == "volume_anomaly"
    ]
    assert failed == [True] * 14 + [False] * 7


def test_versions_that_come_and_go_are_not_judged_one_by_one() -> None:
    def share(release: int) -> Any:
        return lambda day: 1.0 if (day - DAY).days // 14 == release else 0.0

    releases = {f"share:version={number}": share(number) for number in range(-4, 0)}
    measured = today(**{"share:version=0": 1.0})
    assert judged(measured, made_history(56, **releases))["distribution_anomaly"].status == Status.PASSED
    steady = {"share:version=0": lambda day: 0.0, "share:version=-1": lambda day: 1.0}
    assert judged(measured, made_history(56, **steady))["distribution_anomaly"].status == Status.FAILED


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000), level=st.floats(0.01, 1e6), noise=st.floats(0.01, 0.3), growth=st.floats(-0.003, 0.01)
)
def test_noise_and_growth_alone_are_no_alarm(seed: int, level: float, noise: float, growth: float) -> None:
    random = np.random.default_rng(seed)

    def value(day: dt.date) -> float:
        return float(level * np.exp(growth * (day - DAY).days) * random.lognormal(0, noise))

    past = made_history(56, seed, **{"mean:number": value})
    assert judged(today(**{"mean:number": value(DAY)}), past)["distribution_anomaly"].status == Status.PASSED
    unit = 60 if noise < 0.2 else 1000
    assert judged(today(**{"mean:number": value(DAY) * unit}), past)["distribution_anomaly"].status == Status.FAILED


def test_faults_are_found_and_a_clean_history_is_silent(tmp_path: Any) -> None:
    clean = clean_history(100, seed=5)
    for table in clean.values():
        assert table.judged_days == 86
        assert len(table.alarms) <= 1, (table.table.key, table.alarms)
    injected = inject(clean, 21, seed=5, lake=registry_lake(str(tmp_path / "lake"), clean[PlayerEvents].rows))
    missed = [(fault.kind.name, fault.day) for fault in injected if not fault.failed]
    assert len(injected) == 21
    assert len(missed) <= 1, missed
    assert all(
        fault.failed for fault in injected if fault.kind.table is PlayerEvents and "platform" not in fault.kind.name
    )


def test_without_a_real_shop_the_benchmark_says_what_it_left_out(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with Bench(1, tmp_path, Console()) as bench:
        (row,) = shop_faults(bench)
    assert (row.what, row.met) == (f"faults in a real shop: skipped, {FOLDER} names no folder", None)


def test_a_median_that_is_zero_is_reported_by_its_zeros_alone() -> None:
    """Retail's `p50:weekend_ratio` was expected at 0 ± 1e-11: half of the players never play on weekends, or a little
    less than half."""
    zeros = {"p50:number": lambda _day: 0.0, "zero_share:number": lambda _day: 0.55}
    past = made_history(56, **zeros)
    usual = judged(today(**{"p50:number": 0.02, "zero_share:number": 0.52}), past)
    assert usual["distribution_anomaly"].status == Status.PASSED
    found = judged(today(**{"p50:number": 0.4, "zero_share:number": 0.1}), past)["distribution_anomaly"]
    assert found.status == Status.FAILED
    assert "zero_share:number is 0.1" in (found.message or "")


def days_of_numbers(days: int) -> pl.DataFrame:
    """As many measures as a table of order lines has, none the same on two days, up to and with DAY."""
    random = np.random.default_rng(3)
    made = [
        (DAY - dt.timedelta(back), name, float(value))
        for back in range(days, -1, -1)
        for name, value in [
            ("rows", 1000 + random.integers(0, 40)),
            *((f"mean:number.m{number}", random.lognormal(3, 0.1)) for number in range(20)),
        ]
    ]
    return pl.DataFrame(made, schema=MEASURES, orient="row")


def test_a_day_that_came_again_is_reported_with_the_day_it_was() -> None:
    made = days_of_numbers(40)
    past, usual = made.filter(pl.col("day") < DAY), made.filter(pl.col("day") == DAY)
    assert judged(usual, past)["distribution_anomaly"].status == Status.PASSED
    tuesday = DAY - dt.timedelta(6)
    again = past.filter(pl.col("day") == tuesday).with_columns(day=pl.lit(DAY))
    found = judged(again, past)["distribution_anomaly"]
    assert found.status == Status.FAILED
    assert (found.message or "").endswith(f"measures are those of {tuesday}: a day that came again?")
    closed = past.filter((pl.col("day") != DAY - dt.timedelta(9)) | (pl.col("measure") == "rows"))
    assert judged(again, closed)["distribution_anomaly"].status == Status.FAILED, "a closed day hides nothing"


def test_days_that_come_again_and_again_are_usual() -> None:
    made = days_of_numbers(40)
    twice = made.filter(pl.col("day") == DAY - dt.timedelta(20)).with_columns(day=pl.lit(DAY - dt.timedelta(10)))
    past = pl.concat([made.filter(pl.col("day") < DAY, pl.col("day") != DAY - dt.timedelta(10)), twice])
    again = made.filter(pl.col("day") == DAY - dt.timedelta(3)).with_columns(day=pl.lit(DAY))
    assert judged(again, past)["distribution_anomaly"].status == Status.PASSED


def test_a_number_that_is_always_one_is_reported_however_much_it_varied() -> None:
    random = np.random.default_rng(4)
    past = made_history(56, **{"std:count": lambda _day: float(random.lognormal(3, 1))}).with_columns(
        value=pl.when(pl.col("measure") == "rows").then(pl.col("value") + 1000).otherwise("value")
    )
    found = judged(today(**{"rows": 2000, "std:count": 0.0}), past)["distribution_anomaly"]
    assert found.status == Status.FAILED
    assert (found.message or "").startswith("std:count is 0, was never below ")
    usual = judged(today(**{"rows": 2000, "std:count": 20.0}), past)
    assert usual["distribution_anomaly"].status == Status.PASSED
