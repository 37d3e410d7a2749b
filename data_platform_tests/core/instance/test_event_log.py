"""Our SQLite event log keeps what Dagster's own keeps, event for event. Not here: which storage is chosen."""

# No postponed annotations here: Dagster reads those of asset functions.

import json
import sqlite3
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.test_utils import instance_for_test

from data_platform.core.instance.sqlite_event_log import PooledEventLog
from data_platform.core.settings import settings

QUERIES = [
    "select run_id, dagster_event_type, step_key, asset_key, partition, json_extract(event, '$.dagster_event"
    ".event_specific_data.asset_check_evaluation.passed') from event_logs"
    " where dagster_event_type like 'ASSET%'",
    "select e.run_id, e.asset_key, e.check_name, e.partition, e.execution_status, l.dagster_event_type, l.partition,"
    " json_extract(e.evaluation_event, '$.dagster_event.event_type_value'), m.dagster_event_type, m.partition"
    " from asset_check_executions e left join event_logs l on l.id = e.evaluation_event_storage_id"
    " left join event_logs m on m.id = e.materialization_event_storage_id",
    "select k.asset_key, last_run_id, l.partition from asset_keys k left join event_logs l"
    " on json_extract(k.last_materialization, '$.storage_id') = l.id",
    "select t.asset_key, key, iif(key like 'dagster%version%', '', value), l.partition"
    " from asset_event_tags t join event_logs l on l.id = event_id",
]
DAYS = dg.StaticPartitionsDefinition(["a", "b", "c"])
PLANNED, NOT_PLANNED = dg.AssetCheckSpec("planned", asset="table", partitions_def=DAYS), "never_planned"


@dg.asset(partitions_def=DAYS, check_specs=[PLANNED], backfill_policy=dg.BackfillPolicy.single_run())
def table(context: dg.AssetExecutionContext) -> Any:
    for at, partition in enumerate(context.partition_keys):
        context.add_asset_metadata({"rows": at}, partition_key=partition)
        context.log_event(dg.AssetObservation("table", partition=partition, tags={"seen": partition}))
    yield dg.MaterializeResult(tags={"kind": "range"})
    storage = context.instance.event_log_storage
    with storage.asset_events_together() if isinstance(storage, PooledEventLog) else nullcontext():
        for name in (PLANNED.name, NOT_PLANNED):
            for partition in (*context.partition_keys, None):
                context.log_event(
                    dg.AssetCheckEvaluation(
                        dg.AssetKey("table"), name, passed=partition != "b", metadata={}, partition=partition
                    )
                )
    yield dg.AssetCheckResult(check_name=PLANNED.name, passed=True)


@pytest.fixture(params=["all", "one after the other"])
def runs(request: pytest.FixtureRequest) -> list[dict[str, str]]:
    """The tags of the runs: one over a range, or one for each of two partitions."""
    if request.param == "all":
        return [{"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}]
    return [{"dagster/partition": key} for key in ("b", "a")]


def kept(storage: dict[str, Any], folder: Path, runs: list[dict[str, str]]) -> dict[str, list[Any]]:
    """What the databases hold after the runs, but for moments; runs are named by their order."""
    with instance_for_test(overrides={"storage": storage}) as instance:
        for tags in runs:
            assert dg.materialize([table], instance=instance, tags=tags).success
        order = [run.run_id for run in reversed(instance.get_runs())]
    index = next(folder.rglob("index.db"))
    found = {
        f"run {number} {query}": sqlite3.connect(index.with_name(f"{run}.db")).execute(query).fetchall()
        for number, run in enumerate(order)
        for query in QUERIES[:1]
    }
    found |= {f"index {query}": sqlite3.connect(index).execute(query).fetchall() for query in QUERIES}
    named = {name: json.dumps(rows) for name, rows in found.items()}
    for number, run in enumerate(order):
        named = {name: rows.replace(run, f"run {number}") for name, rows in named.items()}
    return {name: sorted(json.loads(rows), key=str) for name, rows in named.items()}


def test_it_keeps_what_dagsters_own_keeps(
    runs: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_PLATFORM_HOME", str(tmp_path / "ours"))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "2")
    settings.cache_clear()
    try:
        ours = kept(
            {"custom": {"module": "data_platform.core.instance.dagster_home", "class": "ChosenStorage"}},
            tmp_path / "ours",
            runs,
        )
        theirs = kept({"sqlite": {"base_dir": str(tmp_path / "theirs")}}, tmp_path / "theirs", runs)
    finally:
        settings.cache_clear()
    executions = ours[f"index {QUERIES[1]}"]
    assert len(executions) >= 8
    assert {row[4] for row in executions} >= {"SUCCEEDED", "FAILED"}
    assert ours == theirs


MANY = dg.StaticPartitionsDefinition([f"d{n:02d}" for n in range(60)])
MANY_CHECK = dg.AssetCheckSpec("each_day", asset="many_days", partitions_def=MANY)


@dg.asset(partitions_def=MANY, check_specs=[MANY_CHECK], backfill_policy=dg.BackfillPolicy.single_run())
def many_days(context: dg.AssetExecutionContext) -> Any:
    yield dg.MaterializeResult()
    with context.instance.event_log_storage.asset_events_together():
        for partition in context.partition_keys:
            evaluation = dg.AssetCheckEvaluation(
                dg.AssetKey("many_days"), MANY_CHECK.name, passed=True, metadata={}, partition=partition
            )
            context.log_event(evaluation)
    yield dg.AssetCheckResult(check_name=MANY_CHECK.name, passed=True)


@pytest.mark.parametrize("batch", ["1", "500"])
def test_a_page_can_tell_apart_all_that_a_run_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: str
) -> None:
    monkeypatch.setenv("DATA_PLATFORM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", batch)
    settings.cache_clear()
    days = {"dagster/asset_partition_range_start": "d00", "dagster/asset_partition_range_end": "d59"}
    storage = {"custom": {"module": "data_platform.core.instance.dagster_home", "class": "ChosenStorage"}}
    try:
        with instance_for_test(overrides={"storage": storage}) as instance:
            assert dg.materialize([many_days], instance=instance, tags=days).success
            written = instance.fetch_materializations(dg.AssetKey("many_days"), limit=100).records
            judged = instance.event_log_storage.get_asset_check_execution_history(
                dg.AssetCheckKey(dg.AssetKey("many_days"), MANY_CHECK.name), limit=100
            )
    finally:
        settings.cache_clear()
    # Dagster's pages ask for milliseconds.
    assert len({int(record.timestamp * 1000) for record in written}) == len(written) == 60
    evaluated = [int(one.event.timestamp * 1000) for one in judged if one.event and one.partition]
    assert len(set(evaluated)) == len(evaluated) == 60


@pytest.mark.parametrize("links", [True, False])
def test_a_runs_file_is_as_dagster_makes_it(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file system knows no links, and for whoever opens the file second."""

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    ours, another = (PooledEventLog(str(tmp_path / "ours")) for _ in range(2))
    dagsters = SqliteEventLogStorage(str(tmp_path / "dagsters"))
    made = [whole_file(storage, run) for storage, run in ((dagsters, "1"), (ours, "1"), (ours, "2"), (another, "2"))]
    assert made[1:] == made[:1] * 3
    assert len(made[0][0]) > 5
    assert sorted(ours.get_all_run_ids()) == ["1", "2"]


def whole_file(storage: SqliteEventLogStorage, run: str) -> tuple[list[Any], ...]:
    """What the file of a run consists of, opened by Dagster and then as it lies there."""
    with storage.run_connection(run):
        pass
    asked = ("select sql from sqlite_master order by name", "select * from alembic_version", "pragma journal_mode")
    return tuple(sqlite3.connect(storage.path_for_shard(run)).execute(query).fetchall() for query in asked)
