"""Whatever lies in landing, however it is called and however much it is: what can be taken in is, once, and nothing
stops the rest. Not here: files that still grow (test_growing_files), what is never taken in (test_unread_files), what
becomes of lines (test_ingestion), kills (test_kill)."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import signal
import time
from pathlib import Path

import pytest
import zstandard

from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources import compressed_lines
from data_platform.sources.compressed_lines import LineFile, LongLine
from data_platform.sources.landing import Landing, is_being_ingested
from data_platform.sources.landing_files import pending_files
from data_platform.sources.replay import judge_again
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
    assert all(stored.isprintable() for stored in home.ledger()["source_file"])
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


# --------------------------------------------------------------------------------- several sources
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
    home.drop("a.ndjson", b"{}\n" * (20 << 20))
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
