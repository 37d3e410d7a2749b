"""Files that somebody still writes to, before, while and after they are taken in: every line once, when it is whole.
Not here: other files (test_landing_files), what is never taken in (test_unread_files)."""

from __future__ import annotations

import gzip
import io
import os
import threading
import time

import pytest

from data_platform.domains.gameplay.sources import PLAYER_EVENTS, SOURCES
from data_platform.sources import growth
from data_platform.sources.growth import Followed
from data_platform.sources.ingestion import wait_for_writers, waiting_sources
from data_platform.sources.landing import Landing
from data_platform.sources.landing_files import SETTLE_SECONDS
from data_platform.sources.unread import unread_files
from data_platform_tests.sources.test_landing_files import FOLDER, append, balanced, event_ids, ingested, numbered
from data_platform_tests.support.homes import Home


@pytest.mark.parametrize("when", ["planned", "committed", "put away"])
def test_what_is_appended_to_a_file_is_taken_in_once(home: Home, landing: Landing, when: str) -> None:
    path = home.drop("live.ndjson", numbered(1, 2))
    with path.open("ab") as writer, landing.locked():
        for plan in landing.batches():
            if when == "planned":
                writer.write(numbered(3, 4))
                writer.flush()
            result = landing.commit(plan)
            assert result.received == 2, "what was planned, and nothing that came later"
            if when == "committed":
                writer.write(numbered(3, 4))
                writer.flush()
            landing.finish(plan)
        if when == "put away":
            writer.write(numbered(3, 4))
            writer.flush()
    (kept,) = ingested(home)
    os.utime(kept, (time.time() - 60, time.time() - 60))
    assert waiting_sources(SOURCES, home.landing) == [PLAYER_EVENTS]
    home.ingest()
    assert event_ids(home) == ["e-1", "e-2", "e-3", "e-4"]
    assert set(home.raw()["source_file"]) == {"live.ndjson", f"live.ndjson@{len(numbered(1, 2))}"}
    assert kept.read_bytes() == numbered(1, 2, 3, 4)
    assert balanced(home)
    assert home.ingest() == []
    assert waiting_sources(SOURCES, home.landing) == []


def test_equal_lines_appended_to_files_again_and_again_are_all_taken_in(home: Home) -> None:
    for name in ("one.ndjson", "other.ndjson"):
        home.drop(name, numbered(1) if name == "one.ndjson" else numbered(2))
    home.ingest()
    for _ in range(3):
        for kept in ingested(home):
            append(kept, b"again\n")
        home.ingest()
    assert home.rejected()["line"].to_list() == ["again"] * 6
    assert balanced(home)


def test_a_file_that_was_empty_and_is_written_later(home: Home) -> None:
    home.drop("later.ndjson", b"")
    home.ingest()
    (kept,) = ingested(home)
    append(kept, numbered(1))
    home.ingest()
    assert event_ids(home) == ["e-1"]
    assert home.ingest() == []


@pytest.mark.parametrize("at", [10, len(numbered(1, 2)) - 1])
@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
def test_a_line_that_was_half_written_is_stored_once_when_it_is_whole(home: Home, at: int, line_break: bytes) -> None:
    whole = numbered(1, 2, 3).replace(b"\n", line_break)
    cut = at if at == 10 else len(numbered(1, 2).replace(b"\n", line_break)) - len(line_break)
    home.drop("live.ndjson", whole[:cut])
    home.ingest()
    (kept,) = ingested(home)
    append(kept, whole[cut:])
    home.ingest()
    assert event_ids(home) == ["e-1", "e-2", "e-3"]
    assert set(home.rejected()["reason"]) <= {"invalid_json"}
    assert balanced(home)


def test_only_whole_lines_of_a_writer_that_does_not_pause_are_taken_in(home: Home) -> None:
    home.drop("live.ndjson", numbered(1))
    home.ingest()
    (kept,) = ingested(home)
    append(kept, numbered(2) + numbered(3)[:20])
    os.utime(kept)
    home.ingest()
    assert event_ids(home) == ["e-1", "e-2"]
    append(kept, numbered(3)[20:])
    home.ingest()
    assert event_ids(home) == ["e-1", "e-2", "e-3"]
    assert home.rejected().is_empty()


def test_a_long_line_that_is_still_written_is_looked_at_in_pieces(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MB at once it was, every ten seconds."""
    home.drop("live.ndjson", numbered(1) + b"x" * (3 << 20))
    home.ingest()
    (kept,) = ingested(home)
    append(kept, b"x" * (3 << 20))
    pieces: list[int] = []

    class Watched(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(-1 if size is None else size)
            pieces.append(len(found))
            return found

    monkeypatch.setattr(growth, "open_regular", Watched)
    assert Followed(home.landing / FOLDER).grown() == [], "not before it ends, or the writer pauses"
    os.utime(kept, (time.time() - 60, time.time() - 60))
    (found,) = Followed(home.landing / FOLDER).grown()
    assert (found.start, found.bytes) == (len(numbered(1)), 6 << 20)
    assert max(pieces) <= 1 << 20


def test_a_file_that_was_rewritten_while_it_was_taken_in_is_taken_in_as_it_is_then(
    home: Home, landing: Landing
) -> None:
    path = home.drop("a.ndjson", numbered(1, 2))
    home.drop("b.ndjson", numbered(7))
    with landing.locked():
        for plan in landing.batches():
            path.write_bytes(numbered(3, 4))
            result = landing.commit(plan)
            landing.finish(plan)
    assert [reason.split(":")[0] for reason in result.left_out] == ["player_events/a.ndjson"]
    assert event_ids(home) == ["e-7"]
    assert path.exists(), "not put away"
    home.ingest()
    assert event_ids(home) == ["e-3", "e-4", "e-7"]


def test_a_compressed_file_that_grows_waits_until_it_is_whole(home: Home, landing: Landing) -> None:
    whole = gzip.compress(numbered(*range(200)))
    path = home.drop("a.ndjson.gz", whole[:300])
    with landing.locked():
        for plan in landing.batches():
            append(path, whole[300:])
            assert landing.commit(plan).left_out
            landing.finish(plan)
    assert home.raw().is_empty()
    home.ingest()
    assert len(home.raw()) == 200
    (kept,) = ingested(home)
    append(kept, gzip.compress(numbered(777)))
    home.ingest()
    assert "e-777" in event_ids(home), "another member can be read by itself"
    append(kept, b"not a member")
    assert home.ingest() == []
    assert [one.path for one in unread_files(home.landing, SOURCES)] == [kept]


def test_a_build_waits_for_a_copy_and_not_for_a_writer_without_end(home: Home) -> None:
    path = home.drop("a.ndjson", numbered(1))
    os.utime(path)
    assert waiting_sources(SOURCES, home.landing) == []
    assert wait_for_writers(SOURCES, home.landing) == []
    assert waiting_sources(SOURCES, home.landing) == [PLAYER_EVENTS]
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.02):
            os.utime(path)

    os.utime(path)
    writer = threading.Thread(target=write)
    writer.start()
    began = time.monotonic()
    try:
        assert wait_for_writers(SOURCES, home.landing) == [path]
    finally:
        stop.set()
        writer.join()
    assert time.monotonic() - began < 3 * SETTLE_SECONDS


def test_a_time_of_change_in_the_future_keeps_nothing_waiting(home: Home) -> None:
    path = home.drop("a.ndjson", numbered(1))
    os.utime(path, (time.time() + 3600, time.time() + 3600))
    assert waiting_sources(SOURCES, home.landing) == [PLAYER_EVENTS]


def test_what_is_followed_is_bounded_and_forgotten_after_a_day(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "MOST_FOLLOWED", 3)
    for n in range(5):
        home.drop(f"{n}.ndjson", numbered(n))
    home.ingest()
    assert len(Followed(home.landing / FOLDER)._taken) == 3
    for kept in ingested(home):
        os.utime(kept, (0, 0))
    home.drop("9.ndjson", numbered(9))
    home.ingest()
    assert [name.split("-")[2] for name in Followed(home.landing / FOLDER)._taken] == ["9.ndjson"]
