"""A backfill of 60 days of the feature tables, launched as the UI does it: few runs, and for every single day rows and
verdicts, as the UI shows them. Not here: what the features are."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_platform.core.contract.table import Table
from data_platform.core.quality.check_groups import check_groups
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.features import PlayerCampaignFeatures, PlayerEngagementFeatures
from data_platform.simulation import simulate
from data_platform_tests.support.homes import Home
from data_platform_tests.support.running import RunningDagster, dagster_dev, today, wait_for

DAYS = 60
MOST_RUNS = 4
TABLES: tuple[type[Table], ...] = (PlayerEngagementFeatures, PlayerCampaignFeatures, PlayerChurnFeatures)
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
    ... on PartitionKeysNotFoundError { message }
    ... on InvalidSubsetError { message }
  }
}"""
BACKFILL = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status runs(limit: 100) { id status } error { message } }
    ... on PythonError { message }
  }
}"""
MATERIALISATIONS = """
query Materialisations($key: AssetKeyInput!, $days: [String!]) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetChecksOrError { ... on AssetChecks { checks { name } } }
      latestMaterializationByPartition(partitions: $days) {
        partition runId
        metadataEntries { label ... on IntMetadataEntry { intValue } }
      }
      assetPartitionStatuses {
        ... on TimePartitionStatuses { ranges { startKey endKey status } }
      }
    }
  }
}"""
CHECK = """
query Check($key: AssetKeyInput!, $name: String!, $limit: Int!) {
  assetCheckExecutions(assetKey: $key, checkName: $name, limit: $limit) {
    runId partition status
    evaluation {
      partition success targetMaterialization { runId }
      metadataEntries { label ... on IntMetadataEntry { intValue } }
    }
  }
}"""


@pytest.mark.soak
def test_sixty_days_from_the_ui_are_few_runs_with_rows_and_verdicts_for_every_day(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    first_day = today() - dt.timedelta(DAYS + 5)
    simulate(40, DAYS + 5, 3, first_day, home.landing, False)
    subprocess.run(
        [str(Path(sys.executable).with_name("data-platform")), "build"],
        env=home.environment(DATA_PLATFORM_FIRST_DAY=first_day.isoformat()),
        check=True,
        capture_output=True,
        timeout=600,
    )
    days = [(first_day + dt.timedelta(n)).isoformat() for n in range(5, DAYS + 5)]
    with dagster_dev(home, DATA_PLATFORM_FIRST_DAY=first_day.isoformat()) as dagster:
        began = time.monotonic()
        backfill = launch(dagster, days)
        finished = wait_for("the backfill ends", lambda: ended(dagster, backfill), 300, every=2)
        seconds = time.monotonic() - began
        assert finished["status"] == "COMPLETED_SUCCESS", finished
        runs = {run["id"] for run in finished["runs"]}
        assert {run["status"] for run in finished["runs"]} == {"SUCCESS"}
        assert len(runs) <= MOST_RUNS
        print(f"\n{DAYS} days of {len(TABLES)} feature tables: {len(runs)} runs, {seconds:.0f} s from launch to green")
        for table in TABLES:
            assert_every_day_has_rows_and_verdicts(dagster, home, table, days, runs)


def launch(dagster: RunningDagster, days: list[str]) -> str:
    selection = [{"path": table.key.split("/")} for table in TABLES]
    answer = dagster.ask(LAUNCH, params={"assetSelection": selection, "partitionNames": days, "title": "60 days"})
    launched = answer["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def ended(dagster: RunningDagster, backfill: str) -> dict[str, Any] | None:
    found = dict(dagster.ask(BACKFILL, id=backfill)["partitionBackfillOrError"])
    return None if found["status"] in ("REQUESTED", "COMPLETING") else found


def assert_every_day_has_rows_and_verdicts(
    dagster: RunningDagster, home: Home, table: type[Table], days: list[str], runs: set[str]
) -> None:
    key = {"path": table.key.split("/")}
    asset = dagster.ask(MATERIALISATIONS, key=key, days=days)["assetNodeOrError"]
    stored = dict(home.lake.partitions(table).select("partition", "rows").iter_rows())
    shown = {
        one["partition"]: {entry["label"]: entry.get("intValue") for entry in one["metadataEntries"]}
        for one in asset["latestMaterializationByPartition"]
    }
    assert {one["runId"] for one in asset["latestMaterializationByPartition"]} <= runs, "written by the backfill"
    assert {day: one["dagster/partition_row_count"] for day, one in shown.items()} == {d: stored[d] for d in days}
    assert all(one["size_bytes"] for one in shown.values())
    ranges = asset["assetPartitionStatuses"]["ranges"]
    assert {one["status"] for one in ranges} == {"MATERIALIZED"}

    checks = [check["name"] for check in asset["assetChecksOrError"]["checks"]]
    assert set(checks) == {group.name for group in check_groups(table)}
    for name in checks:
        executions = dagster.ask(CHECK, key=key, name=name, limit=2000)["assetCheckExecutions"]
        ours = [one for one in executions if one["runId"] in runs and one["partition"] is not None]
        assert Counter(one["partition"] for one in ours) == dict.fromkeys(days, 1), (
            f"{table.key} {name}: one verdict a day"
        )
        assert {one["status"] for one in ours} == {"SUCCEEDED"}, "not one skipped or left open"
        for one in ours:
            judged = one["evaluation"]
            assert judged["success"]
            assert judged["partition"] == one["partition"]
            assert judged["targetMaterialization"]["runId"] in runs
            metadata = {entry["label"]: entry.get("intValue") for entry in judged["metadataEntries"]}
            assert metadata["rows"] == stored[one["partition"]]
