"""`dagster dev` at the root of the project, as a person starts it: it says what the platform is, and what is dropped
into landing shows up in the features with nobody touching anything. Not here: which days are requested
(test_automation)."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from data_platform.core.contract.table import Table, contracts
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.features.contracts import OnlinePlayerFeatures
from data_platform_tests.support.homes import Home, event
from data_platform_tests.support.running import RunningDagster, dagster_dev, processes_of, today, wait_for, written_days

CODE_SERVER_SECONDS = 90
"""Code servers end by themselves when nobody has asked for 45 seconds."""

SHOWN = """
{
  assetNodes {
    assetKey { path } groupName description kinds isPartitioned hasAssetChecks
    owners { ... on TeamAssetOwner { team } ... on UserAssetOwner { email } }
    tags { key value }
    automationCondition { label }
    internalFreshnessPolicy { __typename }
    metadataEntries {
      label
      ... on TableSchemaMetadataEntry { schema { columns { name type description constraints { nullable } } } }
      ... on TableColumnLineageMetadataEntry {
        lineage { columnName columnDeps { columnName assetKey { path } } }
      }
    }
  }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    jobs { name }
    schedules { name cronSchedule executionTimezone scheduleState { status } }
    sensors { name sensorState { status } }
  } } }
}"""


def test_it_starts_without_settings_shows_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with dagster_dev(home) as dagster:
        shown = dagster.ask(SHOWN)
        assert_tables_are_described({"/".join(node["assetKey"]["path"]): node for node in shown["assetNodes"]})
        (repository,) = shown["repositoriesOrError"]["nodes"]
        assert_it_runs_by_itself(repository)
        wait_for("sensors tick", lambda: "new runs for sensor: automation" in dagster.log(), 90)
        wait_for("landing is looked at", lambda: "landing_files skipped: no files wait" in dagster.log(), 60)
        assert dagster.complaints() == []
        dagster.stop()
        assert "Dagster services shut down." in dagster.log()
        wait_for("every process ends", lambda: not processes_of(home), CODE_SERVER_SECONDS)
        (folder,) = re.findall(r"Using temporary directory (\S+)", dagster.log())
        assert not Path(folder).exists()


CONDITIONS = (
    "an input day was written, or a failed day may do better",
    "an input day was written, its day has begun, or a failed day may do better",
)


def assert_tables_are_described(shown: dict[str, dict[str, Any]]) -> None:
    """Against the contracts: the lineage page reads like documentation."""
    declared = every_table()
    assert shown.keys() == declared.keys()
    for key, table in declared.items():
        node = shown[key]
        entries = {entry["label"]: entry for entry in node["metadataEntries"]}
        assert node["description"] == table.table_description()
        assert node["groupName"] == key.split("/")[0]
        assert {"deltalake", table.kind} == set(node["kinds"])
        assert [owner.get("team") or owner.get("email") for owner in node["owners"]] == [table.owner.split(":")[-1]]
        assert {"domain", "partitioned"} <= {tag["key"] for tag in node["tags"]}
        assert node["isPartitioned"] == (table.partition is not None)
        assert node["internalFreshnessPolicy"] is None, "its badge is green after any backfill"
        columns = entries["dagster/column_schema"]["schema"]["columns"]
        assert [column["name"] for column in columns] == list(table.columns)
        assert all(len(column["description"]) > 5 for column in columns), key
        assert {c["name"]: c["constraints"]["nullable"] for c in columns} == {
            name: column.nullable for name, column in table.columns.items()
        }
        if key.split("/")[0] not in ("raw", "quality") and not table.journal:
            assert node["automationCondition"]["label"] in CONDITIONS, key
            assert_origins_exist(key, entries["dagster/column_lineage"]["lineage"])
    assert any(table.fresh for table in declared.values())


def assert_origins_exist(key: str, lineage: list[dict[str, Any]]) -> None:
    """Every origin named is a real column of a real table, and most columns of a table have one."""
    declared = every_table()
    for one in lineage:
        assert one["columnName"] in declared[key].columns
        for origin in one["columnDeps"]:
            assert origin["columnName"] in declared["/".join(origin["assetKey"]["path"])].columns
    traced = {one["columnName"] for one in lineage if one["columnDeps"]}
    if key != OnlinePlayerFeatures.key:  # whose key is the name of a table
        assert set(declared[key].primary_key) & traced, f"{key}: no column of the key comes from anywhere"
    if key == PlayerChurnFeatures.key:
        assert traced == set(PlayerChurnFeatures.columns)


def assert_it_runs_by_itself(repository: dict[str, Any]) -> None:
    assert {"ingest_landing_files", "daily_tables", "hourly_metrics"} <= {job["name"] for job in repository["jobs"]}
    schedules = {s["name"]: s for s in repository["schedules"]}
    assert {name: (s["cronSchedule"], s["executionTimezone"]) for name, s in schedules.items()} == {
        "daily_tables_at_two": ("0 2 * * *", "UTC"),
        "hourly_metrics_on_the_hour": ("0 * * * *", "UTC"),
        "freshness_every_five_minutes": ("*/5 * * * *", "UTC"),
        "daily_report_after_midnight": ("20 0 * * *", "UTC"),
        "lake_maintenance_at_three": ("0 3 * * *", "UTC"),
        "landing_maintenance_on_sunday": ("0 4 * * 0", "UTC"),
        "run_maintenance_on_sunday": ("30 4 * * 0", "UTC"),
        "scrub_lake_on_sunday": ("0 5 * * 0", "UTC"),
        "served_features_every_quarter": ("*/15 * * * *", "UTC"),
        "feature_drift_after_two": ("30 2 * * *", "UTC"),
        "churn_model_on_the_sixteenth": ("0 4 16 * *", "UTC"),
        "alert_summary_at_eight": ("0 8 * * *", "UTC"),
    }
    assert {s["scheduleState"]["status"] for s in schedules.values()} == {"RUNNING"}
    sensors = {s["name"]: s["sensorState"]["status"] for s in repository["sensors"]}
    assert sensors == {"landing_files": "RUNNING", "automation": "RUNNING", "alerts": "RUNNING"}


# ---------------------------------------------------------------------------- long runs
def events(name: str, day: dt.date, count: int) -> list[dict[str, Any]]:
    return [event(event_id=f"{name}-{n}", timestamp=f"{day}T10:00:{n:02d}Z") for n in range(count)]


def total_events(home: Home, day: dt.date) -> list[int]:
    """Of each player in the churn features of a day."""
    if not home.lake.exists(PlayerChurnFeatures):
        return []
    return list(home.lake.scan(PlayerChurnFeatures, day, day).collect()["total_events"])


def is_idle(dagster: RunningDagster) -> bool:
    """No run and no backfill is under way."""
    unfinished = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    with dagster.instance() as instance:
        backfills = [one for one in instance.get_backfills() if one.status.value in ("REQUESTED", "COMPLETING")]
        return not backfills and not instance.get_runs_count(dg.RunsFilter(statuses=unfinished))


def wait_until_quiet(dagster: RunningDagster, seconds: float = 300) -> None:
    """Idle, and still idle two ticks of the sensors later."""
    until = time.monotonic() + seconds
    while True:
        wait_for("idle", lambda: is_idle(dagster), max(1, until - time.monotonic()), every=2)
        time.sleep(25)
        if is_idle(dagster):
            return


def newest_event(dagster: RunningDagster) -> int:
    with dagster.instance() as instance:
        return int(instance.event_log_storage.get_maximum_record_id() or 0)


def every_table() -> dict[str, type[Table]]:
    import data_platform.definitions  # noqa: F401  # declares every contract

    return contracts()


def stale(dagster: RunningDagster) -> dict[str, list[str]]:
    """Days with an input that was written after them."""
    from data_platform.operations.staleness import stale_days

    with dagster.instance() as instance:
        return {t.key: days for t, days in stale_days(ThroughDagster(instance), every_table().values()).items() if days}


@pytest.mark.soak
def test_a_dropped_file_shows_up_in_the_features_and_each_day_is_computed_once(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    day = today() - dt.timedelta(3)
    with dagster_dev(home) as dagster:
        wait_for("sensors tick", lambda: "new runs for sensor: automation" in dagster.log(), 90)
        home.drop("first.ndjson", events("first", day, 5))
        dropped = time.monotonic()
        wait_for("the first file is in the features", lambda: total_events(home, today()) == [5], 300)
        print(f"\nfirst file: {time.monotonic() - dropped:.0f} s from drop to features")
        wait_until_quiet(dagster)

        before = newest_event(dagster)
        home.drop("late.ndjson", events("late", day, 7))
        dropped = time.monotonic()
        wait_for("the late file is in the features", lambda: total_events(home, today()) == [12], 300)
        print(f"late file: {time.monotonic() - dropped:.0f} s from drop to features")
        wait_until_quiet(dagster)

        with dagster.instance() as instance:
            data = {
                key: table for key, table in every_table().items() if table.table_group() != "quality"
            }  # by the clock
            written = {key: written_days(instance, table, before) for key, table in data.items()}
        days = [(day + dt.timedelta(n)).isoformat() for n in range(-60, 4)]
        once = {key: sorted(str(d) for d in found) for key, found in written.items() if found}
        assert max(times for found in written.values() for times in found.values()) == 1, "each day once"
        ledger = once.pop("raw/ingestion_ledger")
        assert len(ledger) == 1
        assert (
            once
            == {
                "raw/player_events": days[60:61],
                "clean/player_events": days[60:61],
                "clean/player_events_rejected": days[60:61],
                "clean/player_event_totals": days[60:61],
                "gameplay/player_session_days": days[60:61],
                "gameplay/player_daily_activity": days[60:61],
                "gameplay/campaign_metrics": days[60:61],
                "gameplay/event_windows": days[60:61],
                "gameplay/live_comparison": days[60:61],
                "gameplay/player_sessions": days[59:62],
                "gameplay/player_engagement_metrics": days[60:],
                "gameplay/player_retention": days[:61],
                "gameplay/daily_metrics": days[59:],
                "features/player_engagement_features": days[60:],
                "features/player_churn_features": days[60:],
                "commerce/fct_events": days[60:61],
                "commerce/fct_daily_active_users": days[60:],
                "commerce/mv_daily_metrics": days[60:61],
                "features/online_player_features": ["None"],  # a table without days
                "features/player_churn_features_history": days[63:64],  # what was known of the days that are over
                "features/player_engagement_features_history": days[63:64],
            }
        )
        assert stale(dagster) == {}, "no day was computed before its input was ready"
        assert dagster.complaints() == []


@pytest.mark.soak
def test_files_that_arrive_while_their_days_are_computed_are_not_lost(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    day = today() - dt.timedelta(1)
    with dagster_dev(home) as dagster:
        for number in range(6):
            home.drop(f"{number}.ndjson", events(str(number), day, 5))
            time.sleep(13)
        wait_for("all are in the features", lambda: total_events(home, today()) == [30], 400)
        wait_until_quiet(dagster)
        assert total_events(home, day) == [30]
        assert stale(dagster) == {}


@pytest.mark.soak
def test_a_killed_run_is_completed_by_what_comes_next(tmp_path: Path) -> None:
    """One worker is killed while it ingests, one while it computes."""
    home = Home(tmp_path / "home")
    days = [today() - dt.timedelta(n) for n in range(1, 15)]
    to_kill, killed = {"ingest_landing_files", "__ASSET_JOB"}, set[str]()
    with dagster_dev(home) as dagster:
        wait_for("sensors tick", lambda: "new runs for sensor: automation" in dagster.log(), 90)
        for day in days:
            home.drop(f"{day}.ndjson", events(str(day), day, 20))
        until = time.monotonic() + 240
        while killed != to_kill and time.monotonic() < until:
            for job, worker in workers_at_work(dagster).items():
                if job in to_kill - killed:  # others are the clock's, such as looks at freshness
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGKILL)
                        killed.add(job)
            time.sleep(0.1)
        assert killed == to_kill
        wait_for("everything is in the features", lambda: total_events(home, today()) == [20 * len(days)], 500)
        wait_until_quiet(dagster)
        assert stale(dagster) == {}
        raw = home.raw()
        assert len(raw) == raw["event_id"].n_unique() == 20 * len(days), "nothing lost, nothing twice"


def workers_at_work(dagster: RunningDagster) -> dict[str, int]:
    """Job → process of its worker, for runs that have begun their first step."""
    found: dict[str, int] = {}
    with dagster.instance() as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
                metadata = entry.dagster_event.event_specific_data.metadata if entry.dagster_event else {}
                if "pid" in metadata:
                    pid = int(str(metadata["pid"].value))
                    if psutil.pid_exists(pid):
                        found[run.job_name] = pid
    return found
