"""Values reach a mapping, and landing, as they are written: no type is guessed, no row depends on its file's others.
Not here: what a mapping must yield (test_mapping), options and hostile mappings (test_foreign_files)."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources.files.mapping import map_file
from data_platform.sources.landing_source import LandingSource
from data_platform_tests.support.homes import Home

RECIPE = """SELECT id::VARCHAR AS event_id, who AS player_id, '{}' AS event_data, zeit::TIMESTAMPTZ AS timestamp
FROM input
-- a mapping may end in a comment"""


def landed(
    folder: Path, name: str, content: str | bytes, mapping: str, into: LandingSource = PLAYER_EVENTS
) -> list[str]:
    """The lines that a file becomes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "mapping.sql").write_text(mapping)
    result = map_file(folder / name, folder / "mapping.sql", into, folder / "landing")
    return gzip.open(result.landed, "rt", encoding="utf-8").read().rstrip("\n").split("\n")


def ids(lines: list[str]) -> list[str]:
    return [json.loads(line)["event_id"] for line in lines]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,who,zeit\n{0},a,2026-11-05T10:00:00Z\n{1},b,2026-11-05T10:00:00Z\n"),
        ("a.ndjson", '{{"id":{0},"who":"a","zeit":"2026-11-05T10:00:00Z"}}\n'
                     '{{"id": {1}, "who": "b", "zeit": "2026-11-05T10:00:00Z"}}\n'),
        ("a.json", '[{{"id":{0},"who":"a","zeit":"2026-11-05T10:00:00Z"}},\n'
                   ' {{"id":{1} ,"who":"b","zeit":"2026-11-05T10:00:00Z"}}]'),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "two",
    [
        ("18446744073709551616", "18446744073709551617"),
        ("12E4", "120000"),
        ("1.50", "1.5"),
        ("0.10000000000000000555", "0.1"),
        ("-0", "0"),
        ("1e400", "0.00001"),
        ("1669412158.3112302", "1.6694121583112302E9"),
    ],
)
def test_ids_stay_as_they_are_written(tmp_path: Path, name: str, content: str, two: tuple[str, str]) -> None:
    assert ids(landed(tmp_path, name, content.format(*two), RECIPE)) == list(two)


def test_a_payload_stays_as_it_is_written(tmp_path: Path) -> None:
    """Also beside rows with other members, and ids that are UUIDs all of them."""
    payloads = [
        '{"at":"2026-11-05T00:00:06Z","id":"6F9619FF-8B86-D011-B42D-00CF4FC964FF","n":1.50,"big":18446744073709551617}',
        '{"only":null,"list":[1, 2.0, "a b"],"e":12E4}',
    ]
    content = "".join(f'{{"id":"{n}","who":"a","p": {payload}}}\n' for n, payload in enumerate(payloads))
    mapping = """SELECT id AS event_id, who AS player_id, p AS event_data, now() AS timestamp, input AS device_info,
      p::JSON AS again, input->'p' AS extracted FROM input"""
    rows = [json.loads(line, parse_float=str, parse_int=str) for line in landed(tmp_path, "a.ndjson", content, mapping)]
    expected = [json.loads(payload, parse_float=str, parse_int=str) for payload in payloads]
    assert [row["event_data"] for row in rows] == expected
    assert [row["again"] for row in rows] == expected
    assert [row["device_info"]["p"] for row in rows] == expected


def test_money_keeps_its_digits(tmp_path: Path) -> None:
    mapping = """SELECT id AS event_id, 'p' AS player_id, now() AS timestamp, price AS written,
      price::DECIMAL(18, 2) AS decimal, {'price': price::DECIMAL(18, 4)} AS event_data FROM input"""
    (line,) = landed(tmp_path, "a.csv", "id,price\n1,12.50\n", mapping)
    assert '"written":"12.50"' in line
    assert '"decimal":12.50' in line
    assert '"event_data":{"price":12.5000}' in line


@pytest.mark.parametrize("day", ["11/10/2026 10:00", "10/11/2026 10:00", "25/11/2026 10:00"])
def test_a_date_is_read_by_one_stated_format_or_refused(home: Home, tmp_path: Path, day: str) -> None:
    """A file with days after the 12th alone would tell a guesser otherwise than one without."""
    content = f'id,zeit\n1,"{day}"\n'
    mapping = "SELECT id AS event_id, 'p' AS player_id, {} AS timestamp FROM input"
    with pytest.raises(PlatformError, match="strptime"):
        landed(tmp_path, "a.csv", content, mapping.format("zeit::TIMESTAMPTZ"))
    (line,) = landed(tmp_path, "a.csv", content, mapping.format("strptime(zeit, '%d/%m/%Y %H:%M')"))
    month, number = day[3:5], day[:2]
    assert json.loads(line)["timestamp"] == f"2026-{month}-{number}T10:00:00.000000Z"


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
SCALARS = st.one_of(NUMBERS, st.sampled_from(["null", "true", "false"]), st.text(max_size=6).map(json.dumps),
                    st.sampled_from(['"2026-11-05T00:00:06Z"', '"12E4"', '"6F9619FF-8B86-D011-B42D-00CF4FC964FF"'])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: "[" + ", ".join(values) + "]"),
        st.dictionaries(st.sampled_from(["x", "y z", 'q"']), inner, max_size=3).map(
            lambda values: "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in values.items()) + "}"
        ),
    ),
    max_leaves=6,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c d", "input"]), VALUES, max_size=4), min_size=1, max_size=8
)
WHOLE = """SELECT id AS event_id, input->>'a' AS player_id, input AS event_data, now()::DATE AS timestamp, * EXCLUDE id
FROM input"""


def exactly(text: str) -> Any:
    """Parsed, with numbers as written, and told from texts."""
    return json.loads(text, parse_int=lambda n: ("number", n), parse_float=lambda n: ("number", n))


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, data=st.data())
def test_the_same_rows_in_other_files_are_the_same_events(rows: list[dict[str, str]], data: st.DataObject) -> None:
    lines = [
        "{" + ", ".join([f'"id": "{n}"', *(f'"{name}": {value}' for name, value in row.items())]) + "}"
        for n, row in enumerate(rows)
    ]
    order = data.draw(st.permutations(lines))
    cut = data.draw(st.integers(0, len(lines)))
    with tempfile.TemporaryDirectory() as folder:
        whole = landed(Path(folder), "whole.ndjson", "\n".join(lines), WHOLE)
        parts = [part for part in (order[:cut], order[cut:]) if part]
        split = [landed(Path(folder), f"{n}.json", "[" + ",\n".join(part) + "]", WHOLE) for n, part in enumerate(parts)]
    assert sorted(whole) == sorted(line for part in split for line in part)
    for line, sent in zip(whole, lines, strict=True):
        found = exactly(line)
        assert found["event_data"] == exactly(sent)
        for name, value in exactly(sent).items():
            if name != "id" and not isinstance(value, (dict, list, str, tuple)):
                assert found.get(name) == (None if value is None else str(value).lower()) or name == "input"
            elif isinstance(value, tuple) and name != "input":
                assert found[name] == value[1]
            elif isinstance(value, str) and name not in ("id", "input"):
                assert found[name] == value


def test_members_that_differ_in_case_alone_are_read_from_the_row(tmp_path: Path) -> None:
    content = '{"id":"1","ID":"2"}\n'
    mapping = "SELECT {} AS event_id, 'p' AS player_id, now() AS timestamp FROM input"
    with pytest.raises(PlatformError, match="input->>"):
        landed(tmp_path, "a.ndjson", content, mapping.format("id"))
    assert ids(landed(tmp_path, "a.ndjson", content, mapping.format("input->>'ID'"))) == ["2"]


def test_null_is_null(tmp_path: Path) -> None:
    mapping = "SELECT coalesce(id, 'none') AS event_id, input->'id' AS player_id, now() AS timestamp FROM input"
    assert [
        (row["event_id"], row.get("player_id"))
        for row in map(json.loads, landed(tmp_path, "a.ndjson", '{"id":null}\n{"id":"null"}\n{"id":7}\n{}\n', mapping))
    ] == [("none", None), ("null", "null"), ("7", "7"), ("none", None)]
