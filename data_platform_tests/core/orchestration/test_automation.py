"""Automation requests exactly the days that depend on what was written, each once, and nothing else. Conditions of the
real definitions are evaluated, with writes reported to an instance in memory.
Not here: the runs that become of requests (test_automation_runs), the daemon that evaluates them (test_daemon)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_platform.core.contract.table import contracts
from data_platform.definitions import defs
from data_platform_tests.support.dependent_days import DEPENDENT, WHOLE
from data_platform_tests.support.homes import FIRST_DAY, TESTED_APART, instance_in

DAYS = 100
NOW = dt.datetime.combine(FIRST_DAY + dt.timedelta(DAYS - 1), dt.time(12), dt.UTC)
TODAY = DAYS - 1
MOST_HOPS = 4
Expected = dict[str, set[int | None]]


def expected_days(written: Mapping[str, Iterable[int]]) -> Expected:
    """Every dependent day that exists, from DEPENDENT alone."""
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
    others = {key for key in automated if contracts()[key].owner in TESTED_APART} | {"quality/serving_skew"}
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
