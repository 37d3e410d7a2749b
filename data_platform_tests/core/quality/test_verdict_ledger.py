"""Every verdict is kept: passes, range runs, crashes and four processes at once included; and rules over many rows say
what a naive look says. Not here: rules over single rows (test_contracts), anomalies (test_anomalies)."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.contract.table import Rule, Severity, Table, TableRule, column, contracts
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake
from data_platform.core.quality.table_rules import judge_together
from data_platform.core.quality.validation import Status, Verdict, judge, rule_names
from data_platform.core.quality.verdict_ledger import CheckResults, latest, record
from data_platform.domains.gameplay.contracts.activity import CampaignMetrics, PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.rules import campaigns_without_metrics, miscounted_days
from data_platform.domains.gameplay.transforms import activity
from data_platform_tests.support.homes import FIRST_DAY, Home, all_tables, line
from data_platform_tests.support.transforms import computed_otherwise

DAY = FIRST_DAY
KEY = list(CheckResults.primary_key)


class Parents(Table):
    """What the others refer to."""

    key = "testing/parents"
    primary_key = ("parent_id",)
    owner = "team:testing"

    parent_id: str = column("Who.")


class Children(Table):
    """Rows by day, each of a parent."""

    key = "testing/children"
    partition = "day"
    primary_key = ("day", "child_id")
    owner = "team:testing"
    row_rules = (Rule("weighs_something", "weight > 0", pl.col("weight") > 0, Severity.WARNING),)

    day: dt.date = column("Day.")
    child_id: int = column("Child.")
    parent_id: str | None = column("Parent, if any.", references=Parents.parent_id)
    weight: float = column("Weight.")


def children(*rows: tuple[dt.date, int, str | None, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=Children.schema(), orient="row")


# ---------------------------------------------------------------------------- the ledger
def test_a_range_run_leaves_one_verdict_per_table_day_rule_and_run(home: Home) -> None:
    days = [DAY + dt.timedelta(n) for n in range(3)]
    home.drop("a.ndjson", [line(event_id=f"e-{d}-{n}", timestamp=f"{d}T10:00:0{n}Z") for d in days for n in range(3)])
    home.build()
    found = home.rows(CheckResults)
    assert found.select(pl.struct(KEY).is_unique().all()).item()
    for table in all_tables():
        if table.table_group() == "raw":
            continue
        rows = found.filter(asset=table.key)
        for partition, stored in home.lake.partitions(table).select("partition", "rows").iter_rows():
            judged = rows.filter(asset_partition=partition or "")
            assert {name for name, _ in rule_names(table)} <= set(judged["check_name"]), f"{table.key} {partition}"
            assert {rule.name for rule in table.all_table_rules()} <= set(judged["check_name"])
            assert set(judged.filter(pl.col("check_name") == "primary_key_unique")["rows"]) == {stored}
    assert set(found["status"]) <= {"passed", "not_judged", "failed"}
    assert found["run_id"].n_unique() >= 2, "ingestion and computation"
    assert found["contract_version"].is_in([table.version() for table in contracts().values()]).all()


def test_a_failing_rule_is_kept_with_count_and_sample_and_later_runs_beside_it(home: Home) -> None:
    home.drop("a.ndjson", [line(player_id="nobody-announced")])
    home.drop("p.ndjson", [{"player_id": "p-0", "operation": "insert", "changed_at": f"{DAY}T00:00:00Z"}], "players")
    home.build()
    home.drop("b.ndjson", [line(event_id="e-2", player_id="p-0")])
    home.build()
    orphans = home.rows(CheckResults).filter(asset=PlayerEvents.key, check_name="player_id_in_player_changes")
    assert len(orphans) == 2, "one verdict per run"
    assert set(orphans["status"]) == {"failed"}
    assert set(orphans["failed_rows"]) == {1}
    assert json.loads(orphans["sample"][0])[0]["player_id"] == "nobody-announced"
    newest = latest(home.lake).filter(pl.col("check_name") == "player_id_in_player_changes").collect()
    assert len(newest) == 1
    assert newest["rows"].item() == 2


def test_a_retried_step_records_nothing_twice(home: Home) -> None:
    first = [("contract", Verdict("a", Severity.ERROR, str(DAY), 0, 5, status=Status.PASSED))]
    second = [*first, ("contract", Verdict("b", Severity.ERROR, str(DAY), 0, 5, status=Status.PASSED))]
    record(home.lake, PlayerEvents, first, "run-1")
    record(home.lake, PlayerEvents, second, "run-1", repeated=True)
    record(home.lake, PlayerEvents, first, "run-2", repeated=True)
    found = home.rows(CheckResults)
    assert sorted(found.select("check_name", "run_id").rows()) == [("a", "run-1"), ("a", "run-2"), ("b", "run-1")]


def write_verdicts(root: str, writer: int, commits: int, each: int) -> None:
    for commit in range(commits):
        verdicts = [
            ("contract", Verdict(f"rule-{n}", Severity.INFO, str(DAY), 0, 1, status=Status.PASSED)) for n in range(each)
        ]
        record(Lake(root), PlayerEvents, verdicts, f"{writer}-{commit}")


def test_ten_thousand_verdicts_of_four_processes_are_all_there(home: Home) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = [(home.lake.root, writer, 25, 100) for writer in range(4)]
    processes = [context.Process(target=write_verdicts, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    found = home.rows(CheckResults)
    assert len(found) == 10_000
    assert found.select(pl.struct(KEY).is_unique().all()).item()
    before = found.sort(KEY)
    assert compact(home.lake, CheckResults) == 100
    assert home.rows(CheckResults).sort(KEY).equals(before), "compaction changes no row"
    assert home.lake.partitions(CheckResults)["files"].to_list() == [1]


def test_verdicts_are_complete_and_parts_of_a_day_count_together() -> None:
    good, bad = children((DAY, 1, None, 1.0), (DAY, 2, None, 2.0)), children((DAY, 3, None, -1.0), (DAY, 4, None, -2.0))
    verdicts = judge(Children, good, [str(DAY)])
    verdicts.add(judge(Children, bad.head(1), []))
    verdicts.add(judge(Children, bad.tail(1), []))
    (heavy,) = verdicts.found()
    assert (heavy.rule, heavy.status) == ("weighs_something", Status.FAILED)
    assert (heavy.failed_rows, heavy.rows, len(heavy.sample)) == (2, 4, 2)
    passes = verdicts.passes(Children)
    assert set(passes["rule"]) == {name for name, _ in rule_names(Children)} - {heavy.rule}
    assert passes.select("partition", "rows").unique().rows() == [(str(DAY), 4)]


# ------------------------------------------------------------------- rules over many rows
ids = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), ids), max_size=12), st.sets(st.sampled_from(["a", "b", "c"])))
def test_orphans_are_those_a_loop_finds(
    tmp_path_factory: Any, found: list[tuple[int, str | None]], known: set[str]
) -> None:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    lake.replace(Parents, pl.DataFrame({"parent_id": sorted(known)}, schema=Parents.schema()), [])
    rows = children(*((DAY + dt.timedelta(day), n, parent, 1.0) for n, (day, parent) in enumerate(found)))
    counts = {str(DAY + dt.timedelta(day)): 1 for day in range(3)}
    orphans = {(day, parent) for day, parent in found if parent is not None and parent not in known}
    expected = Counter(str(DAY + dt.timedelta(day)) for day, _ in orphans)
    for verdict in judge_together(Children, rows.lazy(), lake, counts):
        assert verdict.failed_rows == expected[verdict.partition]
        assert (verdict.status == Status.FAILED) == (expected[verdict.partition] > 0)


def test_without_the_other_table_nothing_is_judged(home: Home) -> None:
    (verdict,) = judge_together(Children, children((DAY, 1, "a", 1.0)).lazy(), home.lake, {str(DAY): 1})
    assert (verdict.status, verdict.failed_rows) == (Status.NOT_JUDGED, 0)
    assert "testing/parents" in (verdict.message or "")


def test_a_table_rule_that_crashes_is_reported_as_crashed(home: Home) -> None:
    def crash(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.select("not_there")

    class Crashing(Table):
        """Its rule looks for a column that is not there."""

        key = "testing/crashing_together"
        partition = "day"
        primary_key = ("day",)
        owner = "team:testing"
        table_rules = (TableRule("crash", "crashes", crash, severity=Severity.ERROR),)

        day: dt.date = column("Day.")

    rows = pl.DataFrame({"day": [DAY]})
    (verdict,) = judge_together(Crashing, rows.lazy(), home.lake, {str(DAY): 1})
    assert (verdict.status, verdict.severity, verdict.failed_rows) == (Status.ERRORED, Severity.ERROR, 0)
    assert "not_there" in (verdict.message or "")


def test_counts_that_are_not_the_events_block_the_day(home: Home) -> None:
    def one_too_many(original: Callable[..., pl.LazyFrame], events: pl.LazyFrame) -> pl.LazyFrame:
        return original(events).with_columns(pl.col("total_events") + 1)

    home.drop("a.ndjson", [line(event_id=f"e-{n}") for n in range(4)])
    with (
        computed_otherwise(activity.daily_activity, one_too_many),
        pytest.raises(AssertionError, match="counts_every_clean_event"),
    ):
        home.build()
    assert not home.lake.exists(PlayerDailyActivity) or home.rows(PlayerDailyActivity).is_empty(), "not published"
    (verdict,) = home.rows(CheckResults).filter(check_name="counts_every_clean_event", status="failed").rows(named=True)
    assert json.loads(verdict["sample"])[0]["clean"] == 4
    home.build()
    assert home.rows(PlayerDailyActivity)["total_events"].sum() == 4


def test_days_and_campaigns_that_are_missing_altogether_are_found() -> None:
    events = pl.LazyFrame(
        {"event_date": [DAY, DAY], "campaign_id": ["a", None]}, schema={"event_date": pl.Date, "campaign_id": pl.String}
    )
    counted = miscounted_days(PlayerDailyActivity.empty().lazy(), events).collect()
    assert counted.rows(named=True) == [{"activity_date": DAY, "counted": 0, "clean": 2}]
    missing = campaigns_without_metrics(CampaignMetrics.empty().lazy(), events).collect()
    assert missing.rows() == [(DAY, "a")]
