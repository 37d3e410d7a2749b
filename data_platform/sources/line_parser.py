"""NDJSON lines → typed rows and rejected lines, by the contract of the raw table.
Belongs here: what makes a line acceptable, and the reason codes. Not here: files, batches, storage."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import threading
from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import polars as pl
import pyarrow as pa

from data_platform.core.contract.frames import conform
from data_platform.core.contract.table import UTC_MICROSECONDS
from data_platform.sources.compressed_lines import LineChunk
from data_platform.sources.files.json_rows import written_members
from data_platform.sources.grammar import wrongly_whole
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.line_queries import Habit, careful_sql, habit_of, plain_sql

SAMPLED_LINES = 30
"""Lines of a chunk that tell how its producer writes."""

WORTH_TRYING = 0.2
"""The cheap query costs a quarter of the careful one: below this share of plain lines it is left out from then on."""


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
        self.careful_sql = careful_sql(source)
        self._broken_habits = set[Habit]()
        self._all_json = True
        self._local = threading.local()

    def parse(self, chunk: LineChunk, received: Received) -> ParsedChunk:
        """Every line of the chunk, once: nearly all by the cheap query, what it is not sure of by the careful one."""
        lines, invalid = chunk.table()
        habit = habit_of(chunk.first_lines(SAMPLED_LINES), self.source)
        if habit is None or habit in self._broken_habits:
            return self._examined(lines, invalid, received)
        quick = self._quick(habit, lines, received)
        plain = quick["plain"]
        if plain.all() and not invalid:
            return ParsedChunk(self._rows(quick, received), self.source.rejected.empty())
        if plain.sum() < WORTH_TRYING * len(plain):
            self._broken_habits.add(habit)
        examined = self._examined(lines.filter((~plain).to_arrow()), invalid, received)
        rows = pl.concat([self._rows(quick.filter(plain), received), examined.rows])
        return ParsedChunk(rows, examined.rejected)

    def _quick(self, habit: Habit, lines: pa.Table, received: Received) -> pl.DataFrame:
        """The cheap query, in its cheapest form as long as no line of the source was found to be no JSON."""
        if self._all_json:
            try:
                return self._query(plain_sql(self.source, habit, all_json=True), lines, received)
            except duckdb.InvalidInputException:
                self._all_json = False
        return self._query(plain_sql(self.source, habit), lines, received)

    def _examined(self, lines: pa.Table, invalid: list[tuple[int, bytes]], received: Received) -> ParsedChunk:
        parsed = self._query(self.careful_sql, lines, received)
        doubtful = parsed.filter(pl.col("doubtful") & pl.col("reason").is_null()).select("line_number", "line")
        not_json = [n for n, line in doubtful.iter_rows() if not is_strict_json(line)]
        if not_json:
            condemned = pl.col("line_number").is_in(not_json)
            parsed = parsed.with_columns(reason=pl.when(condemned).then(pl.lit("invalid_json")).otherwise("reason"))
        parsed = self._judged_as_written(parsed)
        parsed = self._as_written(parsed)
        good = parsed["reason"].is_null()
        rejected = self._rejected(parsed.filter(~good), invalid, received)
        return ParsedChunk(self._rows(parsed.filter(good), received), rejected)

    def _judged_as_written(self, parsed: pl.DataFrame) -> pl.DataFrame:
        """Lines with a whole number that the query saw as a double, judged by how the number is written."""
        suspects = parsed.filter(pl.col("whole_as_float") & pl.col("reason").is_null()).select("line_number", "line")
        whole = [field.name for field in self.source.fields() if field.dtype == pl.Int64()]
        found = {number: wrongly_whole(line, whole) for number, line in suspects.iter_rows()}
        reasons = {number: f"wrong_type_{name}" for number, name in found.items() if name}
        if not reasons:
            return parsed
        written = pl.col("line_number").replace_strict(reasons, default=None, return_dtype=pl.String)
        return parsed.with_columns(reason=pl.coalesce(written, "reason"))

    def _as_written(self, parsed: pl.DataFrame) -> pl.DataFrame:
        """JSON columns with every number as it is written, where the query would hold another spelling or double."""
        known = {field.name for field in self.source.fields()}
        columns = [field.name for field in self.source.fields() if field.is_json] + ["extra_fields"]
        suspects = parsed.filter(pl.col("re_spelt") & pl.col("reason").is_null()).select("line_number", "line")
        found: dict[int, dict[str, str]] = {}
        for number, line in suspects.iter_rows():
            with contextlib.suppress(RecursionError):  # deeper than Python can follow: left as the query says
                found[number] = json_as_written(line, known)
        if not found:
            return parsed
        key = pl.col("line_number")
        written = {name: {n: texts[name] for n, texts in found.items() if name in texts} for name in columns}
        return parsed.with_columns(
            pl.coalesce(key.replace_strict(texts, default=None, return_dtype=pl.String), name).alias(name)
            for name, texts in written.items()
            if texts
        )

    def _query(self, sql: str, lines: pa.Table, received: Received) -> pl.DataFrame:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = duckdb.connect(config={"threads": 1})
            connection.execute("SET TimeZone = 'UTC'")
        connection.register("lines", lines)
        parameters: dict[str, dt.date] = {"first_day": self.first_day}
        if self.source.takes_announcements:
            parameters["received_day"] = received.at.astimezone(dt.UTC).date()
        else:
            parameters["latest"] = received.at + self.future_tolerance
        try:
            found: pl.DataFrame = pl.from_arrow(connection.sql(sql, params=parameters).to_arrow_table())  # type: ignore[assignment]
        finally:
            connection.unregister("lines")
        return found

    def _rows(self, good: pl.DataFrame, received: Received) -> pl.DataFrame:
        """Of a query's good lines; columns that no line has may be missing."""
        placed: dict[str, pl.Expr] = {
            "source_file": pl.lit(received.file),
            "source_line": pl.col("line_number"),
            "received_at": pl.lit(received.at).cast(UTC_MICROSECONDS),
        }
        unseen = self.source.table.columns.keys() - placed.keys() - set(good.columns)
        return conform(self.source.table, good.with_columns(**placed, **dict.fromkeys(unseen, pl.lit(None))))

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
            source_position=None,
            received_at=pl.lit(received.at).cast(UTC_MICROSECONDS),
        )
        return conform(self.source.rejected, lines)


def json_as_written(line: str, known: Collection[str]) -> dict[str, str]:
    """The objects among the known members of a line, and the others together as `extra_fields`, as JSON texts."""
    found: dict[str, str] = {}
    extra: dict[str, str] = {}
    for name, key, written, value in written_members(line):
        if name not in known:
            extra[name] = f"{key}:{written}"
        elif isinstance(value, dict):
            found[name] = written
    return found | ({"extra_fields": "{" + ",".join(extra.values()) + "}"} if extra else {})


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
