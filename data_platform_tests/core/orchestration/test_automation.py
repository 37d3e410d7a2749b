"""Automation requests exactly the days that depend on what was written, each once, and nothing else; schedules ask for
the right day. Evaluated on the real definitions, with writes reported to an instance in memory.
Not here: the daemon that evaluates them (test_daemon)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract.day_ranges import consecutive
from data_platform.core.contract.table import contracts
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.automation_runs import in_few_ranges
from data_platform.core.orchestration.partitions import daily
from data_platform.definitions import automation_sensor, defs
from data_platform_tests.support.homes import FIRST_DAY, instance_in

DAYS = 100
NOW = dt.datetime.combine(FIRST_DAY + dt.timedelta(DAYS - 1), dt.time(12), dt.UTC)
TODAY = DAYS - 1
MOST_HOPS = 4
WHOLE = None
"""Stands for a table without partitions."""

Window = tuple[int, int]
Expected = dict[str, set[int | None]]
EVER = DAYS

# Which days of each table depend on day X of a source, relative to X. Written down here by hand from what the tables
# mean, so that a wrong declaration is found: a session of day d needs d-1..d+1, a 30-day window ending with D needs
# D-29..D, a cohort of day d is looked at until d+60.
DEPENDENT: Mapping[str, Mapping[str, Window | None]] = {
    "raw/event_totals": {"clean/player_event_totals": (0, 0)},
    "raw/player_events": {
        "clean/player_events": (0, 0),
        "clean/player_events_rejected": (0, 0),
        "clean/player_event_totals": (0, 0),
        "gameplay/player_session_days": (0, 0),
        "gameplay/player_daily_activity": (0, 0),
        "gameplay/player_sessions": (-1, 1),
        "gameplay/player_engagement_metrics": (0, 6),
        "gameplay/campaign_metrics": (0, 0),
        "gameplay/event_windows": (0, 0),
        "gameplay/live_comparison": (0, 0),
        "gameplay/player_retention": (-60, 0),
        "gameplay/daily_metrics": (-1, 29),
        "features/player_engagement_features": (0, 29),
        "features/player_churn_features": (0, 29),
        "features/online_player_features": WHOLE,
        "commerce/fct_events": (0, 0),
        "commerce/fct_daily_active_users": (0, 29),
        "commerce/mv_daily_metrics": (0, 0),
    },
    "raw/player_changes": {
        "clean/player_changes": (0, 0),
        "clean/players": WHOLE,
        "gameplay/player_retention": (0, EVER),
        "gameplay/daily_metrics": (0, EVER),
        "features/player_engagement_features": (0, EVER),
        "features/player_churn_features": (0, EVER),
        "features/online_player_features": WHOLE,
    },
    "raw/campaign_changes": {
        "clean/campaign_changes": (0, 0),
        "clean/campaigns": WHOLE,
        "gameplay/campaign_metrics": (0, EVER),
        "features/player_campaign_features": (0, EVER),
        "features/player_churn_features": (0, EVER),
        "features/online_player_features": WHOLE,
    },
    "raw/campaign_participant_changes": {
        "clean/campaign_participant_changes": (0, 0),
        "clean/campaign_participants": WHOLE,
        "gameplay/campaign_metrics": (0, 29),
        "features/player_campaign_features": (0, 29),
        "features/player_churn_features": (0, 29),
        "features/online_player_features": WHOLE,
    },
}


def expected_days(written: Mapping[str, Iterable[int]]) -> Expected:
    """Every dependent day that exists, from the table above alone."""
    expected: Expected = {}
    for source, days in written.items():
        for table, window in DEPENDENT[source].items():
            for day in days:
                if window is None:
                    expected.setdefault(table, set()).add(WHOLE)
                    continue
                found = range(max(0, day + window[0]), min(TODAY, day + window[1]) + 1)
                expected.setdefault(table, set()).update(found)
    return expected


@dataclass
class Platform:
    """The definitions with an instance; a requested day counts as computed right after its tick. Conditions of the
    tables in `looked_at` are evaluated, or of all: a tick of 99 takes 1.6 s of processor time, of 25 it takes 0.3."""

    instance: dg.DagsterInstance
    looked_at: dg.AssetSelection | None = None
    cursor: Any = None
    now: dt.datetime = NOW

    def write(self, table: str, days: Iterable[int | None]) -> None:
        with self.instance.event_log_storage.asset_events_together():
            for day in days:
                partition = None if day is None else (FIRST_DAY + dt.timedelta(day)).isoformat()
                self.instance.report_runless_asset_event(dg.AssetMaterialization(table.split("/"), partition=partition))

    def tick(self) -> Expected:
        """What one evaluation requests."""
        result = dg.evaluate_automation_conditions(
            defs=defs, instance=self.instance, asset_selection=self.looked_at, cursor=self.cursor,
            evaluation_time=self.now,
        )  # fmt: skip
        self.cursor = result.cursor
        requested: Expected = {}
        for key in defs.resolve_asset_graph().toposorted_asset_keys:
            if result.get_num_requested(key):
                requested["/".join(key.path)] = {_day(p) for p in result.get_requested_partitions(key)}
        return requested

    def settle(self) -> tuple[Counter[tuple[str, int | None]], int]:
        """Tick, with each request carried out, until quiet: how often each day was requested, and in how many ticks."""
        requests: Counter[tuple[str, int | None]] = Counter()
        for hop in range(MOST_HOPS + 1):
            requested = self.tick()
            if not requested:
                return requests, hop
            for table, days in requested.items():  # in the order of dependencies, as runs and backfills do
                requests.update((table, day) for day in days)
                self.write(table, sorted(days, key=lambda day: day or 0))
        raise AssertionError(f"still requesting after {MOST_HOPS} ticks: {requested}")


def _day(partition: str | None) -> int | None:
    return None if partition is None else (dt.date.fromisoformat(partition) - FIRST_DAY).days


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Platform]:
    """Nothing built, and every table looked at."""
    made = Platform(instance_in(tmp_path))
    yield made
    made.instance.dispose()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """What depends on DEPENDENT, built and quiet. Each test leaves it quiet."""
    tables = sorted({table for tables in DEPENDENT.values() for table in tables})
    made = Platform(
        instance_in(tmp_path_factory.mktemp("automation")), dg.AssetSelection.assets(*(t.split("/") for t in tables))
    )
    made.tick()
    for source in DEPENDENT:
        made.write(source, range(DAYS))
    requests, _ = made.settle()
    assert set(requests.values()) == {1}
    yield made
    made.instance.dispose()


def assert_requests(requests: Counter[tuple[str, int | None]], expected: Expected) -> None:
    """Exactly the expected days, each once."""
    found: Expected = {}
    for table, day in requests:
        found.setdefault(table, set()).add(day)
    wrong = {
        table: {
            "needlessly": sorted(found.get(table, set()) - expected.get(table, set()), key=str),
            "not": sorted(expected.get(table, set()) - found.get(table, set()), key=str),
        }
        for table in found.keys() | expected.keys()
        if found.get(table) != expected.get(table)
    }
    assert not wrong
    again = {(table, day): times for (table, day), times in requests.items() if times > 1 and day is not WHOLE}
    assert again == {}, "computed more than once"


def test_every_computed_table_has_expectations() -> None:
    graph = defs.resolve_asset_graph()
    automated = {"/".join(key.path) for key in graph.get_all_asset_keys() if graph.get(key).automation_condition}
    expected = {table for tables in DEPENDENT.values() for table in tables}
    # What follows from the sources of other domains is told in tests of theirs; the skew follows the served log.
    domains = ("team:commerce", "team:finance", "team:research")
    others = {key for key in automated if contracts()[key].owner in domains} | {"quality/serving_skew"}
    assert automated - others == expected - others
    assert expected <= automated
    sources = {"/".join(key.path) for key in graph.root_materializable_asset_keys}
    assert DEPENDENT.keys() <= sources


@pytest.mark.parametrize("day", [0, 1, 62, TODAY - 1, TODAY])
def test_a_written_day_of_events_requests_its_dependent_days(platform: Platform, day: int) -> None:
    platform.write("raw/player_events", [day])
    requests, hops = platform.settle()
    assert_requests(requests, expected_days({"raw/player_events": [day]}))
    assert hops <= 2, "the whole chain in one tick, so that one backfill orders it; what has no partitions follows"


@pytest.mark.parametrize("source", [source for source in DEPENDENT if source != "raw/player_events"])
@pytest.mark.parametrize("day", [0, 62, TODAY])
def test_a_written_day_of_changes_requests_its_dependent_days(platform: Platform, source: str, day: int) -> None:
    platform.write(source, [day])
    requests, hops = platform.settle()
    assert_requests(requests, expected_days({source: [day]}))
    assert hops <= 2, "tables without partitions follow a tick later"


def test_everything_at_once_is_computed_once_and_nothing_of_other_domains(fresh: Platform) -> None:
    fresh.tick()
    written = {source: [3, 40, 41, TODAY] for source in DEPENDENT}
    for again in range(2):
        for source, days in written.items():
            fresh.write(source, days)
        requests, hops = fresh.settle()
        assert_requests(requests, expected_days(written))
        assert hops <= 2, again


def test_days_written_twice_between_ticks_are_computed_once(platform: Platform) -> None:
    platform.write("raw/player_events", [50])
    platform.write("raw/player_events", [50])
    requests, _ = platform.settle()
    assert_requests(requests, expected_days({"raw/player_events": [50]}))


def test_a_day_written_again_after_its_dependents_is_computed_again(platform: Platform) -> None:
    for _ in range(2):
        platform.write("raw/player_events", [20])
        requests, _ = platform.settle()
        assert_requests(requests, expected_days({"raw/player_events": [20]}))


def test_an_input_written_between_the_same_ticks_as_its_dependents_is_not_lost(platform: Platform) -> None:
    """The input came last: its dependents were computed from what it held before."""
    platform.write("raw/player_events", [30])
    while requested := platform.tick():
        for table, days in requested.items():
            platform.write(table, sorted(days, key=lambda day: day or 0))
        if "features/player_churn_features" in requested:
            platform.write("clean/player_events", [30])
            break
    requests, _ = platform.settle()
    expected = expected_days({"raw/player_events": [30]})
    for unaffected in ("clean/player_events", "clean/player_events_rejected"):
        del expected[unaffected]
    assert_requests(requests, expected)


def test_a_failed_run_is_not_requested_on_every_tick(platform: Platform) -> None:
    platform.write("raw/player_events", [40])
    assert "clean/player_events" in platform.tick()
    assert [platform.tick() for _ in range(3)] == [{}, {}, {}], "nothing was written, nobody asked again"
    platform.write("raw/player_events", [40])
    requests, _ = platform.settle()
    assert_requests(requests, expected_days({"raw/player_events": [40]}))


def test_nothing_changed_requests_nothing(platform: Platform) -> None:
    for _ in range(3):
        assert platform.tick() == {}


def test_rejected_lines_and_the_ledger_request_nothing(fresh: Platform) -> None:
    fresh.tick()
    fresh.write("raw/player_events_rejected", [10])
    fresh.write("raw/ingestion_ledger", [TODAY])
    assert fresh.tick() == {}


def test_the_first_build_requests_every_day_of_every_table_once(fresh: Platform) -> None:
    assert fresh.tick() == {}
    written = {source: [0, 1, 2] for source in DEPENDENT}
    for source, days in written.items():
        fresh.write(source, days)
    requests, _ = fresh.settle()
    assert_requests(requests, expected_days(written))


def test_days_far_apart_of_a_history_with_gaps(fresh: Platform) -> None:
    """Days nothing was received for are no reason to wait, and are computed only where a window covers them."""
    fresh.tick()
    fresh.write("raw/player_events", [5, 90])
    requests, _ = fresh.settle()
    assert_requests(requests, expected_days({"raw/player_events": [5, 90]}))


def test_a_new_day_alone_requests_nothing(fresh: Platform) -> None:
    fresh.tick()
    fresh.write("raw/player_events", [TODAY])
    fresh.settle()
    fresh.now += dt.timedelta(days=1)
    assert fresh.tick() == {}, "the schedule at 02:00 computes days on which nothing arrives"


def test_a_new_day_has_its_prices_before_a_call_needs_them(fresh: Platform) -> None:
    """What was known before says what holds on it, so nothing that it needs is ever written again."""
    fresh.tick()
    fresh.write("raw/model_prices", [3])
    while requested := fresh.tick():
        for table, days in requested.items():
            fresh.write(table, days)
    fresh.now += dt.timedelta(days=1)
    assert fresh.tick() == {"metering/rate_cards": {TODAY + 1}}
    assert fresh.tick() == {}, "once"


# ---------------------------------------------------------------------------- days that lie apart
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
        first = request.tags.get("dagster/asset_partition_range_start", request.partition_key)
        last = request.tags.get("dagster/asset_partition_range_end", request.partition_key)
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


def test_what_is_not_connected_is_not_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    """A game without a shop: its players are counted by SQL models of the shop too, once there is one."""

    def asked(there: tuple[str, ...]) -> set[str]:
        monkeypatch.setattr(Lake, "exists", lambda _, table: table.key in there)
        with dg.DagsterInstance.ephemeral() as instance:
            cursor: str | None = None
            for written in (False, True):
                if written:
                    write(instance, "gameplay/player_daily_activity", day_of(3))
                context = dg.build_sensor_context(
                    instance=instance,
                    cursor=cursor,
                    repository_def=defs.get_repository_def(),
                    sensor_name=automation_sensor.name,
                )
                found = automation_sensor.evaluate_tick(context)
                cursor = found.cursor
        subsets = [r.asset_graph_subset for r in found.run_requests or () if r.asset_graph_subset]
        single = {key for r in found.run_requests or () for key in r.asset_selection or ()}
        return {"/".join(key.path) for key in {key for one in subsets for key in one.asset_keys} | single}

    game = asked(("raw/player_events",))
    assert "gameplay/daily_metrics" in game
    assert not {key for key in game if key.startswith("commerce/")}
    assert "commerce/fct_daily_active_users" in asked(("raw/player_events", "raw/order_changes"))


def test_few_days_that_lie_apart_are_requested_alone() -> None:
    days = daily().empty_subset().with_partition_keys([day_of(n) for n in (3, 9, 20)])
    assert in_few_ranges({dg.AssetKey(["clean", "player_events"]): days}, Lake("nowhere")) == {
        dg.AssetKey(["clean", "player_events"]): days
    }


def day_of(number: int) -> str:
    return str(FIRST_DAY + dt.timedelta(number))


def write(instance: dg.DagsterInstance, table: str, day: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(table.split("/"), partition=day))
