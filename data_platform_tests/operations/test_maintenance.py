"""Maintenance: what goes and what stays, beside writers and readers, with sizes before and after.
Not here: merged rows and orphans (test_quality_reports), versions that training sets pin (test_training_set_pins)."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.instance.dagster_home import open_instance
from data_platform.core.instance.old_runs import old_runs
from data_platform.core.settings import settings
from data_platform.domains.gameplay.contracts.activity import PlayerSessions
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.operations.contracts import LakeMaintenance, LandingMaintenance, RunMaintenance
from data_platform.operations.maintenance import delete_put_away, forget_old_runs, maintain
from data_platform.sources.ingestion import landing_of
from data_platform.sources.positions import positions
from data_platform.sources.segments import write_segment
from data_platform_tests.support.health_home import day_of_sessions
from data_platform_tests.support.homes import Home, event, line
from data_platform_tests.support.maintenance_helper import APPENDED

WEEK = dt.timedelta(7)
NOW = dt.datetime.now(dt.UTC)
LATER = NOW + dt.timedelta(hours=1)
"""Everything that exists is older than this."""
FOLDER = "player_events"


def run(home: Home, instance: dg.DagsterInstance, job: str, table: type[Table]) -> dict[str, Any]:
    """Run the job of a maintenance; what Dagster was told of it."""
    from data_platform.definitions import defs

    today = str(dt.datetime.now(dt.UTC).date())
    result = defs.resolve_job_def(job).execute_in_process(instance=instance, partition_key=today)
    assert result.success
    (materialisation,) = result.asset_materializations_for_node(table.key.replace("/", "__"))
    assert materialisation.partition == today
    return {name: value.value for name, value in materialisation.metadata.items()}


def put_away(home: Home) -> list[Path]:
    return sorted((home.landing / FOLDER / "_ingested").iterdir())


def delete_old(home: Home, before: dt.datetime = LATER) -> Any:
    ((_, done),) = delete_put_away(home.lake, [PLAYER_EVENTS], before, home.landing)
    return done


# -------------------------------------------------------------------------------------------- the lake
def test_each_table_has_its_sizes_before_and_after(home: Home) -> None:
    for number in range(9):
        rows = day_of_sessions(APPENDED, number + 1)
        home.lake.append(PlayerSessions, rows)
    orphan = home.path / f"lake/{PlayerSessions.key}/session_date={APPENDED}/part-orphan.zstd.parquet"
    orphan.write_bytes(b"x" * 1_000)
    os.utime(orphan, (time.time() - 8 * 86_400,) * 2)
    metadata = run(home, home.instance, "lake_maintenance", LakeMaintenance)
    assert (metadata["tables"], metadata["files_merged"], metadata["files_deleted"]) == (1, 9, 1)
    assert metadata["bytes_before"] - metadata["bytes_after"] != 0
    found = {row["task"]: row for row in home.rows(LakeMaintenance).to_dicts()}
    assert {(row["asset"], row["note"]) for row in found.values()} == {(PlayerSessions.key, None)}
    assert (found["compact"]["files_before"], found["compact"]["files_after"]) == (9, 1)
    # Nine small files, the merged one and the orphan; what was merged stays for its week.
    assert (found["vacuum"]["files_before"], found["vacuum"]["files_after"]) == (11, 10)
    assert found["vacuum"]["bytes_before"] - found["vacuum"]["bytes_after"] == 1_000
    assert found["checkpoint"]["files_after"] > found["checkpoint"]["files_before"]
    log = home.path / f"lake/{PlayerSessions.key}/_delta_log"
    summed_up = json.loads((log / "_last_checkpoint").read_text())["version"]
    assert summed_up == home.lake.version(PlayerSessions), "whoever opens the table reads one file of the log"


def test_maintenance_goes_on_beside_a_writer_and_a_reader(home: Home, tmp_path: Path) -> None:
    home.lake.replace(PlayerSessions, day_of_sessions(APPENDED, 1), [APPENDED])
    stop = tmp_path / "stop"
    helper = ("-m", "data_platform_tests.support.maintenance_helper")
    others = [home.start(*helper, role, home.lake.root, str(stop)) for role in ("writer", "reader")]
    until, merged = time.monotonic() + 40, 0
    # Some thirty commits of the others lie between two turns.
    for turns in range(1, 1_000):
        merged += maintain(home.lake, WEEK)[PlayerSessions.key].merged
        if (turns >= 6 and merged > 40) or time.monotonic() > until:
            break
        time.sleep(0.2)
    stop.touch()
    outputs = [process.communicate(timeout=60)[0] for process in others]
    assert [process.returncode for process in others] == [0, 0], outputs
    written, looks = (int(text.split()[-1]) for text in outputs)
    assert merged > 40, "nothing was merged beside the writer"
    assert looks > 5
    assert home.lake.rows(PlayerSessions)[str(APPENDED)] == written + 1
    assert len(home.lake.scan(PlayerSessions, APPENDED, APPENDED).collect()) == written + 1


# --------------------------------------------------------------------------------------------- landing
def test_old_files_go_and_nothing_that_rests_on_the_ledger_changes(home: Home) -> None:
    stream = "kafka:player-events/3"
    text = "".join(line(event_id=f"s-{n}") + "\n" for n in range(3)).encode()
    write_segment(home.landing / FOLDER, stream, 10, 13, text)
    home.drop("a.ndjson", [event(event_id="a")])
    home.ingest()
    before = positions(home.lake, home.landing / FOLDER), home.raw(), home.ledger()
    young = delete_old(home, NOW - dt.timedelta(1))
    assert (young.before, young.note) == (young.after, None)
    assert len(put_away(home)) == 2
    size = sum(path.stat().st_size for path in put_away(home))
    done = delete_old(home)
    assert (done.before.files, done.before.bytes, done.after.files, done.after.bytes) == (2, size, 0, 0)
    assert put_away(home) == []
    assert positions(home.lake, home.landing / FOLDER) == before[0]
    assert before[0][stream].end == 13
    # The same files once more are known by their digests, and the stream goes on where it stood.
    write_segment(home.landing / FOLDER, stream, 10, 13, text)
    home.drop("b.ndjson", [event(event_id="a")])
    write_segment(home.landing / FOLDER, stream, 13, 14, line(event_id="s-3").encode() + b"\n")
    (batch,) = home.ingest()
    assert (batch.received, batch.stored) == (1, 1)
    assert len(home.raw()) == len(before[1]) + 1


def test_a_file_stays_when_the_lake_may_lack_something_of_it(home: Home) -> None:
    for name in ("known", "grown", "ended", "unknown", "withdrawn"):
        home.drop(f"{name}.ndjson", line(event_id=name))
    home.ingest()
    paths = {path.name.split("-", 2)[2]: path for path in put_away(home)}
    with paths["grown.ndjson"].open("a") as file:
        file.write("\n" + line(event_id="too late"))
    with paths["ended.ndjson"].open("a") as file:
        file.write("\n")
    ledger = home.ledger()
    restored = ledger.filter(pl.col("source_file") != "unknown.ndjson").with_columns(
        withdrawn_lines=pl.when(pl.col("source_file") == "withdrawn.ndjson").then("received_lines")
    )
    home.lake.replace(IngestionLedger, restored, ledger["received_date"].unique().to_list())
    done = delete_old(home)
    assert {path.name.split("-", 2)[2] for path in put_away(home)} == {
        "grown.ndjson", "unknown.ndjson", "withdrawn.ndjson",
    }  # fmt: skip
    assert done.note == "3 old files stay: the ledger does not know all that is in them"
    assert (done.before.files, done.after.files) == (5, 3)


def test_what_was_appended_and_taken_in_keeps_no_file(home: Home) -> None:
    home.drop("a.ndjson", line(event_id="1") + "\n")
    home.ingest()
    (path,) = put_away(home)
    with path.open("a") as file:
        file.write(line(event_id="2") + "\n")
    os.utime(path, (time.time() - 60,) * 2)
    home.ingest()
    assert len(home.raw()) == 2
    assert delete_old(home).after.files == 0


def test_files_of_a_batch_that_is_not_done_stay(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    landing = landing_of(PLAYER_EVENTS, home.lake, home.landing)
    with landing.locked():
        (plan,) = landing.batches()
        landing.commit(plan)
        landing.files.put_away(plan.batch, plan.files)  # and dies before the plan is forgotten
    assert delete_old(home).after.files == 1
    home.ingest()
    assert delete_old(home).after.files == 0


def test_the_run_over_all_folders_is_recorded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.drop("a.ndjson", [event()])
    home.ingest()
    with home.used():
        metadata = run(home, home.instance, "landing_maintenance", LandingMaintenance)
    assert (metadata["files_before"], metadata["files_after"]) == (1, 1), "it is no 90 days old"
    rows = home.rows(LandingMaintenance)
    assert rows.filter(pl.col("source") == FOLDER)["files_after"].to_list() == [1]
    monkeypatch.setenv("DATA_PLATFORM_KEEP_INGESTED_DAYS", "1")
    settings.cache_clear()
    with pytest.raises(PlatformError, match="KEEP_INGESTED_DAYS"):
        settings()
    monkeypatch.undo()
    settings.cache_clear()


# ------------------------------------------------------------------------------------------------ runs
def test_old_runs_are_forgotten_but_for_those_that_a_day_rests_on(home: Home) -> None:
    from data_platform.definitions import defs
    from data_platform.operations.build import build

    def build_events(instance: dg.DagsterInstance, number: int, day: int) -> set[str]:
        before = {run.run_id for run in instance.get_runs()}
        home.drop(f"{number}.ndjson", [event(event_id=f"e-{number}", timestamp=f"2024-01-0{day}T10:00:00Z")])
        assert not build(defs, instance, [PlayerEvents.key]).failures
        return {run.run_id for run in instance.get_runs()} - before

    def newest(instance: dg.DagsterInstance) -> dict[str, dict[str, int]]:
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        by_partition = instance.event_log_storage.get_latest_storage_id_by_partition
        return {key.to_user_string(): dict(by_partition(key, kind)) for key in instance.all_asset_keys()}

    with home.used(), open_instance() as instance:
        superseded = build_events(instance, 1, day=3)
        standing = build_events(instance, 2, day=3) | build_events(instance, 3, day=4)
        facts = newest(instance)
        assert old_runs(instance, NOW - dt.timedelta(1)).free == ()
        found = old_runs(instance, LATER)
        assert set(found.free) <= superseded
        assert found.free, "the first run's only day was written again"
        assert standing <= set(found.held)
        shards = {run_id: list(home.path.rglob(f"{run_id}*")) for run_id in found.free}
        assert all(shards.values())
        done = forget_old_runs(instance, LATER, home.path / "dagster")
        assert (done.runs_before - done.runs_after, done.runs_held) == (len(found.free), len(found.held))
        assert done.done.after.bytes < done.done.before.bytes
        assert not [path for paths in shards.values() for path in paths if path.exists()]
        assert newest(instance) == facts, "Dagster knows of every day what it knew"
        again = build(defs, instance, [PlayerEvents.key])
        assert (again.runs, again.failures) == (0, ()), "and nothing is computed once more"
        assert forget_old_runs(instance, LATER, home.path / "dagster").runs_before == done.runs_after
        metadata = run(home, instance, "run_maintenance", RunMaintenance)
    assert metadata["runs_before"] == metadata["runs_after"]
    assert home.rows(RunMaintenance)["runs_held"].to_list() == [0]
