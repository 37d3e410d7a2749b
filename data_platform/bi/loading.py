"""A month of a table into a partition of its own, by COPY, seen by nobody until it is attached.
Not here: which months (parts), attaching (publishing)."""

from __future__ import annotations

import io
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import polars as pl
from psycopg import sql

from data_platform.bi.layout import (
    WHOLE,
    bounds,
    column_names,
    columns_sql,
    declared,
    internal,
    qualified,
    range_column,
)
from data_platform.bi.parts import Part, day_ranges
from data_platform.bi.server import Connection
from data_platform.bi.vectors import as_text, index, kinds
from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake.damage import Reading, reporting_damage
from data_platform.core.lake.snapshot import Snapshot

ROWS_AT_ONCE = 250_000
"""Days read and encoded together, while PostgreSQL takes in those before them."""
BYTES_AT_ONCE = 1 << 20
NUL, SHOWN_INSTEAD = "\0", "\ufffd"
"""What no text of PostgreSQL can hold, and what stands for it there. Also as `\\u0000` in JSON. Lone surrogates,
the other such thing, are rejected at ingestion."""
MOMENT = "%Y-%m-%d %H:%M:%S%.6f+00"


def load(connection: Connection, table: type[Table], snapshot: Snapshot, part: Part, nul_rows: Counter[str]) -> str:
    """Make the partition, fill it, index it; its name. Nothing refers to it, and it goes with the transaction.
    `nul_rows` counts, by column, the rows in which a NUL was replaced.

    Raises PlatformError when PostgreSQL did not count the rows that the lake counts.
    """
    name = f"{table.table_name()[:40]}_{part.name.replace('-', '_')}_{uuid.uuid4().hex[:8]}"
    staging = internal(name)
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(staging, qualified(table)))
    if part.name != WHOLE:
        # Attaching looks for rows out of bounds, while it holds locks, unless a constraint says that there are none.
        first, end = map(sql.Literal, bounds(part.name))
        bounded = sql.SQL("ALTER TABLE {} ADD CHECK ({} >= {} AND {} < {})")
        column = sql.Identifier(range_column(table))
        connection.execute(bounded.format(staging, column, first, column, end))
    encoded = _encoded(table, snapshot, part, nul_rows, kinds(connection, table))
    copied = _copy(connection, encoded, table, staging)
    if copied != part.rows:
        raise PlatformError(
            f"{table.key} {part.name}: the lake counts {part.rows:,} rows and PostgreSQL took in {copied:,}.",
            "Nothing was published of this table. Compare the days of the month with `data-platform table`.",
        )
    connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
    key = sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})")
    connection.execute(key.format(staging, columns_sql(table.primary_key)))
    for columns in declared(table).indexes:
        connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(staging, columns_sql(columns)))
    index(connection, staging, table)
    connection.execute(sql.SQL("ANALYZE {}").format(staging))
    return name


def _copy(connection: Connection, rows: Iterator[memoryview], table: type[Table], staging: sql.Composable) -> int:
    # Frozen rows are seen by every snapshot, also by one older than this load: whoever began to read before the swap
    # finds the new month instead of an empty one.
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, FREEZE)")
    with connection.cursor() as cursor:
        with cursor.copy(statement.format(staging, columns_sql(column_names(table)))) as copy:
            for encoded in _ahead(rows):
                for start in range(0, len(encoded), BYTES_AT_ONCE):
                    copy.write(encoded[start : start + BYTES_AT_ONCE])
        return int(cursor.rowcount)


def _encoded(
    table: type[Table], snapshot: Snapshot, part: Part, nul_rows: Counter[str], vectors: Mapping[str, str]
) -> Iterator[memoryview]:
    """The rows as CSV, some days at a time. Null is nothing between commas; an empty text is quoted."""
    for first, last in day_ranges(part, ROWS_AT_ONCE):
        with reporting_damage(snapshot.lake, [Reading(table, first, last)]):
            rows = snapshot.scan(first, last).select(column_names(table)).collect()
        rows = rows.with_columns(as_text(rows[name], kind) for name, kind in vectors.items())
        buffer = io.BytesIO()
        _without_nul(table, rows, nul_rows).write_csv(buffer, include_header=False, datetime_format=MOMENT)
        yield buffer.getbuffer()


def _without_nul(table: type[Table], rows: pl.DataFrame, nul_rows: Counter[str]) -> pl.DataFrame:
    for name in (name for name, dtype in rows.schema.items() if dtype == pl.String):
        text = pl.col(name)
        if table.columns[name].is_json:
            # An escaped backslash before `u0000` is none of its escape: it steps aside as a character JSON cannot hold.
            aside = text.str.replace_all(r"\\", "\1", literal=True)
            held, clean = r"\u0000", aside.str.replace_all(r"\u0000", SHOWN_INSTEAD, literal=True)
            clean = clean.str.replace_all("\1", r"\\", literal=True)
        else:
            held, clean = NUL, text.str.replace_all(NUL, SHOWN_INSTEAD, literal=True)
        if rows.select(text.str.contains(held, literal=True).any()).item():
            nul_rows[name] += int(rows.select((text != clean).sum()).item())
            rows = rows.with_columns(clean)
    return rows


def _ahead(items: Iterator[memoryview]) -> Iterator[memoryview]:
    """The same, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        coming = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item
