"""The runs that become of requested days: few ranges, at once, each after what it needs, of what is connected. Ticks of
the real sensor, with writes reported to an instance in memory.
Not here: which days are requested (test_automation), running them (test_scattered_days, test_daemon)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract.day_ranges import consecutive
from data_platform.core.instance.materialisations import RANGE_END, RANGE_START
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.automation_runs import in_few_ranges
from data_platform.core.orchestration.partitions import daily
from data_platform.definitions import automation_sensor, defs
from data_platform_tests.support.homes import FIRST_DAY, instance_in


class Ticks:
    """Ticks of the sensor itself; what they ask for is written right away, a backfill's tables in their order."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.cursor, self.backfills = instance, None, 0
        self.order = list(defs.resolve_asset_graph().toposorted_asset_keys)

    def tick(self) -> list[dict[dg.AssetKey, list[str]]]:
        """The days of each table of each run; of a table without days, none."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=defs.get_repository_def(),
            sensor_name=automation_sensor.name,
        )
        found = automation_sensor.evaluate_tick(context)
        self.cursor = found.cursor
        return [self._days(request) for request in found.run_requests or ()]

    def _days(self, request: dg.RunRequest) -> dict[dg.AssetKey, list[str]]:
        if asked := request.asset_graph_subset:
            self.backfills += 1
            days = {key: sorted(s.get_partition_keys()) for key, s in asked.partitions_subsets_by_asset_key.items()}
            return days | {key: [] for key in asked.non_partitioned_asset_keys}
        first = request.tags.get(RANGE_START, request.partition_key)
        last = request.tags.get(RANGE_END, request.partition_key)
        days_of_all = daily().get_partition_keys_in_range(dg.PartitionKeyRange(first, last)) if first and last else []
        return {key: list(days_of_all) for key in request.asset_selection or ()}

    def settle(self) -> list[dict[dg.AssetKey, list[str]]]:
        """What is asked for until nothing is."""
        asked: list[dict[dg.AssetKey, list[str]]] = []
        for _ in range(20):
            runs = self.tick()
            if not runs:
                return asked
            self.write(runs)
            asked += runs
        raise AssertionError("it does not settle")

    def write(self, runs: Iterable[dict[dg.AssetKey, list[str]]]) -> None:
        with self.instance.event_log_storage.asset_events_together():
            for run in runs:
                for key in sorted(run, key=self.order.index):
                    for day in run[key] or [None]:
                        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day))


@pytest.fixture
def ticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ticks]:
    """Every table is there, and empty."""
    monkeypatch.setattr(Lake, "exists", lambda *_: True)
    monkeypatch.setattr(Lake, "partitions", lambda *_: pl.DataFrame(schema={"partition": pl.String, "rows": pl.Int64}))
    with instance_in(tmp_path) as instance:
        found = Ticks(instance)
        found.tick()
        yield found


def test_days_that_lie_apart_are_requested_in_few_ranges_and_settle(ticks: Ticks) -> None:
    """Dagster starts a run for each range of each table: 12 days were 12 runs of every table without a window."""
    late = [*range(2, 60, 6), 95]
    for number in late:
        write(ticks.instance, "raw/player_events", day_of(number))
    first = ticks.tick()
    clean = {day for run in first for day in run.get(dg.AssetKey(["clean", "player_events"]), ())}
    assert clean == {day_of(n) for n in [*range(2, 57), 95]}, "not over 38 days"
    ticks.write(first)
    second = ticks.tick()
    assert all(len(consecutive(days)) <= 2 for run in [*first, *second] for days in run.values())
    assert len(first) + len(second) <= 12
    asked = Counter((key, day) for run in [*first, *second] for key, days in run.items() for day in days)
    assert max(asked.values()) == 1, "what lies between is not requested again"


def test_an_event_of_today_starts_runs_at_once_each_after_what_it_needs(ticks: Ticks) -> None:
    """A backfill is looked after every 30 s and holds what it has finished: features waited up to 37 s for an event."""
    today = str(dt.datetime.now(dt.UTC).date())
    write(ticks.instance, "raw/player_events", today)
    asked = ticks.settle()
    assert ticks.backfills == 0
    graph = defs.resolve_asset_graph()
    features = dg.AssetKey(["features", "player_churn_features"])
    assert features in asked[0], "with all that it needs of this day, in the first run"
    reached = {key for run in asked for key in run}
    assert graph.get(dg.AssetKey(["gameplay", "player_retention"])).key in reached
    last_written: dict[dg.AssetKey, int] = {key: at for at, run in enumerate(asked) for key in run}
    late = [
        (key.to_user_string(), needed.to_user_string())
        for key in reached
        for needed in graph.get(key).parent_keys & reached - {key}
        if last_written[needed] > last_written[key]
    ]
    assert not late, "a table was last computed before one that it needs"


def test_what_is_not_connected_is_not_requested(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A game without a shop: its players are counted by SQL models of the shop too, once there is one."""

    def asked(*there: str) -> set[str]:
        monkeypatch.setattr(Lake, "exists", lambda _, table: table.key in there)
        write(ticks.instance, "gameplay/player_daily_activity", day_of(3))
        return {"/".join(key.path) for run in ticks.settle() for key in run}

    game = asked("raw/player_events")
    assert "gameplay/daily_metrics" in game
    assert not {key for key in game if key.startswith("commerce/")}
    assert "commerce/fct_daily_active_users" in asked("raw/player_events", "raw/order_changes")


def test_few_days_that_lie_apart_are_requested_alone() -> None:
    days = daily().empty_subset().with_partition_keys([day_of(n) for n in (3, 9, 20)])
    assert in_few_ranges({dg.AssetKey(["clean", "player_events"]): days}, Lake("nowhere")) == {
        dg.AssetKey(["clean", "player_events"]): days
    }


def day_of(number: int) -> str:
    return str(FIRST_DAY + dt.timedelta(number))


def write(instance: dg.DagsterInstance, table: str, day: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(table.split("/"), partition=day))
