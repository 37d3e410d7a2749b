"""Many processes at once: writers of different days never fail, writers of one day leave one version, readers are never
blocked and never see half a write, and two ingestions take in everything once. Not here: crashes (test_kill)."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import time
from collections.abc import Callable, Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_platform.core.discovery import landing_sources
from data_platform.core.lake.commits import Position
from data_platform.core.lake.store import Lake, StaleWriter
from data_platform.domains.gameplay.contracts.activity import PlayerRetention
from data_platform.domains.gameplay.contracts.registry import PlayerChanges
from data_platform.sources.ingestion import ingest_waiting
from data_platform_tests.support.homes import FIRST_DAY, Home, line

SPAWN = multiprocessing.get_context("spawn")
ROWS = 200
TABLE = PlayerChanges
"""Any daily table; `username` carries which write a row comes from."""


def day_of(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(number)


def version_of_a_day(day: dt.date, writer: int, number: int, rows: int = ROWS) -> pl.DataFrame:
    """The whole content of one day as one write leaves it: each row says which write it is of, and of how many."""
    moment = dt.datetime.combine(day, dt.time(), dt.UTC)
    return (
        pl.DataFrame({"player_id": [f"{writer}-{number}-{row}" for row in range(rows)]})
        .with_columns(
            change_date=pl.lit(day),
            operation=pl.lit("insert"),
            changed_at=pl.lit(moment).cast(pl.Datetime("us", "UTC")),
            username=pl.lit(f"{writer}-{number}"),
            country=pl.lit(str(rows)),
            **{name: pl.lit(None) for name in ("email", "platform", "subscription_tier", "registered_at")},
        )
        .select(pl.col(name).cast(dtype) for name, dtype in TABLE.schema().items())
    )


def in_processes(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run the work in one process per tuple, all starting together; returns them started."""
    barrier = SPAWN.Barrier(len(arguments))
    processes = [SPAWN.Process(target=work, args=(barrier, *given)) for given in arguments]
    for process in processes:
        process.start()
        process.barrier = barrier  # type: ignore[attr-defined]  # must outlive the start of the last process
    return processes


def succeeded(processes: list[Any]) -> None:
    for process in processes:
        process.join(120)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * len(processes)


def replace_own_days(
    barrier: Barrier, root: str, writer: int, writers: int, writes: int, options: Mapping[str, str] | None = None
) -> None:
    """Replace the days writer, writer + writers, ... again and again; sometimes two at once, sometimes with nothing."""
    lake = Lake(root, options)
    barrier.wait(60)
    for number in range(writes):
        days = [day_of(writer + writers * (number % 3))]
        if number % 4 == 3:
            days.append(day_of(writer + writers * 3))
        frame = pl.concat(version_of_a_day(day, writer, number, ROWS + number) for day in days)
        lake.replace(TABLE, frame.clear() if number == 5 else frame, days)


def replace_the_same_days(barrier: Barrier, root: str, writer: int, days: int) -> None:
    """Day after day, each time at the same moment as the other writer: the day is empty, then held by either."""
    lake = Lake(root)
    for number in range(days):
        for attempt in range(2):
            barrier.wait(60)
            frame = version_of_a_day(day_of(number), writer, attempt, ROWS + writer)
            lake.replace(TABLE, frame, [day_of(number)])


def create(barrier: Barrier, root: str, writer: int) -> None:
    lake = Lake(root)
    barrier.wait(60)
    lake.ensure(TABLE)
    lake.ensure(PlayerRetention)
    lake.replace(TABLE, version_of_a_day(day_of(writer), writer, 0), [day_of(writer)])


def move_position(barrier: Barrier, root: str, writer: int, moves: int) -> None:
    """Append one row per move of a shared position; whoever comes second must notice."""
    lake = Lake(root)
    barrier.wait(60)
    for number in range(moves):
        while True:
            old = lake.position(TABLE, "source")
            staged = lake.stage(TABLE, version_of_a_day(day_of(0), writer, number, 1))
            try:
                lake.commit(TABLE, staged, position=Position("source", old, (old or 0) + 1))
            except StaleWriter:
                continue
            break


def ingest(barrier: Barrier, home: str) -> None:
    barrier.wait(60)
    ingest_waiting(landing_sources(), Lake(f"{home}/lake"), Path(home) / "landing")


def assert_untorn(seen: pl.DataFrame) -> None:
    """Each day's rows come from one write, and all of it is there."""
    writes = seen.group_by("change_date").agg(
        writes=pl.col("username").n_unique(), rows=pl.len(), declared=pl.col("country").first().cast(pl.Int64)
    )
    assert writes.filter(pl.col("writes") != 1).is_empty(), writes
    assert writes.filter(pl.col("rows") != pl.col("declared")).is_empty(), writes


def assert_nothing_lost(lake: Lake, writers: int, writes: int) -> None:
    """What `replace_own_days` must have left behind."""
    rows = lake.scan(TABLE).collect()
    assert_untorn(rows)
    expected = {}
    for writer in range(writers):
        for number in range(writes):
            days = [day_of(writer + writers * (number % 3))] + ([day_of(writer + writers * 3)] * (number % 4 == 3))
            for day in days:
                expected[day] = f"{writer}-{number}"
    final = dict(rows.select("change_date", "username").unique().iter_rows())
    assert final == expected, "the last write of every day, and nothing else"
    assert lake.version(TABLE) == writers * writes, "one commit per write, one for the creation"


def test_four_writers_of_different_days_and_a_reader(home: Home) -> None:
    writers, writes = 4, 12
    processes = in_processes(replace_own_days, [(home.lake.root, writer, writers, writes) for writer in range(writers)])
    slowest, reads = 0.0, 0
    while any(process.is_alive() for process in processes):
        began = time.perf_counter()
        assert_untorn(home.rows(TABLE))
        slowest, reads = max(slowest, time.perf_counter() - began), reads + 1
    succeeded(processes)
    assert reads > 5
    assert slowest < 20, "a reader waited for writers"
    assert_nothing_lost(home.lake, writers, writes)


def test_two_writers_of_the_same_day_leave_one_version(home: Home) -> None:
    """Also of a day that was empty: nothing is removed then, only the version both started from tells of the other."""
    days = 12
    processes = in_processes(replace_the_same_days, [(home.lake.root, writer, days) for writer in range(2)])
    while any(process.is_alive() for process in processes):
        assert_untorn(home.rows(TABLE))
    succeeded(processes)
    seen = home.rows(TABLE)
    assert_untorn(seen)
    assert seen["change_date"].n_unique() == days
    assert set(seen["username"]) <= {"0-1", "1-1"}


def test_a_scan_keeps_what_it_started_with(home: Home) -> None:
    home.lake.replace(TABLE, version_of_a_day(day_of(0), 0, 0), [day_of(0)])
    scan = home.lake.scan(TABLE)
    home.lake.replace(TABLE, version_of_a_day(day_of(0), 0, 1), [day_of(0)])
    assert scan.collect()["username"].unique().to_list() == ["0-0"]
    assert home.rows(TABLE)["username"].unique().to_list() == ["0-1"]


def test_tables_created_by_four_processes_at_once(home: Home) -> None:
    succeeded(in_processes(create, [(home.lake.root, writer) for writer in range(4)]))
    assert sorted(home.rows(TABLE)["username"].unique()) == ["0-0", "1-0", "2-0", "3-0"]
    assert home.lake.version(TABLE) == 4
    assert home.lake.version(PlayerRetention) == 0, "created once"


def test_a_position_is_moved_by_one_writer_at_a_time(home: Home) -> None:
    writers, moves = 3, 6
    succeeded(in_processes(move_position, [(home.lake.root, writer, moves) for writer in range(writers)]))
    assert home.lake.position(TABLE, "source") == writers * moves
    assert len(home.rows(TABLE)) == writers * moves


def test_a_second_writer_at_the_same_position_is_refused(home: Home) -> None:
    staged = home.lake.stage(TABLE, version_of_a_day(day_of(0), 0, 0))
    home.lake.commit(TABLE, staged, position=Position("source", None, 1))
    again = home.lake.stage(TABLE, version_of_a_day(day_of(0), 0, 0))
    with pytest.raises(StaleWriter):
        home.lake.commit(TABLE, again, position=Position("source", None, 1))
    assert len(home.rows(TABLE)) == ROWS


def test_two_ingestions_at_once_take_in_everything_once(home: Home) -> None:
    for number in range(12):
        home.drop(f"{number}.ndjson", [line(event_id=f"{number}-{n}") for n in range(20)] + [f"broken {number}"])
    succeeded(in_processes(ingest, [(str(home.path),)] * 3))
    assert sorted(home.raw()["event_id"]) == sorted(f"{number}-{n}" for number in range(12) for n in range(20))
    assert sorted(home.rejected()["line"]) == sorted(f"broken {number}" for number in range(12))
    assert len(home.ledger()) == 12


def test_files_that_arrive_during_ingestion_are_taken_in_once(home: Home) -> None:
    """A writer that appears under its final name by a rename is never seen half-written."""
    processes = in_processes(ingest, [(str(home.path),)] * 2)
    for number in range(20):
        hidden = home.drop(f".{number}.ndjson", [line(event_id=f"{number}-{n}") for n in range(20)])
        hidden.rename(hidden.with_name(f"{number}.ndjson"))
        time.sleep(0.05)
    succeeded(processes)
    home.ingest()
    assert sorted(home.raw()["event_id"]) == sorted(f"{number}-{n}" for number in range(20) for n in range(20))


@pytest.mark.soak
def test_eight_writers_for_long(home: Home) -> None:
    processes = in_processes(replace_own_days, [(home.lake.root, writer, 8, 150) for writer in range(8)])
    while any(process.is_alive() for process in processes):
        assert_untorn(home.rows(TABLE))
    succeeded(processes)
    assert home.lake.version(TABLE) == 8 * 150
