"""A segment says what it holds, is whole or absent, is taken in once, and a gap or an overlap is reported.
Not here: any reader that writes segments (its own room)."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.contract.received import IngestionLedger
from data_platform.sources.compressed_lines import LineChunk, LineFile
from data_platform.sources.ingestion import ingest_waiting
from data_platform.sources.ingestion_checks import POSITIONS, WHOLE_FILES
from data_platform.sources.landing import Landing
from data_platform.sources.landing_files import unsettled
from data_platform.sources.positions import Position, discontinuities, held, positions
from data_platform.sources.replay import judge_again
from data_platform.sources.segments import NoSegment, Segment, read_segment, write_segment
from data_platform_tests.support.homes import Home, line

STREAM = "kafka:player-events/3"


def lines(first: int, last: int) -> bytes:
    return "".join(line(event_id=f"e-{number}") + "\n" for number in range(first, last)).encode()


def write(home: Home, first: int, last: int, **more: int) -> Path:
    return write_segment(
        home.landing / "player_events", STREAM, first, last, lines(first, last), runs=((1, first),), **more
    )


def ledger_of(*stretches: tuple[int, int]) -> pl.LazyFrame:
    rows = [
        {"source": "s", "stream": "k", "generation": 0, "begin_position": a, "end_position": b, "file_digest": f"{i}"}
        | {"source_file": f"{a}-{b}"}
        for i, (a, b) in enumerate(stretches)
    ]
    schema = {name: dtype for name, dtype in IngestionLedger.schema().items() if name in rows[0]} if rows else {}
    return pl.LazyFrame(rows, schema=schema or {"stream": pl.String})


# ------------------------------------------------------------------------- the file
def test_what_a_segment_says_is_read_back_and_its_lines_are_those_of_any_file(tmp_path: Path) -> None:
    text = lines(100, 103)
    path = write_segment(tmp_path, STREAM, 100, 103, text, runs=((1, 100),))
    assert read_segment(path) == Segment(STREAM, 100, 103, 3, 0, ((1, 100),))
    (chunk,) = LineFile(path).chunks()
    assert isinstance(chunk, LineChunk)
    assert chunk.text == text
    assert pl.read_ndjson(path)["event_id"].to_list() == ["e-100", "e-101", "e-102"], "Polars reads it as any file"


def test_equal_lines_of_two_stretches_are_two_files_and_a_repeated_write_is_one(tmp_path: Path) -> None:
    one, other = (write_segment(tmp_path, STREAM, at, at + 1, b"{}\n") for at in (7, 8))
    assert one.read_bytes() != other.read_bytes()
    assert write_segment(tmp_path, STREAM, 7, 8, b"{}\n") == one
    assert sorted(tmp_path.iterdir()) == [one, other]


@pytest.mark.parametrize(("begin", "end", "text"), [(3, 2, b"{}\n"), (-1, 2, b"{}\n"), (0, 1, b"{}")])
def test_a_stretch_that_cannot_be_is_refused(tmp_path: Path, begin: int, end: int, text: bytes) -> None:
    with pytest.raises(ValueError, match="no stretch of whole lines"):
        write_segment(tmp_path, STREAM, begin, end, text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{}", b"{}\n" * 9, b"\x5d\x2a\x4d\x18\x06\0\0\0{]\x02\0\0\0", b"\0" * 99])
def test_a_file_that_is_no_segment_says_why(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / Segment(STREAM, 0, 1, 1).file_name
    path.write_bytes(content)
    with pytest.raises(NoSegment, match=r"cut short|cannot be read"):
        read_segment(path)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=6))
def test_every_line_has_its_position(runs: list[tuple[int, int]]) -> None:
    """(lines in a row, positions left out before them), against a list of all positions."""
    expected: list[int] = []
    marks: list[tuple[int, int]] = []
    at = 0
    for count, left_out in runs:
        at += left_out
        marks.append((len(expected) + 1, at))
        expected += range(at, at + count)
        at += count
    segment = Segment(STREAM, 0, at, len(expected), runs=tuple(marks))
    assert [segment.position_of(number) for number in range(1, len(expected) + 1)] == expected
    assert Segment(STREAM, 0, at, 3).position_of(1) is None


# --------------------------------------------------------------------------- taking in
def test_a_segment_is_taken_in_at_once_and_the_ledger_knows_its_stretch(home: Home) -> None:
    path = write(home, 100, 103)
    assert unsettled([path], time.time()) == []
    assert positions(home.lake, path.parent) == {STREAM: Position(0, 103)}, "while it waits"
    home.ingest()
    (entry,) = home.ledger().select("stream", "generation", "begin_position", "end_position", "damage").rows()
    assert entry == (STREAM, 0, 100, 103, None)
    assert positions(home.lake, path.parent) == {STREAM: Position(0, 103)}, "and after it was put away"
    assert home.raw()["event_id"].sort().to_list() == ["e-100", "e-101", "e-102"]


def test_a_later_generation_counts_wherever_it_stands(home: Home) -> None:
    write(home, 100, 103)
    home.ingest()
    write(home, 0, 2, generation=1)
    assert positions(home.lake, home.landing / "player_events") == {STREAM: Position(1, 2)}


def test_a_rejected_line_names_its_position_in_the_stream(home: Home) -> None:
    text = b'{"event_id": 1\n' + lines(5, 6) + b"\xff\n"
    write_segment(home.landing / "player_events", STREAM, 4, 12, text, runs=((1, 4), (3, 11)))
    home.ingest()
    found = home.rejected().sort("source_line").select("reason", "source_position").rows()
    assert found == [("invalid_json", 4), ("invalid_utf8", 11)]


def test_what_a_reader_refused_is_rejected_for_its_reason_also_when_it_is_judged_again(landing: Landing) -> None:
    text = b'{"op": "t"}\n' + lines(5, 6) + b"[]\n"
    write_segment(landing.folder, STREAM, 4, 7, text, runs=((1, 4),), refused=((1, "refused_truncate"),))
    ingest_waiting([landing.source], landing.lake, landing.folder.parent)
    found = landing.lake.scan(landing.source.rejected).sort("source_line").collect()
    assert found.select("reason", "source_position").rows() == [("refused_truncate", 4), ("not_an_object", 6)]
    exact = found.with_columns(exact=pl.col("line").cast(pl.Binary))
    judged = judge_again(exact, landing.parser, dt.datetime.now(dt.UTC))
    assert judged.lines.sort("source_line")["reason"].to_list() == ["refused_truncate", "not_an_object"]


def test_a_segment_that_holds_other_than_it_says_is_taken_in_and_reported(home: Home) -> None:
    path = write(home, 0, 2)
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    path.with_name(Segment(STREAM, 2, 3, 1).file_name).write_bytes(content[:-1])
    path.with_name(Segment(STREAM, 3, 4, 1).file_name).write_bytes(content.replace(b'"lines":2', b'"lines":3'))
    home.build()
    assert not home.verdicts(IngestionLedger, WHOLE_FILES)[None].passed
    damage = home.ledger().sort("begin_position")["damage"].to_list()
    assert all(damage)


# ------------------------------------------------------------------- gaps and overlaps
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.data())
def test_stretches_that_touch_are_contiguous_in_any_order(sizes: list[int], data: st.DataObject) -> None:
    ends = [sum(sizes[: at + 1]) for at in range(len(sizes))]
    stretches = list(zip([0, *ends[:-1]], ends, strict=True))
    assert discontinuities(ledger_of(*data.draw(st.permutations(stretches)))).collect().is_empty()


def test_a_gap_and_an_overlap_are_found() -> None:
    found = discontinuities(ledger_of((0, 10), (12, 20), (15, 30), (30, 31))).collect()
    assert found.select("begin_position", "expected", "missing").rows() == [(12, 10, 2), (15, 20, -5)]


def test_a_gap_fails_the_check_until_what_is_missing_is_received(home: Home) -> None:
    write(home, 0, 2)
    write(home, 3, 4)
    home.build()
    verdict = home.verdicts(IngestionLedger, POSITIONS)[None]
    assert not verdict.passed
    assert "goes on at 3 instead of 2, 1 positions are missing" in json.dumps(str(verdict.metadata["places"].value))
    write(home, 2, 3)
    home.build()
    assert home.verdicts(IngestionLedger, POSITIONS)[None].passed
    assert sorted(home.raw()["event_id"]) == ["e-0", "e-1", "e-2", "e-3"]


# --------------------------------------------------------------------- two writers, kills
def test_a_stream_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    asks = f"""
from pathlib import Path
from data_platform.sources.positions import held
with held(Path({str(tmp_path)!r}), {STREAM!r}) as mine:
    print(mine)
"""

    def other() -> str:
        return subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout.strip()

    with held(tmp_path, STREAM) as mine:
        assert mine
        assert other() == "False"
        with held(tmp_path, "kafka:player-events/4") as another:
            assert another
    assert other() == "True"


KILLED_AT = ["write:before:1", "fsync:before:1", "fsync:after:1", "rename:before:1", "rename:after:1"]


@pytest.mark.parametrize("point", KILLED_AT)
def test_a_writer_killed_at_any_call_leaves_the_segment_whole_or_absent(home: Home, point: str) -> None:
    """A stream of single events, written by a process that dies and is started again: every event once."""
    folder = home.landing / "player_events"
    writer = f"""
import os, sys
from pathlib import Path
from data_platform.core import durable
from data_platform.core.lake.store import Lake
from data_platform.sources import segments
from data_platform.sources.positions import positions
from data_platform_tests.support.kill_points import arm
from data_platform_tests.sources.test_segments import STREAM, lines
folder = Path({str(folder)!r})
if len(sys.argv) > 1:
    points = {{"write": (segments, "closing_frame"), "fsync": (os, "fsync"), "rename": (Path, "rename")}}
    arm(points, sys.argv[1])
standing = positions(Lake({str(home.lake.root)!r}), folder).get(STREAM)
for at in range(standing.end if standing else 0, 3):
    segments.write_segment(folder, STREAM, at, at + 1, lines(at, at + 1))
"""
    killed = subprocess.run([sys.executable, "-c", writer, point], env=home.environment(), capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    home.ingest()
    subprocess.run([sys.executable, "-c", writer], check=True, env=home.environment())
    home.ingest()
    assert sorted(home.raw()["event_id"]) == ["e-0", "e-1", "e-2"]
    assert discontinuities(home.ledger().lazy()).collect().is_empty()
