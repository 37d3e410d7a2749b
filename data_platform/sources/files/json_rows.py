"""JSON rows → the relation `input`, every value as it was written: no number re-spelt, no row judged by another.
Belongs here: splitting JSON objects into members. Not here: reading files, what a member means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from data_platform.core.sql_text import literal, quoted

ROW = "input"
"""The column that holds the whole row as JSON. It is called as the relation is: `input` alone means the row itself."""

RE_SPELT = (
    r"[:,\[]\s*-?(?:[0-9]+\.?[0-9]*[eE]|[0-9]+\.[0-9]+0[,}\]\s]|0\.0000|[0-9]+\.[0-9]{10}|[0-9]{7,}\.[0-9]{7}"
    r"|[0-9]{10,}\.[0-9]{5}|[0-9]{12,}\.)|[:,\[]\s*-0(?:\.0*)?[,}\]\s]"
)
"""Numbers that DuckDB's JSON functions write in another way than they were written (12E4 → 120000.0, 1.50 → 1.5).
Lines that have one, or look like it, are split in Python: 13 µs each instead of 2."""

TOKEN = re.compile(r'[^" \t\r\n]+|"(?:[^"\\]|\\.)*"')
WHITESPACE = re.compile(r"[ \t\r\n]*")


def load_rows(connection: duckdb.DuckDBPyConnection) -> None:
    """`lines` (number, line), each line one JSON object → `input`: a text column per member, and the row itself.

    A string is its own text, any other value is as written, null is NULL. Columns are in the order of their names, so
    that nothing depends on which row came first. Members whose names differ in case alone have no column: SQL could not
    tell them apart.
    """
    names = _column_names(connection)
    found = f"json_transform(line, {literal(json.dumps(dict.fromkeys(names, 'JSON')))})" if names else "NULL"
    values = "".join(f"{_text_of(f'found.{quoted(name)}')} AS {quoted(name)}, " for name in names)
    unusual = connection.execute(
        f"SELECT number, line FROM lines WHERE regexp_matches(line, {literal(RE_SPELT)})"  # noqa: S608
    ).fetchall()
    connection.register("unusual", _split(unusual, names))
    create = f"""
CREATE TABLE input AS SELECT * EXCLUDE number FROM (
  SELECT number, {values}json(line) AS {ROW}
  FROM (
    SELECT number, line, {found} AS found FROM lines ANTI JOIN unusual USING (number)
  )
  UNION ALL BY NAME SELECT * REPLACE ({ROW}::JSON AS {ROW}) FROM unusual
) ORDER BY number
"""  # noqa: S608
    connection.execute(create)
    connection.unregister("unusual")
    connection.execute("DROP TABLE lines")


def _column_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    found = connection.execute("SELECT DISTINCT unnest(json_keys(line)) FROM lines").fetchall()
    folded: dict[str, list[str]] = {}
    for (name,) in found:
        folded.setdefault(name.lower(), []).append(name)
    # DuckDB's json_transform knows no empty names and none with NUL; such members are in the row itself.
    return sorted(
        same[0] for key, same in folded.items() if len(same) == 1 and key not in ("", ROW) and "\0" not in key
    )


def _text_of(value: str) -> str:
    """A member's text; json_extract only where there is something to unescape."""
    written = f"({value}::VARCHAR)"
    unescaped = f"CASE WHEN contains({written}, '\\') THEN {value}->>'$' ELSE {written}[2:-2] END"
    return f"CASE WHEN {written}[1] = '\"' THEN {unescaped} ELSE nullif({written}, 'null') END"


def _split(lines: list[tuple[int, str]], names: list[str]) -> pa.Table:
    """The same columns as of the other lines, from Python's scanner, which tells where each value begins and ends."""
    rows = []
    for number, line in lines:
        try:
            rows.append(_members(line))
        except (ValueError, IndexError, StopIteration, RecursionError):  # DuckDB allows a trailing comma; JSON does not
            raise ValueError(f"row {number:,} is no JSON") from None
    columns = {name: pa.array([members.get(name) for members, _ in rows], pa.string()) for name in names}
    whole = pa.array([compact for _, compact in rows], pa.string())
    return pa.table({"number": pa.array([number for number, _ in lines], pa.int64()), **columns, ROW: whole})


def _members(line: str) -> tuple[dict[str, str | None], str]:
    """The text of each member of an object, and the object without spaces between its parts."""
    members: dict[str, str | None] = {}
    compact: list[str] = []
    for name, key, written, value in written_members(line):
        members[name] = value if written[0] == '"' or value is None else written
        compact.append(f"{key}:{written}")
    return members, "{" + ",".join(compact) + "}"


def written_members(line: str) -> Iterator[tuple[str, str, str, Any]]:
    """Of each member of an object: its name, name and value as written (without spaces between parts), its value."""
    at = _skip(line, _skip(line, 0) + 1)
    while line[at] != "}":
        name, end = STRING(line, at + 1)
        key, start = line[at:end], _skip(line, _skip(line, end) + 1)
        value, end = SCAN(line, start)
        written = line[start:end]
        if written[0] in "{[":
            written = "".join(TOKEN.findall(written))
        yield name, key, written, value
        at = _skip(line, end)
        if line[at] == ",":
            at = _skip(line, at + 1)


def _skip(line: str, at: int) -> int:
    match = WHITESPACE.match(line, at)
    return match.end() if match else at


STRING = json.decoder.scanstring  # type: ignore[attr-defined]
# Numbers stay text: Python refuses to make integers of more than 4,300 digits.
SCAN = json.JSONDecoder(parse_int=str, parse_float=str).scan_once  # type: ignore[attr-defined]
