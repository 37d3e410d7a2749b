"""Workers in long trouble: killed again and again while two race and tables are compacted beside them, a system that is
gone for ten minutes, a clock that jumps. Soak; the normal suite has the short ones (test_worker, kafka/test_trouble,
postgres/test_capture_faults).

SOAK_KILLS and SOAK_OUTAGE_SECONDS make them shorter or longer than 50 and 600."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Table
from data_platform.core.discovery import know_assets
from data_platform.core.lake.rewriting import compact
from data_platform.domains.commerce.contracts.sources import RawUserChanges
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents
from data_platform.sources.connectors import Section
from data_platform.sources.positions import discontinuities
from data_platform.sources.segments import write_segment
from data_platform.sources.worker.process import LONGEST_PAUSE, Worker
from data_platform.sources.worker_state import worker_states
from data_platform_tests.sources.worker.test_worker import (
    STREAM,
    Counter,
    CounterSection,
    at_work,
    ids,
    stored,
    until,
)
from data_platform_tests.support.brokers import noida
from data_platform_tests.support.captured_shop import TABLES, Shop
from data_platform_tests.support.homes import Home, kill, line
from data_platform_tests.support.http_server import free_port
from data_platform_tests.support.jumping_clock import JumpingClock
from data_platform_tests.support.source_database import connected, source_server

pytestmark = pytest.mark.soak
KILLS = int(os.environ.get("SOAK_KILLS", "50"))
OUTAGE_SECONDS = float(os.environ.get("SOAK_OUTAGE_SECONDS", "600"))
BACK_SECONDS = 1.5 * LONGEST_PAUSE + 60
"""A system that is back is read again after the longest pause, with its jitter, and the time that one attempt takes."""
WORKER = ("-m", "data_platform_tests.support.command", "worker")


# --------------------------------------------------------------------------------------------- kills
class Writer:
    """Twenty events every twenty milliseconds, in segments of one stream."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.sent = folder, 0

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        stop = threading.Event()

        def write() -> None:
            while not stop.wait(0.02):
                end = self.sent + 20
                text = "".join(line(event_id=f"e-{number}") + "\n" for number in range(self.sent, end))
                write_segment(self._folder, STREAM, self.sent, end, text.encode())
                self.sent = end

        with _running(write, stop):
            yield


@contextlib.contextmanager
def compacting(home: Home, *tables: type[Table]) -> Iterator[list[int]]:
    """Small files are merged all the time; how many in each round that merged some."""
    stop, merged = threading.Event(), list[int]()

    def merge() -> None:
        while not stop.wait(0.5):
            for table in tables:
                if home.lake.exists(table) and (files := compact(home.lake, table)):
                    merged.append(files)

    with _running(merge, stop):
        yield merged


@contextlib.contextmanager
def _running(act: object, stop: threading.Event) -> Iterator[None]:
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            act()  # type: ignore[operator]
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert not failed, failed


def test_two_workers_that_race_and_are_killed_beside_compaction_lose_and_repeat_nothing(home: Home) -> None:
    """One of two dies at a random moment of its life, a third of which is starting; the other goes on."""
    chance = random.Random(KILLS)
    writer = Writer(home.landing / "player_events")
    racing: list[subprocess.Popen[str]] = []
    with writer.writing(), compacting(home, RawPlayerEvents, IngestionLedger) as merged:
        begun = time.monotonic()
        racing = [home.start(*WORKER), home.start(*WORKER)]
        until(lambda: len(worker_states(home.path / "worker")) == 2, 120)
        starting = time.monotonic() - begun
        for number in range(KILLS):
            time.sleep(chance.uniform(0.0, 1.5 * starting))  # each of them lives for two of these
            assert racing[number % 2].poll() is None, "it had ended by itself"
            kill(racing[number % 2])
            racing[number % 2] = home.start(*WORKER)
        until(lambda: bool(worker_states(home.path / "worker")), 120)
    for process in racing:
        kill(process)
    home.ingest()
    assert sorted(home.raw()["event_id"]) == ids(writer.sent)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()
    assert home.ledger()["received_lines"].sum() == writer.sent
    assert merged, "nothing was ever merged beside them"
    print(f"\n{KILLS} kills, {writer.sent:,} events, {len(home.ledger()):,} segments, {len(merged)} merges")


# ------------------------------------------------------------------------------------------- outages
def test_a_broker_that_is_gone_for_long_is_told_and_read_again_by_itself(home: Home, tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "broker"
    with contextlib.ExitStack() as first:
        broker = first.enter_context(noida(folder, port))
        topic = broker.topic()
        broker.send(topic, [line(event_id=f"e-{number}") for number in range(50)])
        options = {"bootstrap": broker.bootstrap, "topics": {topic: "player_events"}, "gather_seconds": 0.2}
        with at_work(home, Section("kafka", "test", options)) as worker:
            until(lambda: stored(home) == 50)
            first.close()
            stay_away(home, worker, "kafka.test")
            assert stored(home) == 51
            with noida(folder, port) as again:
                again.send(topic, [line(event_id=f"e-{number}") for number in range(50, 100)])
                until(lambda: stored(home) == 101, BACK_SECONDS)
                until(lambda: worker.state.sections["kafka.test"].problem is None)
    assert sorted(home.raw()["event_id"]) == sorted([*ids(100), "f-1"])
    assert discontinuities(home.ledger().lazy()).collect().is_empty()


def test_a_database_that_is_gone_for_long_is_told_and_captured_again_by_itself(home: Home) -> None:
    with source_server() as server, server.database() as dsn:
        if server.own is None:
            pytest.skip("somebody else's server is not stopped")
        with connected(dsn) as admin:
            admin.execute(TABLES)
            admin.execute("insert into users (user_id) select generate_series(1, 50)")
        shop = Shop(dsn, home)
        with at_work(home, Section("postgres", "shop", shop.options)) as worker:
            until(lambda: received(home) == 50, 60)
            server.stop()
            try:
                stay_away(home, worker, "postgres.shop")
            finally:
                server.start()
            shop.db.execute("insert into users (user_id) select generate_series(51, 100)")
            until(lambda: received(home) == 100, BACK_SECONDS)
            until(lambda: worker.state.sections["postgres.shop"].problem is None)
        assert shop.users_in_lake() == shop.users_in_database()
        assert shop.gaps() == []
        assert len(shop.user_changes()) == 100, "each once"
        shop.close()


def stay_away(home: Home, worker: Worker, title: str) -> None:
    """It is told since when it cannot be read, and what else lands is taken in meanwhile."""
    over = time.monotonic() + OUTAGE_SECONDS
    until(lambda: worker.state.sections[title].problem is not None, 120)
    since = worker.state.sections[title].problem_since
    home.drop("file.ndjson", [line(event_id="f-1")])
    until(lambda: stored(home) % 50 == 1, 60)
    while time.monotonic() < over:
        time.sleep(1)
    assert worker.state.sections[title].problem is not None
    assert worker.state.sections[title].problem_since == since


def received(home: Home) -> int:
    return sum(home.lake.rows(RawUserChanges).values()) if home.lake.exists(RawUserChanges) else 0


# --------------------------------------------------------------------------------------------- clock
def test_a_clock_that_jumps_ahead_and_back_costs_nothing(home: Home) -> None:
    """What Python reads of the clock; files keep the times of the disk's, as if another machine had written them."""
    know_assets()  # what declares columns is to see the real class of moments
    folder, upto = home.landing / "player_events", [0]
    folder.mkdir(parents=True)

    class Growing(Counter):
        def advance(self, stop: threading.Event) -> bool:
            self.upto = upto[0]
            return super().advance(stop)

    jumps = (dt.timedelta(0), dt.timedelta(hours=3), dt.timedelta(days=-2), dt.timedelta(seconds=-1), dt.timedelta(0))
    with JumpingClock() as clock, at_work(home, CounterSection("one", lambda into: Growing(into, 0))) as worker:
        for number, jump in enumerate(jumps, 1):
            clock.jump_to(jump)
            upto[0] += 20
            (folder / f"{number}.ndjson").write_text(line(event_id=f"f-{number}") + "\n")
            until(lambda number=number: stored(home) == 21 * number, 60)  # type: ignore[misc]
            assert worker.state.sections["counter.one"].problem is None
            assert worker.state.ingestion_problem is None
    names = [*ids(20 * len(jumps)), *(f"f-{number}" for number in range(1, len(jumps) + 1))]
    assert sorted(home.raw()["event_id"]) == sorted(names)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()
    days = home.raw()["received_at"].dt.date().n_unique()
    assert days >= 2, "the platform read the clock that jumped"
