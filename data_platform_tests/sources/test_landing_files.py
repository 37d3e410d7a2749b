"""Whatever lies in landing, however it is called and whoever still writes to it: what can be taken in is, once, and
nothing stops the rest. Not here: what becomes of lines (test_ingestion), kills (test_kill)."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from data_platform.core.contract.received import IngestionLedger
from data_platform.domains.gameplay.sources import PLAYER_EVENTS, SOURCES
from data_platform.sources import compressed_lines
from data_platform.sources.compressed_lines import LineFile, LongLine
from data_platform.sources.growth import Followed
from data_platform.sources.ingestion import landing_of, wait_for_writers, waiting_sources
from data_platform.sources.ingestion_checks import WHOLE_FILES
from data_platform.sources.landing import Landing, is_being_ingested
from data_platform.sources.landing_files import SETTLE_SECONDS, pending_files
from data_platform.sources.replay import judge_again
from data_platform.sources.unread import refused_files, unread_files
from data_platform_tests.support import SUPPORT
from data_platform_tests.support.homes import Home, kill, line
from data_platform_tests.support.running import wait_for

FOLDER = "player_events"
HELPER = str(SUPPORT.joinpath("kill_helper.py"))


def numbered(*numbers: int) -> bytes:
    return "".join(line(event_id=f"e-{n}") + "\n" for n in numbers).encode()


def event_ids(home: Home) -> list[str]:
    return sorted(home.raw()["event_id"])


def balanced(home: Home) -> bool:
    ledger = home.ledger()
    received = ledger["received_lines"].sum()
    return bool(
        received == len(home.raw()) + len(home.rejected()) == ledger["stored_lines"].sum() + len(home.rejected())
    )


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def ingested(home: Home) -> list[Path]:
    return sorted((home.landing / FOLDER / "_ingested").iterdir())


@pytest.fixture
def landing(home: Home) -> Landing:
    return landing_of(PLAYER_EVENTS, home.lake, home.landing)


# --------------------------------------------------------------------------------- files that grow
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
    assert [told.split(":")[0] for told in result.left_out] == ["player_events/a.ndjson"]
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


# --------------------------------------------------------------------------------- names
NAMES = {
    "Latin-1": b"caf\xe9.ndjson",
    "254 bytes": b"r" * 247 + b".ndjson",
    "255 bytes of two": "ü".encode() * 124 + b".ndjson",
    "line break": b"two\nlines.ndjson",
    "control characters": b"\x1b[31mred\x07.ndjson",
    "pattern": b"a[1]*?.ndjson",
    "like one of ours": b"00000001-0123456789ab-a.ndjson",
    "many dashes": b"-----.ndjson",
    "blanks": b" .ndjson",
    "right to left": "\u202egpj.ndjson".encode(),
}


@pytest.mark.parametrize("name", NAMES)
def test_no_name_stops_a_source(home: Home, name: str) -> None:
    folder = os.fsencode(home.landing / FOLDER)
    home.drop("a.ndjson", numbered(1))
    Path(os.fsdecode(folder + b"/" + NAMES[name])).write_bytes(numbered(2))
    home.ingest()
    assert event_ids(home) == ["e-1", "e-2"]
    assert pending_files(home.landing / FOLDER) == []
    assert sorted(kept.read_bytes() for kept in ingested(home)) == sorted([numbered(1), numbered(2)])
    assert all(told.isprintable() for told in home.ledger()["source_file"])
    assert home.ingest() == []
    for kept in ingested(home):
        append(kept, numbered(3 if kept.read_bytes() == numbered(2) else 4))
    home.ingest()
    assert event_ids(home) == ["e-1", "e-2", "e-3", "e-4"]


def test_files_of_one_name_in_several_folders_are_told_apart(home: Home) -> None:
    for number, folder in enumerate(("x", "y", "x\\y")):
        home.drop(f"{folder}/part-0.ndjson", numbered(number))
    home.drop("a.ndjson", numbered(9))
    home.ingest()
    assert sorted(home.ledger()["source_file"]) == [
        "a.ndjson",
        "x/part-0.ndjson",
        "x\\\\y/part-0.ndjson",
        "y/part-0.ndjson",
    ]
    assert home.raw()["source_file"].n_unique() == 4


# --------------------------------------------------------------------------------- what is no file, or is gone
def strange(folder: Path, secret: Path) -> Iterator[Path]:
    yield folder / "link.ndjson"
    (folder / "link.ndjson").symlink_to(secret)
    yield folder / "dangling.ndjson"
    (folder / "dangling.ndjson").symlink_to(folder / "nowhere")
    yield folder / "pipe.ndjson"
    os.mkfifo(folder / "pipe.ndjson")
    yield folder / "socket.ndjson"
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(folder)
        try:
            made.bind("socket.ndjson")
        finally:
            os.chdir(here)


def test_what_is_no_regular_file_is_told_and_never_read(home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("password\n")
    home.drop("a.ndjson", numbered(1))
    (home.landing / FOLDER / "folder.ndjson").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.ndjson").write_text("password\n")
    (home.landing / FOLDER / "linked").symlink_to(tmp_path / "elsewhere")
    made = list(strange(home.landing / FOLDER, secret))
    home.ingest()
    assert event_ids(home) == ["e-1"]
    assert home.rejected().is_empty()
    told = {one.path: one.reason for one in unread_files(home.landing, SOURCES)}
    assert told.keys() == {*made, home.landing / FOLDER / "linked"}
    assert told[made[0]] == "it is a symbolic link"
    assert waiting_sources(SOURCES, home.landing) == []


def test_a_file_swapped_for_a_link_after_it_was_planned_is_not_read(
    home: Home, landing: Landing, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("password\n")
    path = home.drop("a.ndjson", numbered(1))
    home.drop("b.ndjson", numbered(2))
    with landing.locked():
        for plan in landing.batches():
            path.unlink()
            path.symlink_to(tmp_path / "secret")
            landing.commit(plan)
            landing.finish(plan)
    assert event_ids(home) == ["e-2"]
    assert home.rejected().is_empty()


@pytest.mark.parametrize("become", ["gone", "a folder", "a pipe", "shorter"])
def test_a_planned_file_that_is_gone_is_left_out_and_stops_nothing(home: Home, landing: Landing, become: str) -> None:
    path = home.drop("a.ndjson", numbered(1, 2))
    home.drop("b.ndjson", numbered(3))
    with landing.locked():
        next(landing.batches())  # the process dies here
    if become == "shorter":
        path.write_bytes(numbered(1))
    else:
        path.unlink()
    if become == "a folder":
        path.mkdir()
    if become == "a pipe":
        os.mkfifo(path)
    home.ingest()
    home.ingest()
    assert event_ids(home) == (["e-1", "e-3"] if become == "shorter" else ["e-3"])
    assert balanced(home)
    assert landing.unfinished() is None


def test_when_every_planned_file_is_gone_nothing_is_left_to_do(home: Home, landing: Landing) -> None:
    path = home.drop("a.ndjson", numbered(1))
    with landing.locked():
        next(landing.batches())
    path.unlink()
    (result,) = home.ingest()
    assert (result.received, len(result.left_out)) == (0, 1)
    assert landing.unfinished() is None
    assert home.ingest() == []


def test_one_source_that_fails_stops_no_other(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.core.orchestration.checks import asset_key
    from data_platform.definitions import defs
    from data_platform.domains.gameplay.contracts.events import RawPlayerEvents
    from data_platform.domains.gameplay.contracts.registry import RawCampaignChanges

    home.drop("b.ndjson", numbered(1))
    batches = Landing.batches

    def break_campaigns(landing: Landing, *chosen: object, **named: object) -> object:
        if landing.source.name == "campaigns":
            raise ValueError("what nobody thought of")
        return batches(landing, *chosen, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Landing, "batches", break_campaigns)
    job = defs.resolve_job_def("ingest_landing_files")
    done = job.execute_in_process(
        instance=home.instance,
        asset_selection=[asset_key(RawCampaignChanges), asset_key(RawPlayerEvents)],
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert not done.success
    assert event_ids(home) == ["e-1"]


def test_the_lock_says_whether_a_folder_is_being_ingested(landing: Landing) -> None:
    assert not is_being_ingested(landing.folder)
    with landing.locked():
        assert is_being_ingested(landing.folder)
    assert not is_being_ingested(landing.folder)


# --------------------------------------------------------------------------------- too much of it
@pytest.mark.parametrize("unit", [b"\0", b"\n", b"{}\n"])
@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_bomb_goes_to_quarantine_and_the_others_in(
    home: Home, monkeypatch: pytest.MonkeyPatch, suffix: str, unit: bytes
) -> None:
    monkeypatch.setattr(compressed_lines, "FREELY_UNPACKED", 1 << 20)
    zeros = unit * ((4 << 20) // len(unit))
    bomb = home.drop(f"bomb.ndjson.{suffix}", gzip.compress(zeros) if suffix == "gz" else zstandard.compress(zeros))
    home.drop("a.ndjson", numbered(1))
    home.drop("z.ndjson.gz", gzip.compress(numbered(2)))
    (result,) = home.ingest()
    assert event_ids(home) == ["e-1", "e-2"]
    assert home.rejected().is_empty()
    assert not bomb.exists()
    home.drop("later.ndjson", numbered(3))
    home.build(["raw/player_events"])
    warned = home.verdicts(IngestionLedger, WHOLE_FILES)[None]
    assert not warned.passed
    assert "unpacks to more than" in warned.metadata["files"].value[0]  # type: ignore[index]
    assert len(result.left_out) == 1
    (told,) = refused_files(home.landing, SOURCES)
    assert told.path.exists()
    assert "unpacks to more than" in told.reason
    assert told in unread_files(home.landing, SOURCES)
    assert home.ingest() == []


@pytest.mark.parametrize("suffix", ["ndjson", "ndjson.gz", "ndjson.zst"])
@pytest.mark.parametrize("block", [100, 1000])
def test_a_line_that_is_too_long_is_rejected_cut(
    home: Home, landing: Landing, monkeypatch: pytest.MonkeyPatch, suffix: str, block: int
) -> None:
    monkeypatch.setattr(compressed_lines, "LONGEST_LINE", 700)
    monkeypatch.setattr(compressed_lines, "KEPT_OF_LONG_LINE", 300)
    monkeypatch.setattr(compressed_lines, "READ_BYTES", block)
    monkeypatch.setattr(compressed_lines, "PART_BYTES", block)
    fits, long = line(event_id="fits", pad="x" * 350), line(event_id="long", pad="y" * 5000)
    exactly = line(event_id="exact", pad="")
    exactly = line(event_id="exact", pad="z" * (700 - len(exactly)))
    assert len(exactly) == 700
    text = "\n".join([fits, long, exactly, exactly.replace("zz", "zzz", 1), fits, long]).encode()
    packed = {"ndjson": text, "ndjson.gz": gzip.compress(text), "ndjson.zst": zstandard.compress(text)}
    home.drop(f"a.{suffix}", packed[suffix])
    home.ingest()
    assert home.raw()["source_line"].to_list() == [1, 3, 5]
    rejected = home.rejected()
    assert judge_again(rejected, landing.parser, dt.datetime.now(dt.UTC)).changed.is_empty()
    assert rejected.select("source_line", "reason").rows() == [(n, "line_too_long") for n in (2, 4, 6)]
    assert rejected["line"][0] == long[:300]
    assert balanced(home)


def test_memory_does_not_grow_with_what_a_file_unpacks_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part that is read is bounded, whatever the sender packed."""
    monkeypatch.setattr(compressed_lines, "ZSTD_STEP", 32)
    monkeypatch.setattr(compressed_lines, "LONGEST_LINE", 8 << 20)
    for name, data in (("a.gz", gzip.compress(bytes(30 << 20))), ("a.zst", zstandard.compress(bytes(30 << 20)))):
        path = tmp_path / name
        path.write_bytes(data)
        largest = max(len(part) for part in LineFile(path)._unpacked())
        assert largest <= 2 << 20
        (only,) = LineFile(path).chunks()
        assert isinstance(only, LongLine)
        assert (only.number, len(only.beginning)) == (1, 1000)


def test_short_lines_are_read_in_chunks_of_bounded_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed_lines, "CHUNK_LINES", 1000)
    monkeypatch.setattr(compressed_lines, "READ_BYTES", 300)
    (tmp_path / "a.ndjson").write_bytes(b"\n" * 5000)
    firsts = [chunk.first for chunk in LineFile(tmp_path / "a.ndjson").chunks() if not isinstance(chunk, LongLine)]
    assert firsts == [1, 1201, 2401, 3601, 4801]


@pytest.mark.parametrize("text", ["", "\r", "   ", "x", "{x", "ERROR 504 upstream timed out"])
def test_a_line_that_is_none_costs_about_as_much_as_one_that_is(text: str) -> None:
    """15 times as much it was, through an exception for each in DuckDB."""
    from data_platform.sources.compressed_lines import LineChunk
    from data_platform.sources.line_parser import LineParser, Received

    parser = LineParser(PLAYER_EVENTS, dt.date(2024, 1, 1), dt.timedelta())

    def seconds(one: str) -> float:
        chunk = LineChunk(1, f"{one}\n".encode() * 20_000)
        took = []
        for _ in range(3):
            began = time.process_time()
            parser.parse(chunk, Received("f", "d", dt.datetime.now(dt.UTC)))
            took.append(time.process_time() - began)
        return min(took)

    assert seconds(text) < 5 * seconds("{}")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_a_long_ingestion_and_the_next_one_completes_it(home: Home, stop: signal.Signals) -> None:
    """Also of a process that a script started in the background, where SIGINT is ignored from the start."""
    home.drop("a.ndjson", b"\n" * (30 << 20))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = home.start(HELPER, "raw/player_events")
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        wait_for("ingestion", lambda: is_being_ingested(home.landing / FOLDER), 60)
        time.sleep(1)
        process.send_signal(stop)
        process.wait(20)
    finally:
        kill(process)
    assert process.returncode != 0
    assert not is_being_ingested(home.landing / FOLDER)
    assert home.rejected().is_empty(), "all of a batch, or nothing"


def test_many_small_files_are_taken_in_together_each_with_its_own_lines(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_platform.sources import landing as landing_module
    from data_platform.sources.line_parser import LineParser

    monkeypatch.setattr(landing_module, "BATCH_FILES", 150)
    queries: list[int] = []
    parse = LineParser.parse
    monkeypatch.setattr(LineParser, "parse", lambda self, *chunk: queries.append(1) or parse(self, *chunk))
    for n in range(400):
        home.drop(f"{n:03d}.ndjson", [line(event_id=f"e-{n}"), f"broken {n}"][n % 3 == 0 :])
    results = home.ingest()
    assert [len(result.plan.files) for result in results] == [150, 150, 100], "all of them, in one go"
    assert len(queries) < 10, "a query costs as much as a hundred lines"
    stored = home.raw().select("source_file", "event_id", "source_line").rows()
    assert stored == [(f"{n:03d}.ndjson", f"e-{n}", 1) for n in range(400) if n % 3]
    rejected = home.rejected().select("source_file", "line", "source_line").rows()
    assert rejected == [(f"{n:03d}.ndjson", f"broken {n}", 2 if n % 3 else 1) for n in range(400)]
    digests = dict(home.ledger().select("source_file", "file_digest").rows())
    assert all(digests[file] == digest for file, digest in home.rejected().select("source_file", "file_digest").rows())
    assert balanced(home)


def test_what_is_followed_is_bounded_and_forgotten_after_a_day(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.sources import growth

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
