"""NDJSON lines → typed rows and rejected lines, by the contract of the raw table.
Belongs here: what makes a line acceptable, and the reason codes. Not here: files, batches, storage."""

from __future__ import annotations

import datetime as dt
import json
import threading
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from data_platform.core.contract import UTC_MICROSECONDS, Column
from data_platform.core.received import ReceivedLines, RejectedLines
from data_platform.sources.compressed_lines import LineChunk

NO_JSON = r",\s*[\]}]|[:,\[]\s*-?(?i:nan|inf)"
"""What DuckDB's JSON parser accepts although it is no JSON: trailing commas, and NaN and infinity in any case. Lines
that look like it get a second, strict look in Python (about 5 µs a line); well-made files match only inside texts."""

TRAILING_COMMA = r",\s*[\]}]"
NOT_A_NUMBER = r"[:,\[]-?(?i:nan|inf)"
"""The same two, apart: a comma is gone once the line is parsed, the others stay as they were written."""


@dataclass(frozen=True)
class LandingSource:
    """A landing folder: its name, where its lines and its rejected lines go, and which field dates a row."""

    name: str
    table: type[ReceivedLines]
    rejected: type[RejectedLines]
    time_field: str
    clamp_to_first_day: bool = False
    """File what happened before the first day under the first day, instead of rejecting it."""

    def fields(self) -> list[Column]:
        """What a line may carry: the raw table's columns without its bookkeeping."""
        bookkeeping = {*ReceivedLines.columns, self.table.partition}
        return [column for name, column in self.table.columns.items() if name not in bookkeeping]


@dataclass(frozen=True)
class Received:
    """One file's circumstances, the same on every attempt to take it in."""

    file: str
    digest: str
    at: dt.datetime


@dataclass(frozen=True)
class ParsedChunk:
    """Rows of the raw table, and lines of the rejected table; together every line of the chunk exactly once."""

    rows: pl.DataFrame
    rejected: pl.DataFrame


class LineParser:
    """Parses chunks of one source. Safe to use from several threads: each has a DuckDB connection of its own."""

    def __init__(self, source: LandingSource, first_day: dt.date, future_tolerance: dt.timedelta) -> None:
        self.source = source
        self.first_day = first_day
        self.future_tolerance = future_tolerance
        self.plain_sql = _plain_sql(source)
        self.careful_sql = _careful_sql(source)
        self._local = threading.local()

    def parse(self, chunk: LineChunk, received: Received) -> ParsedChunk:
        """Every line of the chunk, once: nearly all by the cheap query, what it is not sure of by the careful one."""
        lines, invalid = chunk.table()
        quick = self._query(self.plain_sql, lines, received)
        plain = quick["plain"]
        if plain.all() and not invalid:
            return ParsedChunk(self._rows(quick, received), self.source.rejected.empty())
        examined = self._examined(lines.filter((~plain).to_arrow()), invalid, received)
        rows = pl.concat([self._rows(quick.filter(plain), received), examined.rows])
        return ParsedChunk(rows, examined.rejected)

    def _examined(self, lines: pa.Table, invalid: list[tuple[int, bytes]], received: Received) -> ParsedChunk:
        parsed = self._query(self.careful_sql, lines, received)
        doubtful = parsed.filter(pl.col("doubtful") & pl.col("reason").is_null()).select("line_number", "line")
        not_json = [n for n, line in doubtful.iter_rows() if not is_strict_json(line)]
        if not_json:
            condemned = pl.col("line_number").is_in(not_json)
            parsed = parsed.with_columns(reason=pl.when(condemned).then(pl.lit("invalid_json")).otherwise("reason"))
        good = parsed["reason"].is_null()
        rejected = self._rejected(parsed.filter(~good), invalid, received)
        return ParsedChunk(self._rows(parsed.filter(good), received), rejected)

    def _query(self, sql: str, lines: pa.Table, received: Received) -> pl.DataFrame:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = duckdb.connect(config={"threads": 1})
            connection.execute("SET TimeZone = 'UTC'")
        connection.register("lines", lines)
        parameters = {"latest": received.at + self.future_tolerance, "first_day": self.first_day}
        try:
            found: pl.DataFrame = pl.from_arrow(connection.sql(sql, params=parameters).to_arrow_table())  # type: ignore[assignment]
        finally:
            connection.unregister("lines")
        return found

    def _rows(self, good: pl.DataFrame, received: Received) -> pl.DataFrame:
        schema = self.source.table.schema()
        return good.with_columns(
            source_file=pl.lit(received.file),
            source_line=pl.col("line_number"),
            received_at=pl.lit(received.at).cast(UTC_MICROSECONDS),
        ).select(pl.col(name).cast(dtype) for name, dtype in schema.items())

    def _rejected(self, bad: pl.DataFrame, invalid: list[tuple[int, bytes]], received: Received) -> pl.DataFrame:
        broken = pl.DataFrame(
            {
                "line_number": [number for number, _ in invalid],
                "reason": ["invalid_utf8"] * len(invalid),
                "line": [line.decode(errors="replace") for _, line in invalid],
                "line_bytes": [line.rstrip(b"\n") for _, line in invalid],
            },
            schema={"line_number": pl.Int64, "reason": pl.String, "line": pl.String, "line_bytes": pl.Binary},
        )
        lines = pl.concat([bad.select("line_number", "reason", "line"), broken], how="diagonal").with_columns(
            received_date=pl.lit(received.at.date()),
            file_digest=pl.lit(received.digest),
            source_file=pl.lit(received.file),
            source_line=pl.col("line_number"),
            line=pl.col("line").str.strip_suffix("\n"),
            received_at=pl.lit(received.at).cast(UTC_MICROSECONDS),
        )
        return lines.select(pl.col(name).cast(dtype) for name, dtype in self.source.rejected.schema().items())


def is_strict_json(line: str) -> bool:
    """True for text that is JSON by RFC 8259 (no NaN, no trailing comma)."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        # Numbers stay text: Python refuses to make integers of more than 4,300 digits.
        json.loads(line, parse_constant=refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _plain_sql(source: LandingSource) -> str:
    """One SELECT over the relation `lines` that yields every line's typed fields, and whether the line is plain: surely
    acceptable, and its values surely right.

    2.5 µs a line where the careful query takes 5: strings without a backslash are cut out of the parsed text instead of
    being unescaped, and nothing is worked out about what is wrong. What it says of a line that is not plain is ignored.
    """
    fields = source.fields()
    names = [field.name for field in fields]
    shape = json.dumps({name: "JSON" for name in names})
    present = " + ".join(f'("{name}_json" IS NOT NULL)::UTINYINT' for name in names)
    moment, day = f'"{source.time_field}"', f'"{source.time_field}"::DATE'
    plain = [_is_plain(field) for field in fields]
    plain.append(f"{moment} <= $latest")
    plain.append(f"NOT regexp_matches(line, '{TRAILING_COMMA}')")
    # Counting keys is cheaper than comparing them. More keys than values found are nulls, which are looked for one by
    # one, or unknown or repeated keys, which leave the line to the careful query.
    nulls = " + ".join(
        f"CASE WHEN \"{field.name}_json\" IS NULL THEN TRY(json_exists(line, '$.{field.name}'))::UTINYINT ELSE 0 END"
        for field in fields
        if field.nullable
    )
    plain.append(f"CASE WHEN keys = {present} THEN true ELSE keys = {present} + {nulls or 0} END")
    if source.clamp_to_first_day:
        day = f"greatest({day}, $first_day::DATE)"
    else:
        plain.append(f"{day} >= $first_day::DATE")
    return f"""
WITH parsed AS (
  SELECT line_number, line, TRY(json_transform(line, '{shape}')) AS found, len(TRY(json_keys(line))) AS keys FROM lines
), fields AS (
  SELECT line_number, line, keys, {", ".join(f'found."{name}"::VARCHAR AS "{name}_json"' for name in names)} FROM parsed
), typed AS (
  SELECT *, {", ".join(f'{_cut_out(field)} AS "{field.name}"' for field in fields)} FROM fields
)
SELECT line_number, {day} AS "{source.table.partition}", {", ".join(f'"{name}"' for name in names)},
  NULL::VARCHAR AS extra_fields, coalesce({" AND ".join(plain)}, false) AS plain
FROM typed
"""


def _cut_out(field: Column) -> str:
    """The typed value of a field that is plain."""
    value = f'"{field.name}_json"'
    if field.is_json:
        return value
    if field.dtype in (pl.String(), UTC_MICROSECONDS):
        text = f"substr({value}, 2, strlen({value}) - 2)"
        return text if field.dtype == pl.String() else f"TRY_CAST({text} AS TIMESTAMPTZ)"
    return _typed(field)


def _is_plain(field: Column) -> str:
    """The condition under which `_cut_out` is right and the contract is met; absent optional fields are plain."""
    raw, value = f'"{field.name}_json"', f'"{field.name}"'
    if field.is_json:
        terms = [f"starts_with({raw}, '{{')", f"NOT regexp_matches({raw}, '{NOT_A_NUMBER}')"]
    elif field.dtype == pl.String():
        # strlen counts bytes and substr characters: they agree where all is ASCII, else the cut takes too much.
        terms = [f"starts_with({raw}, '\"')", f"NOT contains({raw}, '\\')", f"strlen({raw}) = length({raw})"]
        terms += [f"{value} <> ''", f"NOT starts_with({value}, ' ')"] if field.min_length else []
        terms += [f"{value} IN ({_literals(field.isin)})"] if field.isin else []
    elif field.dtype == UTC_MICROSECONDS:
        terms = [f"starts_with({raw}, '\"')", f"isfinite({value})"]
    else:
        terms = [f"{value} IS NOT NULL"]
    condition = " AND ".join(terms)
    return f"({raw} IS NULL OR ({condition}))" if field.nullable else f"({condition})"


def _literals(values: tuple[Any, ...] | None) -> str:
    return ", ".join("'" + str(value).replace("'", "''") + "'" for value in values or ())


def _careful_sql(source: LandingSource) -> str:
    """One SELECT over the relation `lines` that yields every line with its typed fields and a reason (null: good).

    Built from the contract alone; nothing received enters the text of the query.
    """
    fields = source.fields()
    names = [field.name for field in fields]
    shape = json.dumps({name: "JSON" for name in names})
    known = json.dumps({name: None for name in names})
    moment = f'"{source.time_field}_value"'
    partition = f"{moment}::DATE"
    reasons = [_reason(field) for field in fields]
    reasons.append(f"WHEN {moment} > $latest THEN '{source.time_field}_in_future'")
    if source.clamp_to_first_day:
        partition = f"greatest({partition}, $first_day::DATE)"
    else:
        reasons.append(f"WHEN {moment}::DATE < $first_day::DATE THEN '{source.time_field}_before_first_day'")
    present = " + ".join(f'("{name}_json" IS NOT NULL)::INT' for name in names)
    typed = ",\n    ".join(f'{_typed(field)} AS "{field.name}_value"' for field in fields)
    values = ",\n  ".join(f'"{field.name}_value" AS "{field.name}"' for field in fields)
    # Trimming every line would cost as much as parsing it (0.2 s per 90,000 lines): only broken ones are trimmed.
    return f"""
WITH parsed AS (
  SELECT line_number, line, TRY(json_transform(line, '{shape}')) AS found, len(TRY(json_keys(line))) AS keys FROM lines
), fields AS (
  SELECT line_number, line, keys, found IS NULL AS not_json,
    {", ".join(f'found."{name}"::VARCHAR AS "{name}_json"' for name in names)}
  FROM parsed
), typed AS (
  SELECT *, {typed},
    CASE WHEN keys > {present} THEN nullif(json_merge_patch(line, '{known}')::VARCHAR, '{{}}') END AS extra_fields
  FROM fields
), judged AS (
  SELECT *,
    CASE WHEN not_json THEN CASE trim(line, E' \t\r\n')
        WHEN '' THEN 'blank_line' WHEN 'null' THEN 'not_an_object' ELSE 'invalid_json' END
      WHEN ltrim(line, E' \t\r')[1] <> '{{' THEN 'not_an_object'
      {" ".join(reasons)} END AS reason,
    regexp_matches(line, '{NO_JSON}') AS doubtful
  FROM typed
)
SELECT line_number, CASE WHEN reason IS NOT NULL OR doubtful THEN line END AS line, doubtful, reason,
  {partition} AS "{source.table.partition}",
  {values},
  extra_fields
FROM judged
"""


def _text(name: str) -> str:
    """The string inside a JSON string; json_extract only where there is something to unescape."""
    value = f'"{name}_json"'
    return f"CASE WHEN contains({value}, '\\') THEN json_extract_string({value}, '$') ELSE {value}[2:-2] END"


def _typed(field: Column) -> str:
    value = f'"{field.name}_json"'
    if field.is_json:
        return f"CASE WHEN {value}[1] = '{{' THEN {value} END"
    if field.dtype == pl.String():
        return f"CASE WHEN {value}[1] = '\"' THEN {_text(field.name)} END"
    if field.dtype == UTC_MICROSECONDS:
        moment = f"TRY_CAST({_text(field.name)} AS TIMESTAMPTZ)"
        return f"CASE WHEN {value}[1] = '\"' AND isfinite({moment}) THEN {moment} END"
    number = f"CASE WHEN {value}[1] BETWEEN '0' AND '9' OR {value}[1] = '-' THEN TRY_CAST({value} AS DOUBLE) END"
    if field.dtype == pl.Float64():
        return number
    if field.dtype == pl.Int64():
        return f"CASE WHEN {number} = floor({number}) THEN TRY_CAST({value} AS BIGINT) END"
    raise TypeError(f"{field.table}.{field.name}: lines cannot carry a {field.dtype}")


def _reason(field: Column) -> str:
    """WHEN branches for one field: missing or empty though required, of the wrong type, or none of the known values."""
    raw, value, name = f'"{field.name}_json"', f'"{field.name}_value"', field.name
    branches = []
    if not field.nullable:
        branches.append(f"WHEN {raw} IS NULL THEN 'missing_{name}'")
    branches.append(f"WHEN {raw} IS NOT NULL AND {value} IS NULL THEN 'wrong_type_{name}'")
    if field.min_length and not field.nullable:
        branches.append(f"WHEN trim({value}) = '' THEN 'missing_{name}'")
    if field.isin:
        branches.append(f"WHEN {value} NOT IN ({_literals(field.isin)}) THEN 'unknown_{name}'")
    return " ".join(branches)
