"""The worker reads, takes in and reports; what fails stops nothing else; killed or stopped, it loses and repeats
nothing. Not here: the rooms that read systems, segments."""

from __future__ import annotations

import datetime as dt
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_platform.cli.systems import tell_systems
from data_platform.core.contract.received import IngestionLedger
from data_platform.core.discovery import landing_sources
from data_platform.core.orchestration.checks import asset_key
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents
from data_platform.sources.connectors import ExternalTable, Section, StreamState, Ways
from data_platform.sources.ingestion_checks import BALANCE, POSITIONS
from data_platform.sources.landing_source import HEARTBEAT
from data_platform.sources.positions import discontinuities, held, positions
from data_platform.sources.segments import write_segment
from data_platform.sources.streams import KEEPS_UP, reading_assets, ways
from data_platform.sources.worker import reports as reports_module
from data_platform.sources.worker.process import Worker
from data_platform.sources.worker.reports import Reports
from data_platform.sources.worker.runless import RunlessEvents
from data_platform.sources.worker_state import section_states, worker_lives, worker_states
from data_platform_tests.support.homes import Home, line, verdicts

STREAM = "counter:one/numbers"
TABLE = ExternalTable(("counter", "numbers"), "counter", "player_events", "Numbers, counted.", most_lag=10)


class Counter:
    """Reads the numbers below `upto`, five at a time, into segments."""

    idle_seconds = 0.05

    def __init__(self, into: Ways, upto: int, fails: Callable[[], bool] = lambda: False) -> None:
        self.into, self.upto, self.fails = into, upto, fails

    def advance(self, stop: threading.Event) -> bool:
        if self.fails():
            raise ConnectionError("nobody answers")
        with held(self.into.folder("player_events"), STREAM) as mine:
            begin = self._position()
            if mine and begin < self.upto:
                end = min(self.upto, begin + 5)
                text = "".join(line(event_id=f"e-{number}") + "\n" for number in range(begin, end))
                write_segment(self.into.folder("player_events"), STREAM, begin, end, text.encode())
        return self._position() < self.upto

    def _position(self) -> int:
        found = positions(self.into.lake, self.into.folder("player_events")).get(STREAM)
        return found.end if found else 0

    def states(self) -> Sequence[StreamState]:
        at = self._position()
        return [StreamState("player_events", STREAM, at, self.upto - at, dt.datetime(2024, 1, 3, tzinfo=dt.UTC))]

    def close(self) -> None:
        pass


class CounterSection(Section):
    """A section whose system is a counter."""

    def __init__(self, name: str, connect: Callable[[Ways], Any]) -> None:
        super().__init__("counter", name, {})
        object.__setattr__(self, "_connect", connect)

    def external_tables(self) -> list[ExternalTable]:
        return [TABLE]

    def connect(self, into: Ways) -> Any:
        return self._connect(into)  # type: ignore[attr-defined]


@contextmanager
def at_work(home: Home, *sections: Section, opened: Callable[[], dg.DagsterInstance] | None = None) -> Iterator[Worker]:
    """A worker in a thread, stopped at the end."""
    sources = landing_sources()
    events = RunlessEvents(home.path / "worker" / "unreported", opened or (lambda: home.instance))
    reports = Reports(home.lake, sources, sections, events)
    worker = Worker(ways(home.lake, sources), sections, reports, home.path / "worker")
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def stored(home: Home) -> int:
    return sum(home.lake.rows(RawPlayerEvents).values()) if home.lake.exists(RawPlayerEvents) else 0


def ids(upto: int) -> list[str]:
    return sorted(f"e-{number}" for number in range(upto))


def test_what_is_read_is_taken_in_reported_and_judged(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports_module, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(reports_module, "STREAM_SECONDS", 0.1)
    with at_work(home, CounterSection("one", lambda into: Counter(into, 12))) as worker:
        until(lambda: stored(home) == 12)
        until(lambda: bool(verdicts(home.instance, IngestionLedger, POSITIONS)))
        folder = home.path / "worker"
        assert worker_lives(folder)
        until(lambda: bool(section_states(folder)["counter.one"].streams))
        (stream,) = section_states(folder)["counter.one"].streams
        assert (stream.stream, stream.position, stream.lag) == (STREAM, 12, 0)
        until(lambda: home.instance.get_latest_materialization_event(dg.AssetKey(TABLE.key)) is not None)
    assert not worker_lives(folder)
    assert worker_states(folder) == []
    assert sorted(home.raw()["event_id"]) == ids(12)
    assert (home.landing / "player_events" / HEARTBEAT).exists(), "read to the end: it is alive"
    told = home.instance.get_latest_materialization_event(asset_key(RawPlayerEvents))
    assert told is not None
    assert told.dagster_event is not None
    assert told.dagster_event.partition == "2024-01-03"
    assert verdicts(home.instance, IngestionLedger, BALANCE)[None].passed
    assert worker.state.lines == 12


def test_a_system_that_fails_is_reported_tried_again_and_stops_no_other(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    away = threading.Event()
    away.set()
    failing = CounterSection("one", lambda into: Counter(into, 7, away.is_set))
    with at_work(home, failing) as worker:
        home.drop("file.ndjson", [line(event_id="f-1")])
        until(lambda: stored(home) == 1)
        until(lambda: worker.state.sections["counter.one"].problem is not None)
        assert "nobody answers" in str(worker.state.sections["counter.one"].problem)
        until(lambda: section_states(home.path / "worker")["counter.one"].problem is not None)
        tell_systems()
        assert "counter.one: not read since" in capsys.readouterr().out
        away.clear()
        until(lambda: stored(home) == 8)
        until(lambda: worker.state.sections["counter.one"].problem is None)


def test_events_wait_for_a_dagster_that_is_away_and_reach_it_in_order(home: Home) -> None:
    away = threading.Event()
    away.set()

    def opened() -> dg.DagsterInstance:
        if away.is_set():
            raise ConnectionError("no Dagster")
        return home.instance

    with at_work(home, CounterSection("one", lambda into: Counter(into, 12)), opened=opened) as worker:
        until(lambda: stored(home) == 12)
        until(lambda: "no Dagster" in str(worker._reports.problem))
        assert home.instance.get_latest_materialization_event(asset_key(RawPlayerEvents)) is None
        away.clear()
        home.drop("file.ndjson", [line(event_id="f-1")])
        until(lambda: stored(home) == 13)
        until(lambda: worker._reports.problem is None)
    records = home.instance.fetch_materializations(asset_key(RawPlayerEvents), limit=100, ascending=True).records
    counts = [record.asset_materialization.metadata["dagster/partition_row_count"].value for record in records]  # type: ignore[union-attr]
    assert counts == sorted(counts)
    assert counts[-1] == 13
    assert not list((home.path / "worker" / "unreported").glob("*.json"))


def test_two_workers_and_a_run_share_the_work(home: Home) -> None:
    one, other = (CounterSection(name, lambda into: Counter(into, 200)) for name in ("one", "two"))
    with at_work(home, one), at_work(home, other):
        while stored(home) < 200:
            home.ingest()
    assert sorted(home.raw()["event_id"]) == ids(200)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()


def test_without_a_worker_a_run_reads_the_systems(home: Home) -> None:
    failing = CounterSection("two", lambda into: Counter(into, 1, lambda: True))
    reading = reading_assets([CounterSection("one", lambda into: Counter(into, 12))], landing_sources())
    assert reading is not None
    result = dg.materialize([reading], instance=home.instance, resources={"lake": _lake()})
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (KEEPS_UP, True)
    (told,) = result.asset_materializations_for_node("read_sources")
    assert told.metadata["lag"].value == 0
    home.ingest()
    assert sorted(home.raw()["event_id"]) == ids(12)
    stopped = reading_assets([failing], landing_sources())
    assert stopped is not None
    result = dg.materialize([stopped], instance=home.instance, resources={"lake": _lake()}, raise_on_error=False)
    assert not result.get_asset_check_evaluations()[0].passed


def _lake() -> Any:
    from data_platform.core.orchestration.io_manager import LakeResource

    return LakeResource()


def test_the_sensor_leaves_landing_to_a_worker_that_lives(home: Home) -> None:
    from data_platform.definitions import defs
    from data_platform.sources.worker_state import living

    home.drop("file.ndjson", [line(event_id="f-1")])
    time.sleep(2.1)  # settled
    with dg.build_sensor_context(instance=home.instance, definitions=defs) as context:
        sensor = defs.get_sensor_def("landing_files")
        with living(home.path / "worker"):
            assert isinstance(sensor(context), dg.SkipReason)
        assert isinstance(sensor(context), dg.SensorResult), "and takes over when it ends"


def test_a_stopped_worker_finishes_and_says_goodbye(home: Home) -> None:
    process = home.start("-m", "data_platform_tests.support.command", "worker")
    until(lambda: worker_lives(home.path / "worker"), 60)
    home.drop("file.ndjson", [line(event_id=f"e-{number}") for number in range(100)])
    until(lambda: stored(home) == 100)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert worker_states(home.path / "worker") == []
    assert not list((home.landing / "player_events" / "_plans").glob("*.json"))


def kill_again_and_again(home: Home, kills: int) -> None:
    """A writer that goes on, and workers that are killed at any moment: every event is there once."""
    folder = home.landing / "player_events"
    sent = 0
    for _ in range(kills):
        process = home.start("-m", "data_platform_tests.support.command", "worker")
        until(lambda: worker_lives(home.path / "worker"), 90)
        end = time.monotonic() + random.uniform(0.2, 2.0)
        while time.monotonic() < end:
            text = "".join(line(event_id=f"e-{number}") + "\n" for number in range(sent, sent + 20))
            write_segment(folder, STREAM, sent, sent + 20, text.encode())
            sent += 20
            time.sleep(0.02)
        process.kill()
        process.wait()
    home.ingest()
    assert sorted(home.raw()["event_id"]) == ids(sent)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()
    assert home.ledger()["received_lines"].sum() == sent


def test_a_killed_worker_loses_and_repeats_nothing(home: Home) -> None:
    kill_again_and_again(home, 2)


@pytest.mark.soak
def test_fifty_killed_workers_lose_and_repeat_nothing(home: Home) -> None:
    kill_again_and_again(home, 50)


def test_a_file_of_sources_is_read_with_its_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.core.errors import PlatformError
    from data_platform.sources import connectors

    monkeypatch.setattr(connectors, "kinds", lambda: ["counter"])
    path = tmp_path / "sources.toml"
    path.touch(mode=0o600)
    path.write_text('[counter.one]\nkey = "${COUNTER_KEY}"\n')
    with pytest.raises(PlatformError, match="COUNTER_KEY is not set"):
        connectors.sections(path)
    monkeypatch.setenv("COUNTER_KEY", "s3cret")
    assert connectors.sections(path) == [Section("counter", "one", {"key": "s3cret"})]
    path.write_text("[countr.one]\n")
    with pytest.raises(PlatformError, match="counter"):
        connectors.sections(path)
    path.write_text("counter = 1\n")
    with pytest.raises(PlatformError, match="has no name"):
        connectors.sections(path)
    path.write_text("[counter.one\n")
    with pytest.raises(PlatformError, match=r"sources\.toml cannot be read"):
        connectors.sections(path)


def test_a_table_knows_its_streams_also_where_names_meet() -> None:
    """A topic called like its section is no other topic's."""
    names = ("kafka:orders/orders/0", "kafka:orders/players/0", "http:orders", "postgres:shop/public.orders")
    streams = [StreamState("s", name, 1) for name in names]

    def of(*key: str, source: str = "s") -> list[str]:
        return [one.stream for one in ExternalTable(key, key[0], source, "").of(streams)]

    assert of("kafka", "orders", "orders") == ["kafka:orders/orders/0", "http:orders"]
    assert of("kafka", "orders", "players") == ["kafka:orders/players/0"]
    assert of("postgres", "shop", "public.orders") == ["postgres:shop/public.orders"]
    assert of("kafka", "orders", "players", source="t") == []
