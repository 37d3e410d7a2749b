"""Anybody's files become canonical events by one SELECT; a wrong mapping gets an error that names the column and shows
an example. Real files go end to end when ../shared/data is there. Not here: what ingestion does with the events."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import zstandard

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.settings import PROJECT_ROOT
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.events import (
    PlayerEvents,
    PlayerEventsRejected,
    RawPlayerEvents,
    RawPlayerEventsRejected,
)
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources.files.mapping import MappedFile, map_file
from data_platform_tests.support import oracles
from data_platform_tests.support.homes import Home
from data_platform_tests.support.shared_data import SHARED_DATA

PROJECT = PROJECT_ROOT
EVENTS_IN_FIREBALL = 342
"""`wc -l` says 341: the last line has no newline."""
ROWS = [
    {"id": 1, "who": "ann", "at": "2024-01-03T10:00:00Z", "amount": 2.5},
    {"id": 2, "who": "bob", "at": "2024-01-03T11:30:00+02:00", "amount": None},
    {"id": 3, "who": "c\"é,'d", "at": "2024-01-04T00:00:00Z", "amount": -1.0},
]
MAPPING = """
SELECT id::VARCHAR AS event_id, who AS player_id, 'purchase' AS event_type, {'amount': amount::DOUBLE} AS event_data,
  "at"::TIMESTAMPTZ AS timestamp
FROM input
"""


def as_csv(separator: str) -> bytes:
    return pl.DataFrame(ROWS).write_csv(separator=separator).encode()


def as_parquet(path: Path) -> bytes:
    pl.DataFrame(ROWS).write_parquet(path)
    return path.read_bytes()


NDJSON = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def mapped(home: Home, name: str, content: bytes, mapping: str = MAPPING) -> MappedFile:
    home.path.mkdir(parents=True, exist_ok=True)
    (home.path / name).write_bytes(content)
    (home.path / "mapping.sql").write_text(mapping)
    return map_file(home.path / name, home.path / "mapping.sql", PLAYER_EVENTS, home.landing)


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a.tsv", "a.json", "a.ndjson", "a.jsonl", "a.parquet", "a.csv.gz", "a.tsv.gz", "a.ndjson.gz",
     "a.json.gz", "a.csv.zst", "a.ndjson.zst", "odd name é'.csv", "A.CSV"],
)  # fmt: skip
def test_files_by_their_extension(home: Home, tmp_path: Path, name: str) -> None:
    kind = name.lower().removesuffix(".gz").removesuffix(".zst").rsplit(".", 1)[-1]
    content = {
        "csv": as_csv(","), "tsv": as_csv("\t"), "json": json.dumps(ROWS).encode(), "ndjson": NDJSON, "jsonl": NDJSON,
        "parquet": as_parquet(tmp_path / "x.parquet"),
    }[kind]  # fmt: skip
    content = gzip.compress(content, mtime=0) if name.endswith(".gz") else content
    content = zstandard.compress(content) if name.endswith(".zst") else content
    result = mapped(home, name, content)
    assert result.rows == 3
    home.ingest()
    raw = home.raw().sort("event_id")
    assert home.rejected().is_empty()
    assert raw["event_id"].to_list() == ["1", "2", "3"]
    assert raw["player_id"].to_list() == ["ann", "bob", "c\"é,'d"]
    assert raw["timestamp"].to_list() == [
        dt.datetime(2024, 1, 3, 10, tzinfo=dt.UTC),
        dt.datetime(2024, 1, 3, 9, 30, tzinfo=dt.UTC),
        dt.datetime(2024, 1, 4, tzinfo=dt.UTC),
    ]
    assert [json.loads(text) for text in raw["event_data"]] == [{"amount": 2.5}, {"amount": None}, {"amount": -1.0}]
    assert raw["event_type"].unique().to_list() == ["purchase"]
    assert raw["campaign_id"].null_count() == 3


def test_columns_the_platform_does_not_know_are_kept(home: Home) -> None:
    mapping = MAPPING.replace("FROM input", ", amount, [1, 2] AS list, {'a': id} AS nested FROM input")
    mapped(home, "a.ndjson", NDJSON, mapping)
    home.ingest()
    extra = [json.loads(text) for text in home.raw().sort("event_id")["extra_fields"]]
    given = [{} if row["amount"] is None else {"amount": str(row["amount"])} for row in ROWS]
    assert extra == [
        one | {"list": [1, 2], "nested": {"a": str(row["id"])}} for one, row in zip(given, ROWS, strict=True)
    ]


def test_mapping_a_file_twice_lands_it_once(home: Home) -> None:
    first, second = mapped(home, "a.ndjson", NDJSON), mapped(home, "a.ndjson", NDJSON)
    assert first == second
    home.ingest()
    again = mapped(home, "a.ndjson", NDJSON)
    assert again.landed == first.landed
    home.ingest()
    assert len(home.raw()) == 3, "also after it was ingested"
    mapped(home, "a.ndjson", NDJSON, MAPPING.replace("purchase", "sale"))
    home.ingest()
    assert len(home.raw()) == 6, "another mapping is another file"


def test_two_files_of_one_name_both_land(home: Home, tmp_path: Path) -> None:
    """As exports from two places often are called the same."""
    (tmp_path / "mapping.sql").write_text(MAPPING)
    for folder, row in zip("ab", ROWS, strict=False):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "export.ndjson").write_text(json.dumps(row) + "\n")
        map_file(tmp_path / folder / "export.ndjson", tmp_path / "mapping.sql", PLAYER_EVENTS, home.landing)
    home.ingest()
    assert sorted(home.raw()["event_id"]) == ["1", "2"]


def test_rows_that_cannot_be_events_land_and_are_rejected_with_a_reason(home: Home) -> None:
    rows = [*ROWS, {"id": None, "who": "ann", "at": "2024-01-03"}, {"id": 5, "who": "", "at": "2024-01-03"},
            {"id": 6, "who": "ann", "at": "soon"}, {"id": 7, "who": "ann", "at": "1999-01-01"}]  # fmt: skip
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    mapping = MAPPING.replace('"at"::TIMESTAMPTZ', 'TRY_CAST("at" AS TIMESTAMPTZ)')
    assert mapped(home, "a.ndjson", content, mapping).rows == 7
    home.ingest()
    assert len(home.raw()) == 3
    assert sorted(home.rejected()["reason"]) == sorted(
        ["missing_event_id", "missing_player_id", "missing_timestamp", "timestamp_before_first_day"]
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("TIMESTAMP '2024-01-03 10:00:00.123456'", "2024-01-03T10:00:00.123456+00:00"),
        ("TIMESTAMPTZ '2024-01-03 10:00:00+02'", "2024-01-03T08:00:00+00:00"),
        ("DATE '2024-01-03'", "2024-01-03T00:00:00+00:00"),
        ("to_timestamp(1704276000)", "2024-01-03T10:00:00+00:00"),
        ("epoch_ms(1704276000123)", "2024-01-03T10:00:00.123000+00:00"),
        ("TIMESTAMP_NS '2024-01-03 10:00:00.123456000'", "2024-01-03T10:00:00.123456+00:00"),
        ("'2024-01-03T10:00:00-01:00'", "2024-01-03T11:00:00+00:00"),
    ],
)
def test_kinds_of_time(home: Home, expression: str, expected: str) -> None:
    mapped(home, "a.ndjson", NDJSON, f"SELECT id AS event_id, who AS player_id, {expression} AS timestamp FROM input")  # noqa: S608
    home.ingest()
    assert home.raw()["timestamp"][0].isoformat() == expected
    assert home.raw()["event_id"].to_list() == ["1", "2", "3"], "whole numbers become text"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{'a': 1}", {"a": 1}),
        ("MAP {'a': 1}", {"a": 1}),
        ("'{\"a\": [1, null]}'::JSON", {"a": [1, None]}),
        ("'{\"a\": 1}'", {"a": 1}),
        ("to_json(input)", ROWS[0]),
        ("NULL", None),
    ],
)
def test_kinds_of_event_data(home: Home, expression: str, expected: Any) -> None:
    sql = f'SELECT id AS event_id, who AS player_id, "at" AS timestamp, {expression} AS event_data FROM input'  # noqa: S608
    content = "".join(json.dumps(row | {"at": "2024-01-03T10:00:00 UTC"}) + "\n" for row in ROWS).encode()
    expected = expected | {"at": "2024-01-03T10:00:00 UTC"} if expression == "to_json(input)" else expected
    mapped(home, "a.ndjson", content, sql)
    home.ingest()
    found = home.raw()["event_data"][0]
    assert (None if found is None else json.loads(found)) == expected


def test_text_that_is_no_json_is_rejected_and_does_not_stop_the_file(home: Home) -> None:
    sql = 'SELECT id AS event_id, who AS player_id, "at" AS timestamp, who AS event_data FROM input'
    mapped(home, "a.ndjson", NDJSON, sql)
    home.ingest()
    assert home.rejected()["reason"].to_list() == ["wrong_type_event_data"] * 3


SELECT = "SELECT 'e' AS event_id, 'p' AS player_id, now() AS timestamp"
WRONG: dict[str, tuple[str, list[str]]] = {
    "no event id": (MAPPING.replace("AS event_id", "AS id"), ["`event_id`"]),
    "no player id": (MAPPING.replace("AS player_id", "AS player"), ["`player_id`"]),
    "no timestamp": (MAPPING.replace("AS timestamp", "AS moment"), ["`timestamp`"]),
    "null as id": (MAPPING.replace("id::VARCHAR AS event_id", "NULL AS event_id"), ["`event_id`"]),
    "number as time": (MAPPING.replace('"at"::TIMESTAMPTZ', "1704276000"), ["`timestamp`", "INTEGER", "to_timestamp"]),
    "list as id": (MAPPING.replace("id::VARCHAR", "[id]"), ["`event_id`", "[]"]),
    "list of texts as id": (MAPPING.replace("id::VARCHAR", "[who]"), ["`event_id`", "[]"]),
    "struct as player": (MAPPING.replace("who AS player_id", "{'a': who} AS player_id"), ["`player_id`", "STRUCT"]),
    "number as data": (MAPPING.replace("{'amount': amount::DOUBLE}", "amount::DOUBLE"), ["`event_data`", "DOUBLE"]),
    "float as id": (MAPPING.replace("id::VARCHAR", "id::DOUBLE"), ["`event_id`", "DOUBLE", "re-spell", "cast it to"]),
    "sum of texts": (MAPPING.replace("amount::DOUBLE", "amount + 1"), ["line 2, column", "are text: cast", "^"]),
    "part of a text": (MAPPING.replace("who AS", "who.name AS"), ["->>'login'"]),
    "unknown column": (
        MAPPING.replace("who AS", "user_name AS"),
        ["user_name", "line 2, column 33", "columns amount, at, id, who", "input->>"],
    ),
    "unknown function": (MAPPING.replace("id::VARCHAR", "varchr(id)"), ["varchr"]),
    "function of an extension": (MAPPING.replace("id::VARCHAR", "text(id, 1)"), ["text"]),
    "unknown table": (MAPPING.replace("FROM input", "FROM events"), ["events"]),
    "value that does not convert": (MAPPING.replace('"at"::', "who::"), ["ann", "TRY_CAST"]),
    "two statements": (f"{MAPPING}; SELECT 1", ["exactly one SELECT"]),
    "no statement": ("-- nothing\n", ["exactly one SELECT"]),
    "not a SELECT": ("DELETE FROM input", ["exactly one SELECT"]),
    "writes a file": (f"COPY ({SELECT}) TO '/tmp/never.csv'", ["exactly one SELECT"]),
    "syntax error": (MAPPING.replace("SELECT", "SELECT,"), ["not valid SQL"]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_mapping_names_the_column_and_shows_an_example(home: Home, kind: str) -> None:
    mapping, parts = WRONG[kind]
    with pytest.raises(PlatformError) as raised:
        mapped(home, "a.ndjson", NDJSON, mapping)
    message = str(raised.value)
    for part in [*parts, "mapping.sql", "FROM input", "AS event_id"]:
        assert part in message
    assert "Traceback" not in message
    assert not list((home.landing / "player_events").rglob("*.gz")), "nothing lands"


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.xlsx", b"PK", [".xlsx", ".csv"]),
        ("a", b"", ["(none)"]),
        ("a.gz", gzip.compress(b"{}", mtime=0), ["not known"]),
        ("a.parquet", b"no parquet", ["cannot be read"]),
        ("a.ndjson", b"{broken\n", ["cannot be read"]),
        ("a.json.gz", gzip.compress(NDJSON, mtime=0)[:40], ["cannot be read"]),
    ],
)
def test_a_file_that_cannot_be_read(home: Home, name: str, content: bytes, parts: list[str]) -> None:
    with pytest.raises(PlatformError) as raised:
        mapped(home, name, content)
    for part in [name, *parts]:
        assert part in str(raised.value)


def test_files_that_are_not_there(home: Home, tmp_path: Path) -> None:
    mapping = tmp_path / "m.sql"
    mapping.write_text(MAPPING)
    with pytest.raises(PlatformError, match="no file"):
        map_file(tmp_path / "none.csv", mapping, PLAYER_EVENTS, home.landing)
    (tmp_path / "a.ndjson").write_bytes(NDJSON)
    for wrong in (tmp_path / "none.sql", tmp_path):
        with pytest.raises(PlatformError, match="cannot be read"):
            map_file(tmp_path / "a.ndjson", wrong, PLAYER_EVENTS, home.landing)


def test_an_empty_file_lands_no_rows(home: Home) -> None:
    result = mapped(
        home, "a.csv", b"id,who,at,amount\n", MAPPING.replace("id::VARCHAR", "id").replace("who AS", "who::VARCHAR AS")
    )
    assert result.rows == 0
    home.ingest()
    assert home.raw().is_empty()
    assert home.rejected().is_empty()


# ------------------------------------------------------------------------- files nobody here made
def data_platform(home: Home, *arguments: str, first_day: str = "2015-01-01") -> str:
    """Run the command in a process of its own, with a first day long ago."""
    done = subprocess.run(
        [sys.executable, "-m", "data_platform_tests.support.command", *arguments],
        env=home.environment(DATA_PLATFORM_FIRST_DAY=first_day),
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def assert_features_equal_the_oracle(lake: Lake, days: list[dt.date]) -> None:
    events = lake.scan(PlayerEvents, days[0] - dt.timedelta(29), days[-1]).collect().to_dicts()
    expected = oracles.churn_rows(events, [], [], [], days)
    found = lake.scan(PlayerChurnFeatures, days[0], days[-1]).sort("snapshot_date", "player_id").collect()
    assert len(found)
    assert len(found) == len(expected)
    for row, wanted in zip(found.iter_rows(named=True), expected, strict=True):
        assert row.keys() == wanted.keys()
        for name, value in wanted.items():
            if isinstance(value, float):
                assert row[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name
            else:
                assert row[name] == value, (name, row["player_id"], row["snapshot_date"])


@pytest.mark.skipif(not (SHARED_DATA / "zooniverse").is_dir(), reason="needs ../shared/data/zooniverse")
def test_zooniverse_end_to_end(home: Home) -> None:
    files = sorted((SHARED_DATA / "zooniverse").glob("*.csv"))
    in_files = sum(
        duckdb.sql(f"SELECT count(*) FROM read_csv('{file}', sample_size = -1, parallel = false)").fetchall()[0][0]  # noqa: S608
        for file in files
    )
    assert in_files == 6246
    landed = json.loads(
        data_platform(home, "ingest", *map(str, files), "--mapping", str(PROJECT / "examples/zooniverse.sql"), "--json")
    )
    assert sum(one["rows"] for one in landed) == 6246
    data_platform(home, "build", "player_session_days", "player_daily_activity")
    raw, rejected = home.rows(RawPlayerEvents), home.rows(RawPlayerEventsRejected)
    assert len(raw) + len(rejected) == 6246
    assert (home.ledger()["received_lines"].sum(), home.ledger()["stored_lines"].sum()) == (6246, len(raw))
    assert raw["session_id"].n_unique() == 308, "307 ids, and 30 events without one"
    assert (raw["session_id"].drop_nulls().n_unique(), raw["session_id"].null_count()) == (307, 30)
    assert raw["player_id"].n_unique() == 185
    clean = home.rows(PlayerEvents)
    assert clean["player_id"].n_unique() == 185
    assert clean.select(pl.struct("event_date", "event_id").is_unique().all()).item()
    busiest, _ = Counter(clean["event_date"].to_list()).most_common(1)[0]
    days = [busiest + dt.timedelta(n) for n in range(3)]
    data_platform(home, "build", "features/player_churn_features", "--from", str(days[0]), "--to", str(days[-1]))
    assert_features_equal_the_oracle(home.lake, days)


@pytest.mark.skipif(not (SHARED_DATA / "fireball_dnd").is_dir(), reason="needs ../shared/data/fireball_dnd")
def test_fireball_end_to_end(home: Home) -> None:
    file = SHARED_DATA / "fireball_dnd" / "raw.jsonl"
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    mapping = PROJECT / "examples/fireball_dnd.sql"
    assert map_file(file, mapping, PLAYER_EVENTS, home.landing).rows == len(lines) == EVENTS_IN_FIREBALL
    data_platform(home, "build", first_day="2022-11-20")
    assert len(home.raw()) == EVENTS_IN_FIREBALL
    assert home.rejected().is_empty()
    assert home.raw()["session_id"].n_unique() == len({one["combat_id"] for one in lines})
    assert Counter(home.raw()["event_type"]) == Counter(one["event_type"] for one in lines)
    clean, rejected = home.rows(PlayerEvents), home.rows(PlayerEventsRejected)
    assert set(clean["event_id"]) == set(home.raw()["event_id"])
    assert rejected.is_empty(), "the id is made of the content: equal ids have equal content"
    assert_features_equal_the_oracle(home.lake, sorted(set(clean["event_date"])))
