"""Segments seen as they appear: each once, in order, none left out, however fast they are put away.
Not here: what is counted of them (web/test_live_counting)."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from data_platform.sources import tail as tailing
from data_platform.sources.landing_files import INGESTED
from data_platform.sources.segments import read_segment, write_segment
from data_platform.sources.tail import Tail

LONG_AGO = 0.0


def segment(folder: Path, begin: int, end: int, stream: str = "s", generation: int = 0) -> Path:
    return write_segment(folder, stream, begin, end, b"{}\n" * (end - begin), generation=generation)


def put_away(path: Path, landing: Path, batch: int = 1) -> Path:
    """As ingestion does it."""
    (landing / INGESTED).mkdir(exist_ok=True)
    return path.rename(landing / INGESTED / f"{batch:08d}-0123456789ab-{path.name}")


def seen(paths: list[Path]) -> list[tuple[str, int, int, int]]:
    found = [read_segment(path) for path in paths]
    return [(one.stream, one.generation, one.begin, one.end) for one in found]


def test_segments_come_once_and_in_order_wherever_they_lie(tmp_path: Path) -> None:
    tail = Tail(tmp_path, LONG_AGO)
    assert tail.look() == []
    segment(tmp_path / "kafka", 10, 20)
    segment(tmp_path, 0, 10)
    segment(tmp_path, 7, 9, stream="other:1/x")
    segment(tmp_path, 0, 5, generation=1)
    (tmp_path / "plain.ndjson").write_text("{}\n")
    assert seen(tail.look()) == [("other:1/x", 0, 7, 9), ("s", 0, 0, 10), ("s", 0, 10, 20), ("s", 1, 0, 5)]
    assert tail.look() == []


def test_what_was_put_away_between_two_looks_is_found_by_name(tmp_path: Path) -> None:
    tail = Tail(tmp_path, LONG_AGO)
    segment(tmp_path, 0, 10)
    assert len(tail.look()) == 1
    put_away(segment(tmp_path, 10, 20), tmp_path)
    segment(tmp_path, 20, 30)
    assert seen(tail.look()) == [("s", 0, 10, 20), ("s", 0, 20, 30)]
    put_away(segment(tmp_path, 30, 40), tmp_path)  # nothing follows it
    found: list[Path] = []
    until = time.monotonic() + 5
    while not found and time.monotonic() < until:
        found = tail.look()
    assert seen(found) == [("s", 0, 30, 40)]
    assert (tail.look(), tail.missing()) == ([], 0)


def test_a_stream_that_is_new_is_read_from_its_first_segment(tmp_path: Path) -> None:
    tail = Tail(tmp_path, LONG_AGO)
    tail.look()
    tail._next_listing = time.monotonic() + 60  # a listing took long: the next is not due
    put_away(segment(tmp_path, 0, 10, stream="new"), tmp_path)
    segment(tmp_path, 10, 20, stream="new")
    assert seen(tail.look()) == [("new", 0, 0, 10), ("new", 0, 10, 20)]


def test_who_opens_a_segment_that_was_moved_is_told_where_it_is(tmp_path: Path) -> None:
    tail = Tail(tmp_path, LONG_AGO)
    path = segment(tmp_path, 0, 10)
    assert tail.look() == [path]
    moved = put_away(path, tmp_path)
    assert tail.moved(path) == moved
    moved.unlink()
    assert tail.moved(path) is None


def test_a_missing_stretch_is_waited_for_and_then_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = Tail(tmp_path, LONG_AGO)
    segment(tmp_path, 0, 10)
    tail.look()
    segment(tmp_path, 30, 40)
    assert (tail.look(), tail.missing()) == ([], 0)
    monkeypatch.setattr(tailing, "GAP_SECONDS", 0)
    assert seen(tail.look()) == [("s", 0, 30, 40)]
    assert tail.missing() == 1
    segment(tmp_path, 20, 30)  # part of it turns up after all
    assert seen(tail.look()) == [("s", 0, 20, 30)]
    assert tail.missing() == 1
    segment(tmp_path, 10, 20)
    assert seen(tail.look()) == [("s", 0, 10, 20)]
    assert (tail.missing(), tail.look()) == (0, [])


def test_what_is_older_than_asked_for_is_skipped_and_said_so(tmp_path: Path) -> None:
    for begin, age in ((0, 3600), (10, 3600), (20, 60)):
        away = put_away(segment(tmp_path, begin, begin + 10), tmp_path, batch=begin)
        os.utime(away, (time.time() - age, time.time() - age))
    segment(tmp_path, 30, 40)
    tail = Tail(tmp_path, time.time() - 600)
    assert seen(tail.look()) == [("s", 0, 20, 30), ("s", 0, 30, 40)]
    assert tail.skipped
    assert tail.missing() == 0


def test_ingested_files_are_listed_only_after_something_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = Tail(tmp_path, LONG_AGO)
    put_away(segment(tmp_path, 0, 10), tmp_path)
    time.sleep(0.05)  # the file system's clock goes on
    tail.look()
    listings: list[Path] = []
    monkeypatch.setattr(tailing, "_names", lambda folder: listings.append(folder) or os.listdir(folder))
    for begin in range(10, 60, 10):
        segment(tmp_path, begin, begin + 10)
        assert len(tail.look()) == 1
    assert listings == []


def test_none_is_left_out_while_others_write_and_put_away(tmp_path: Path) -> None:
    """Three writers, an ingestion that takes segments away at once or late, and a tail that looks now and then."""
    chance, count, done = random.Random(5), 120, threading.Event()

    def write(stream: str) -> None:
        for number in range(count):
            segment(tmp_path, number * 3, number * 3 + 3, stream=stream)

    def take_in() -> None:
        while not done.is_set():
            for path in sorted(tmp_path.glob("*.zst")):
                if chance.random() < 0.5:
                    put_away(path, tmp_path)

    streams = ["a", "b", "c"]
    writers = [threading.Thread(target=write, args=[stream]) for stream in streams]
    ingestion = threading.Thread(target=take_in)
    tail, found = Tail(tmp_path, LONG_AGO), list[tuple[str, int, int, int]]()
    for thread in (*writers, ingestion):
        thread.start()
    until = time.monotonic() + 60
    while len(found) < len(streams) * count and time.monotonic() < until:
        for path in tail.look():
            try:
                found += seen([path])
            except FileNotFoundError:
                moved = tail.moved(path)
                assert moved
                found += seen([moved])
        time.sleep(0.01)
    done.set()
    for thread in (*writers, ingestion):
        thread.join()
    for stream in streams:
        assert [one[2] for one in found if one[0] == stream] == [number * 3 for number in range(count)]
    assert tail.missing() == 0
