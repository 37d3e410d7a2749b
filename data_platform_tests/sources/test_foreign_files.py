"""What a person may say about a file, and what a mapping may not reach: names that look like patterns, other files.
Not here: values (test_mapped_values), what a mapping must yield (test_mapping)."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pytest

from data_platform.core.discovery import landing_sources
from data_platform.core.errors import PlatformError
from data_platform.domains.commerce.sources import ORDERS
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources.files.foreign_files import FileFormat
from data_platform.sources.files.mapped_columns import example_mapping
from data_platform.sources.files.mapping import map_file
from data_platform.sources.landing_source import LandingSource

TIME = "TIMESTAMPTZ '2026-11-05 10:00:00Z' AS timestamp"
MAPPING = f"SELECT id AS event_id, who AS player_id, {TIME} FROM input"  # noqa: S608
NAMED = f'SELECT "2024" AS event_id, column1 AS player_id, x_1 AS session_id, {TIME} FROM input'  # noqa: S608


def landed(
    folder: Path, name: str, content: bytes, mapping: str = MAPPING, form: FileFormat | None = None
) -> list[dict[str, object]]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    (folder / "mapping.sql").write_text(mapping)
    result = map_file(folder / name, folder / "mapping.sql", PLAYER_EVENTS, folder / "landing", form)
    return [json.loads(line) for line in gzip.open(result.landed, "rt", encoding="utf-8")]


def pairs(rows: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(row["event_id"], row.get("player_id")) for row in rows]


# ------------------------------------------------------------------------------------ how it is written
@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("a.csv", b"id;who\n1;a,b\n", FileFormat()),
        ("a.txt", b"id|who\n1|a,b\n", FileFormat()),
        ("a.csv", b'"id","who"\n"1","a,b"\n', FileFormat()),
        ("a.csv", b'"id";"who"\n"1";"a,b"\n', FileFormat()),
        ("a.txt", b"id\twho\n1\ta,b\n", FileFormat()),
        ("a.txt", b"id~who\n1~a,b\n", FileFormat(delimiter="~")),
        ("a.csv", b"id,who\n1,'a,b'\n", FileFormat(quote="'")),
        ("a.csv", b'id,who\n1,"a,b"\n', FileFormat()),
        ("a.csv", b"\xef\xbb\xbfid,who\r\n1,\"a,b\"\r\n", FileFormat()),
        ("a.csv", "id,who\n1,\"a,b\"\n".encode("utf-16"), FileFormat(encoding="utf-16")),
        ("a.ndjson", b"\xef\xbb\xbf{\"id\":1,\"who\":\"a,b\"}\r\n", FileFormat()),
    ],
)  # fmt: skip
def test_ways_to_write_a_file(tmp_path: Path, name: str, content: bytes, form: FileFormat) -> None:
    assert pairs(landed(tmp_path, name, content, form=form)) == [("1", "a,b")]


def test_other_encodings_are_said_or_refused(tmp_path: Path) -> None:
    content = "id,who\n1,Zoë\n2,b\n".encode("latin-1")
    with pytest.raises(PlatformError, match=r"not in utf-8: .*--encoding latin-1"):
        landed(tmp_path, "a.csv", content)
    assert pairs(landed(tmp_path, "a.csv", content, form=FileFormat(encoding="latin-1"))) == [("1", "Zoë"), ("2", "b")]
    with pytest.raises(PlatformError, match="no encoding 'klingon'"):
        landed(tmp_path, "a.csv", content, form=FileFormat(encoding="klingon"))


@pytest.mark.parametrize(
    "first", ["1,ann", "2026-11-05,ann", "ann,12.5", "x,true", "0b5c1f0e-8f5f-4b1e-9d51-3f1a5d1f6a11,a"]
)
def test_a_file_without_header_never_loses_its_first_row(tmp_path: Path, first: str) -> None:
    content = f"{first}\n2,bob\n".encode()
    by_position = MAPPING.replace("id AS", "column0 AS").replace("who AS", "column1 AS")
    with pytest.raises(PlatformError, match="--no-header"):
        landed(tmp_path, "a.csv", content, by_position)
    rows = landed(tmp_path, "a.csv", content, by_position, FileFormat(header=False))
    assert pairs(rows) == [tuple(first.split(",")), ("2", "bob")]


def test_a_header_of_text_alone_is_told_by_the_mapping(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"--no-header.*columns ann, x"):
        landed(tmp_path, "a.csv", b"ann,x\nbob,y\n")


def test_headers_that_look_like_values_and_columns_without_a_name(tmp_path: Path) -> None:
    rows = landed(
        tmp_path, "a.csv", b"2024,,x,X\n1,ann,3,4\n",
        NAMED, FileFormat(header=True),
    )  # fmt: skip
    assert [(row["event_id"], row["player_id"], row["session_id"]) for row in rows] == [("1", "ann", "4")]


def test_text_that_means_nothing(tmp_path: Path) -> None:
    assert pairs(landed(tmp_path, "a.csv", b"id,who\n1,NA\n2,\n", form=FileFormat(null_text="NA")))[0] == ("1", None)


def test_a_stated_date_format_is_the_only_one(tmp_path: Path) -> None:
    mapping = "SELECT id AS event_id, 'p' AS player_id, day AS timestamp FROM input"
    content = b"id,day\n1,11/10/2026\n2,2026-10-11\n3,13/13/2026\n"
    rows = landed(tmp_path, "a.csv", content, mapping, FileFormat(date_format="%d/%m/%Y"))
    assert [row["timestamp"] for row in rows] == ["2026-10-11T00:00:00.000000Z", ["2026-10-11"], ["13/13/2026"]]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"id,who\n1,a\n2,b,c\n", ["Line: 3", "2,b,c", "Expected Number of Columns: 2 Found: 3"]),
        (b'id,who\n1,"a\n2,b\n', ["line 3", "unexpected end"]),
        (b'id,who\n1,"a"x\n2,b\n', ["line 2"]),
        (b"", ["is empty"]),
    ],
)
def test_a_csv_that_cannot_be_read_tells_line_and_cause(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    with pytest.raises(PlatformError) as raised:
        landed(tmp_path, "a.csv", content)
    for part in parts:
        assert part in str(raised.value)
    assert not list((tmp_path / "landing").rglob("*.gz"))


def test_an_error_of_sql_is_shown_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(PlatformError) as raised:
        landed(
            tmp_path, "a.csv", b"id,who\n1,a\n", "SELECT id AS event_id, -- é\n\tvarchr(who) AS player_id\nFROM input"
        )
    assert "line 2, column 2" in str(raised.value)
    assert "\n  \tvarchr(who) AS player_id\n  \t^\n" in str(raised.value)


@pytest.mark.parametrize("source", landing_sources(), ids=lambda source: source.name)
def test_every_source_has_an_example_that_fits_it(tmp_path: Path, source: LandingSource) -> None:
    example = example_mapping(source)
    columns = sorted(set(re.findall(r"your_\w+", example)))
    row = {name: "2026-11-05T10:00:00Z" if f"{name}::TIMESTAMPTZ" in example else "1" for name in columns}
    (tmp_path / "a.ndjson").write_text(json.dumps(row))
    (tmp_path / "m.sql").write_text(example)
    result = map_file(tmp_path / "a.ndjson", tmp_path / "m.sql", source, tmp_path / "landing")
    assert result.rows == 1
    (tmp_path / "m.sql").write_text("SELECT 1 AS nothing FROM input")
    with pytest.raises(PlatformError, match=source.fields()[0].name):
        map_file(tmp_path / "a.ndjson", tmp_path / "m.sql", source, tmp_path / "landing")


def test_a_float_is_no_amount(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    mapping = example_mapping(ORDERS).replace("your_total_amount", "1.5::DOUBLE")
    (tmp_path / "m.sql").write_text(re.sub(r"your_\w+_at", "now()", re.sub(r"your_(?!\w+_at)\w+", "id", mapping)))
    with pytest.raises(PlatformError, match=r"`total_amount` as DOUBLE.*DECIMAL"):
        map_file(tmp_path / "a.csv", tmp_path / "m.sql", ORDERS, tmp_path / "landing")


# ------------------------------------------------------------------------------------- what is in reach
NAMES = ["g*", "a[1]", "a?", "a{1,2}", "a\\*b", "]x[", "**", "[!a]", "y=2024", "_hidden", ".dot", "x" * 240]


@pytest.mark.parametrize("kind", [".csv", ".ndjson"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_named_like_a_pattern_reads_no_neighbour(tmp_path: Path, name: str, kind: str) -> None:
    wrong, right = b"id,who\nwrong,x\n", b"id,who\nright,x\n"
    if kind == ".ndjson":
        wrong, right = b'{"id":"wrong","who":"x"}\n', b'{"id":"right","who":"x"}\n'
    for neighbour in ("g1", "a1", "a2", "ab"):
        (tmp_path / f"{neighbour}{kind}").write_bytes(wrong)
    assert pairs(landed(tmp_path, f"{name}{kind}", right)) == [("right", "x")]
    (found,) = (tmp_path / "landing" / "player_events").iterdir()
    assert found.name[0] not in "._", "landing passes over hidden files"


def test_homes_named_like_a_pattern(tmp_path: Path) -> None:
    assert pairs(landed(tmp_path / "h[1]*?%", "a.csv", b"id,who\n1,a\n")) == [("1", "a")]


EVENT = "SELECT 'e' AS event_id, 'p' AS player_id, now() AS timestamp, *"
"""Hostile mappings yield all that is asked for: they must fail at what they reach for, not at what they lack."""
HOSTILE = [
    "SELECT content AS event_id, 'p' AS player_id, now() AS timestamp FROM read_text('{secret}')",
    "{all} FROM '{secret}'",
    "{all} FROM read_csv('{secret}')",
    "{all} FROM read_json_objects('{secret}')",
    "{all} FROM read_parquet('{secret}')",
    "{all} FROM read_blob('{secret}')",
    "{all} FROM glob('{secret}*')",
    "{all} FROM read_csv('https://example.com/x.csv')",
    "{all} FROM query('SELECT * FROM read_text(''{secret}'')')",
    "{all}, (SELECT content FROM read_text('{secret}')) AS stolen FROM input",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA enable_profiling",
    "ATTACH '{secret}'",
    "COPY input TO '{secret}.csv'",
    "COPY (SELECT 1) TO '{secret}.csv'",
    "EXPORT DATABASE '{secret}.d'",
    "CREATE TABLE x AS SELECT 1",
    "SELECT 1; SELECT * FROM read_text('{secret}')",
    f"{MAPPING}; ATTACH '{{secret}}'",
    "{all} FROM landed",
    "CALL pragma_version()",
]


@pytest.mark.parametrize("mapping", HOSTILE)
def test_a_mapping_reads_its_input_alone(tmp_path: Path, mapping: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(PlatformError) as raised:
        landed(tmp_path, "a.csv", b"id,who\n1,a\n", mapping.format(secret=secret, all=EVENT))
    assert "hunter2" not in str(raised.value)
    assert {*os.listdir(tmp_path)} <= {*before, "a.csv", "mapping.sql", "landing"}, "nothing was written"
    assert not [path for path in (tmp_path / "landing").rglob("*") if path.is_file()]


@pytest.mark.parametrize("end", ["", ";", " -- note", "; -- note; more", "\n/* note */", ";;\n", "\n--x"])
def test_how_a_mapping_may_end(tmp_path: Path, end: str) -> None:
    assert pairs(landed(tmp_path, "a.csv", b"id,who\n1,a\n", MAPPING + end)) == [("1", "a")]


def test_what_is_landed_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.rename
    monkeypatch.setattr(
        os, "fsync", lambda number: (done.append(f"sync {os.readlink(f'/proc/self/fd/{number}')}"), sync(number))
    )
    monkeypatch.setattr(Path, "rename", lambda path, to: (done.append(f"rename {to}"), rename(path, to)))
    landed(tmp_path, "a.csv", b"id,who\n1,a\n")
    (found,) = (tmp_path / "landing" / "player_events").iterdir()
    (written, moved, folder) = [(one.split()[0], Path(one.split(maxsplit=1)[1]).name) for one in done]
    assert (written[0], written[1][0]) == ("sync", "."), "under a name that landing passes over"
    assert (moved, folder) == (("rename", found.name), ("sync", "player_events"))


def test_a_mapping_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    content = b"id,who\n" + b"".join(b"%d,a\n" % number for number in range(1000)) + b"x,a\n"
    with pytest.raises(PlatformError, match="line 1"):
        landed(tmp_path, "a.csv", content, MAPPING.replace("id AS", "id::BIGINT AS"))
    assert not list((tmp_path / "landing" / "player_events").iterdir())
