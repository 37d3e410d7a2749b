"""The history of profiles: what is remembered of a day, and days judged by it when they are published.
Not here: the measures and the judgement (test_anomalies)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest

from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.publication import Publication
from data_platform.core.quality import profile_store
from data_platform.core.quality.check_groups import ANOMALIES
from data_platform.core.quality.profile import is_profiled, look
from data_platform.core.quality.profile_store import UNUSUAL, Profiles, history, judge_by_history, pasts, remember
from data_platform.core.quality.validation import Status
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform_tests.support.homes import FIRST_DAY, Home, all_tables, event
from data_platform_tests.support.profiles import DAY, NOW, Measured, made_history, rows_of, today


def lake_of(tmp_path: Any) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_the_newest_profile_of_a_day_counts(tmp_path: Any) -> None:
    lake = lake_of(tmp_path)
    first, second = today(rows=10), today(rows=20).filter(pl.col("measure") == "rows")
    remember(lake, Measured, first, (), "run-1", NOW)
    remember(lake, Measured, second, (), "run-2", NOW + dt.timedelta(hours=1))
    remember(lake, PlayerEvents, first, (), "run-3", NOW + dt.timedelta(hours=2))
    found, unusual = history(lake, Measured, DAY - dt.timedelta(56), DAY)
    assert found.rows() == [(DAY, "rows", 20.0)]
    assert unusual == set()


def test_the_past_of_several_tables_read_at_once_is_that_of_each(tmp_path: Any) -> None:
    lake = lake_of(tmp_path)
    past = made_history(90)
    remember(lake, Measured, past, (), "run-1", NOW - dt.timedelta(3))
    remember(lake, PlayerEvents, past.with_columns(pl.col("value") + 1), (), "run-2", NOW - dt.timedelta(2))
    unusual = pl.DataFrame([(DAY - dt.timedelta(5), UNUSUAL, 1.0)], schema=past.schema, orient="row")
    remember(lake, Measured, unusual, (), "run-3", NOW - dt.timedelta(1))
    days = {Measured: [DAY - dt.timedelta(9), DAY], PlayerEvents: [DAY - dt.timedelta(20)], PlayerDailyActivity: [DAY]}
    read = pasts(lake, {**days, Profiles: [DAY]}, NOW)
    assert set(read) == {table.key for table in days}
    order = ["day", "measure"]
    for table, of_table in days.items():
        for day in of_table:
            first = day - dt.timedelta(56)
            (found, odd), (alone, odd_alone) = read[table.key].between(first, day), history(lake, table, first, day)
            assert found.sort(order).equals(alone.sort(order)), "no day after the one that is judged"
            assert odd == odd_alone
    assert len(read[Measured.key].between(DAY - dt.timedelta(56), DAY)[0]), "there is a past"
    assert pasts(lake, {Measured: [NOW.date()]}, NOW) == {}, "a day that is not over is held against nothing"
    looks = [look(Measured, rows_of(DAY, [{}] * 20))]
    judged = [judge_by_history(lake, Measured, looks, [DAY], NOW, before) for before in (None, read[Measured.key])]
    assert judged[0].verdicts == judged[1].verdicts


def test_a_step_judges_and_remembers_each_day_that_is_over(tmp_path: Any) -> None:
    lake = lake_of(tmp_path)
    remember(lake, Measured, made_history(56), (), "before", NOW - dt.timedelta(1))
    frame = pl.concat([rows_of(DAY, [{}] * 20), rows_of(NOW.date(), [{}] * 20)])
    days = [DAY, NOW.date()]
    judged = judge_by_history(lake, Measured, [look(Measured, frame)], days, NOW)
    remember(lake, Measured, judged.measured, (), "run", NOW)
    verdicts = {(one.partition, one.rule): one for one in judged.verdicts}
    assert len(verdicts) == len(judged.verdicts) == 6
    assert verdicts[str(DAY), "volume_anomaly"].status == Status.FAILED
    unfinished = verdicts[str(NOW.date()), "volume_anomaly"]
    assert (unfinished.status, unfinished.rows, unfinished.message) == (Status.NOT_JUDGED, 20, "the day is not over")
    kept = lake.scan(Profiles).filter(pl.col("run_id") == "run").collect()
    assert set(kept["asset_partition"]) == {DAY}
    assert kept.filter(pl.col("measure") == UNUSUAL)["value"].to_list() == [1.0]
    assert history(lake, Measured, DAY, DAY)[1] == {DAY}


def test_a_day_that_is_not_published_is_judged_and_forgotten(tmp_path: Any) -> None:
    lake = lake_of(tmp_path)
    looks = [look(Measured, rows_of(DAY, [{}] * 20))]
    judged = judge_by_history(lake, Measured, looks, [DAY], NOW)
    remember(lake, Measured, judged.measured, {str(DAY)}, "run", NOW)
    assert {one.status for one in judged.verdicts} == {Status.NOT_JUDGED}
    assert not judged.measured.is_empty()
    assert lake.scan(Profiles).collect().is_empty()


def test_a_crash_is_reported_as_one(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: Any) -> None:
        raise ZeroDivisionError("no good")

    monkeypatch.setattr(profile_store, "profile", crash)
    lake = lake_of(tmp_path)
    judged = judge_by_history(lake, Measured, [look(Measured, rows_of(DAY, [{}]))], [DAY], NOW)
    assert {one.status for one in judged.verdicts} == {Status.ERRORED}
    assert judged.verdicts[0].message == "ZeroDivisionError: no good"
    assert judged.measured.is_empty()


def test_publishing_judges_by_history_and_publishes_all_the_same(tmp_path: Any) -> None:
    lake = lake_of(tmp_path)
    days = [DAY + dt.timedelta(number) for number in range(20)]
    frames = [rows_of(day, [{}] * (100 if day < days[-1] else 5)) for day in days]
    publication = Publication(Measured)
    publication.publish(lake, [pl.concat(frames)], days, "run")
    failed = {one.partition: one for one in publication.verdicts.failures}
    assert set(failed) == {str(days[-1])}
    assert publication.rows[str(days[-1])] == 5
    assert lake.version(Profiles) == 1, "one commit for all days"


def test_a_build_records_three_verdicts_per_day_of_each_profiled_table(home: Home) -> None:
    first = event(event_id="first", timestamp=f"{FIRST_DAY}T10:00:00Z")
    home.drop("a.ndjson", [first, *(event(event_id=f"e-{n}", player_id=f"p-{n}") for n in range(30))])
    home.build(["gameplay/player_daily_activity"], first=FIRST_DAY, last=FIRST_DAY + dt.timedelta(4))
    found = home.rows(CheckResults).filter(pl.col("check_name").is_in(list(ANOMALIES)))
    by_table = dict(found.group_by("asset").len().iter_rows())
    assert by_table[PlayerEvents.key] == by_table[PlayerDailyActivity.key] == 3 * 5
    assert set(found["status"]) == {"not_judged"}
    assert set(found["reported_as"]) == {"as_on_days_before"}
    assert set(home.rows(Profiles)["asset"]) == set(by_table)
    assert not {key for key in by_table if key.endswith("_rejected") or key.startswith("quality/")}


def test_only_tables_of_days_are_profiled() -> None:
    profiled = {table.key for table in all_tables() if is_profiled(table)}
    assert {"clean/player_events", "gameplay/daily_metrics", "features/player_churn_features"} <= profiled
    assert not {key for key in profiled if key.endswith("_rejected")}
    assert not {"clean/players", "quality/profiles", "gameplay/player_retention"} & profiled
