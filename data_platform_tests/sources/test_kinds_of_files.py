"""Files as they come: compressed, cut off, damaged, large, hidden, foreign. What can be read of them is taken in.
Not here: what becomes of a line (test_ingestion), what is never read (test_unread_files)."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import zstandard

from data_platform.core.contract.received import IngestionLedger
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents
from data_platform.domains.gameplay.sources import SOURCES
from data_platform.sources.ingestion_checks import WHOLE_FILES
from data_platform.sources.unread import unread_files
from data_platform_tests.support.homes import Home, event, line, text_of

FILES: dict[str, tuple[str, bytes]] = {
    "ndjson": ("a.ndjson", text_of(5)),
    "jsonl": ("a.jsonl", text_of(5)),
    "no last newline": ("a.ndjson", text_of(5)[:-1]),
    "gzip": ("a.ndjson.gz", gzip.compress(text_of(5))),
    "gzip in two members": ("a.ndjson.gz", gzip.compress(text_of(5)[:500]) + gzip.compress(text_of(5)[500:])),
    "gzip padded with zeros": ("a.ndjson.gz", gzip.compress(text_of(5)) + b"\0" * 512),
    "zstandard": ("a.ndjson.zst", zstandard.compress(text_of(5))),
    "zstandard in two frames": ("a.zst", zstandard.compress(text_of(5)[:500]) + zstandard.compress(text_of(5)[500:])),
    "byte order mark": ("a.ndjson", b"\xef\xbb\xbf" + text_of(5)),
    "byte order mark in gzip": ("a.ndjson.gz", gzip.compress(b"\xef\xbb\xbf" + text_of(5))),
    "carriage returns": ("a.ndjson", text_of(5).replace(b"\n", b"\r\n")),
    "in a sub-folder": ("2024/01/a.ndjson", text_of(5)),
    "odd name": ("ä b'c%20.ndjson", text_of(5)),
}


@pytest.mark.parametrize("kind", FILES)
def test_kinds_of_files(home: Home, kind: str) -> None:
    name, content = FILES[kind]
    home.drop(name, content)
    home.ingest()
    assert home.raw()["event_id"].to_list() == [f"e-{n}" for n in range(5)]
    assert home.raw()["source_line"].to_list() == [1, 2, 3, 4, 5]
    entry = home.ledger().row(0, named=True)
    assert (entry["received_lines"], entry["stored_lines"], entry["damage"]) == (5, 5, None)
    assert (entry["source_file"], entry["bytes"]) == (Path(name).name, len(content))
    assert not [
        path
        for path in (home.landing / "player_events").rglob("*.*")
        if "_ingested" not in path.parts and path.is_file()
    ]


def test_a_file_larger_than_a_chunk_keeps_its_line_numbers(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.sources import compressed_lines, landing, reading

    monkeypatch.setattr(compressed_lines.LineFile.chunks, "__defaults__", (3000,))
    monkeypatch.setattr(reading, "TOGETHER_BYTES", 3000)
    monkeypatch.setattr(compressed_lines, "READ_BYTES", 700)
    monkeypatch.setattr(landing, "STAGE_ROWS", 40)
    mixed = [line(event_id=f"e-{n}", padding="é" * (n % 90)) if n % 7 else f"broken {n}" for n in range(1, 301)]
    home.drop("large.ndjson.gz", mixed)
    home.ingest()
    raw, rejected = home.raw(), home.rejected()
    assert raw["source_line"].to_list() == [n for n in range(1, 301) if n % 7]
    assert raw["event_id"].to_list() == [f"e-{n}" for n in range(1, 301) if n % 7]
    assert rejected["source_line"].to_list() == [n for n in range(1, 301) if n % 7 == 0]
    assert rejected["line"].to_list() == [f"broken {n}" for n in range(1, 301) if n % 7 == 0]
    assert len(home.lake.open(RawPlayerEvents).file_uris()) > 1


def test_lines_become_a_table_without_pandas() -> None:
    """Where it is installed, pyarrow imports it to see whether it was given something of it: 0.3 s of every process."""
    code = "import sys; from data_platform.sources.compressed_lines import LineChunk; LineChunk(1, b'{}\\n').table()"
    code += "; print('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_carriage_returns_are_not_part_of_values_but_of_the_verbatim_line(home: Home) -> None:
    home.drop("dos.ndjson", f"{line()}\r\nbroken\r\n\r\n")
    home.ingest()
    assert len(home.raw()) == 1
    assert home.rejected().select("line", "reason").rows() == [("broken\r", "invalid_json"), ("\r", "blank_line")]


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_a_truncated_file_gives_every_line_before_the_damage(home: Home, cut: float, compression: str) -> None:
    rng = random.Random(7)
    texts = [line(event_id=f"e-{n}", noise=rng.randbytes(60).hex()) for n in range(2000)]
    whole = "".join(one + "\n" for one in texts).encode()
    if compression == "gz":
        data = gzip.compress(whole)
    else:
        compressor = zstandard.ZstdCompressor().compressobj()
        blocks = [compressor.compress(whole[at : at + 20_000]) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
                  for at in range(0, len(whole), 20_000)]  # fmt: skip
        data = b"".join(blocks) + compressor.flush()
    data = data[: int(len(data) * cut)]
    home.drop(f"cut.ndjson.{compression}", data)
    home.ingest()
    stored, rejected = home.raw(), home.rejected()
    assert stored["event_id"].to_list() == [f"e-{n}" for n in range(len(stored))], (
        "everything up to the damage, in order"
    )
    assert len(stored) > 2000 * cut * 0.8
    entry = home.ledger().row(0, named=True)
    assert "cut short" in entry["damage"]
    assert entry["received_lines"] == len(stored) + len(rejected) == entry["stored_lines"] + entry["rejected_lines"]
    assert len(rejected) <= 1, "at most the line that was cut in two"
    if len(rejected):
        assert texts[len(stored)].startswith(rejected["line"].item())
        assert rejected["source_line"].item() == len(stored) + 1


def test_a_damaged_file_is_a_warning_until_a_later_day_brings_whole_ones(home: Home) -> None:
    whole = gzip.compress("".join(line(event_id=str(number)) + "\n" for number in range(500)).encode())
    home.drop("cut.ndjson.gz", whole[: len(whole) // 2])
    home.drop("b.ndjson", [event(event_id="b")])
    home.build(["raw/player_events"])
    warned = home.verdicts(IngestionLedger, WHOLE_FILES)[None]
    assert not warned.passed
    assert warned.metadata["damaged_files"].value == 1
    assert "player_events/cut.ndjson.gz: gzip stream cut short" in warned.metadata["files"].value[0]
    ledger = home.lake.scan(IngestionLedger).collect()
    earlier = ledger.with_columns(pl.col("received_date") - pl.duration(days=1))
    home.lake.replace(IngestionLedger, earlier, sorted({*ledger["received_date"], *earlier["received_date"]}))
    home.drop("c.ndjson", [event(event_id="c")])
    home.build(["raw/player_events"])
    assert home.verdicts(IngestionLedger, WHOLE_FILES)[None].passed


def test_damage_in_the_middle_is_reported(home: Home) -> None:
    data = bytearray(
        gzip.compress("".join(line(event_id=f"e-{n}", r=os.urandom(30).hex()) + "\n" for n in range(3000)).encode())
    )
    middle = len(data) // 2
    data[middle : middle + 64] = b"\xff" * 64
    home.drop("broken.ndjson.gz", bytes(data))
    home.ingest()
    entry = home.ledger().row(0, named=True)
    assert "broken gzip data" in entry["damage"]
    assert (
        entry["received_lines"]
        == entry["stored_lines"] + entry["rejected_lines"]
        == len(home.raw()) + len(home.rejected())
    )


def test_a_gzip_that_fails_its_checksum_is_reported(home: Home) -> None:
    data = bytearray(gzip.compress(text_of(50)))
    data[-8] ^= 0xFF
    home.drop("checksum.ndjson.gz", bytes(data))
    home.ingest()
    assert home.ledger()["damage"].item() is not None
    assert home.ledger()["received_lines"].item() == len(home.raw()) + len(home.rejected())


def test_hidden_and_foreign_files_are_left_alone(home: Home) -> None:
    for name in (
        ".being-written.ndjson",
        "_aside/a.ndjson",
        ".hidden/a.ndjson",
        "notes.txt",
        "a.ndjson.part",
        "sub/_b.ndjson",
    ):
        home.drop(name, text_of(2))
    assert home.ingest() == []
    assert len(home.raw()) == 0
    assert (home.landing / "player_events" / "notes.txt").exists()
    assert (home.landing / "player_events" / ".being-written.ndjson").exists()


def test_files_that_nothing_reads_are_named(home: Home) -> None:
    for name in ("a.csv", "b.ndjson", ".hidden.csv", "_aside/c.csv", "sub/d.json"):
        home.drop(name, text_of(1))
    for name in ("e.ndjson.gz", "truth.json", "other/f.ndjson", "players/g.txt", "players/h.jsonl"):
        path = home.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text_of(1))
    unread = {str(one.path.relative_to(home.landing)) for one in unread_files(home.landing, SOURCES)}
    assert unread == {
        "player_events/a.csv", "player_events/sub/d.json", "e.ndjson.gz", "other/f.ndjson", "players/g.txt",
    }  # fmt: skip
