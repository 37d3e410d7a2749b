"""A month of a table into a partition of its own, by COPY, seen by nobody until it is attached.
Not here: which months (parts), attaching (swapping)."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from psycopg import sql

from data_platform.core.contract import Table
from data_platform.core.damage import Reading, damage_told
from data_platform.core.errors import PlatformError
from data_platform.core.lake import Snapshot
from data_platform.serving.publication.layout import (
    WHOLE,
    bounds,
    column_names,
    columns_sql,
    declared,
    internal,
    qualified,
    range_column,
)
from data_platform.serving.publication.parts import Part, day_ranges
from data_platform.serving.publication.server import Connection

ROWS_AT_ONCE = 250_000
"""Days read and encoded together, while PostgreSQL takes in those before them."""
BYTES_AT_ONCE = 1 << 20
MOMENT = "%Y-%m-%d %H:%M:%S%.6f+00"


def load(connection: Connection, table: type[Table], snapshot: Snapshot, part: Part) -> str:
    """Make the partition, fill it, index it; its name. Nothing refers to it, and it goes with the transaction.

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
    copied = _copy(connection, table, snapshot, part, staging)
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
    connection.execute(sql.SQL("ANALYZE {}").format(staging))
    return name


def _copy(connection: Connection, table: type[Table], snapshot: Snapshot, part: Part, staging: sql.Composable) -> int:
    # Frozen rows are seen by every snapshot, also by one older than this load: whoever began to read before the swap
    # finds the new month instead of an empty one.
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, FREEZE)")
    with connection.cursor() as cursor:
        with cursor.copy(statement.format(staging, columns_sql(column_names(table)))) as copy:
            for encoded in _ahead(_encoded(table, snapshot, part)):
                for start in range(0, len(encoded), BYTES_AT_ONCE):
                    copy.write(encoded[start : start + BYTES_AT_ONCE])
        return int(cursor.rowcount)


def _encoded(table: type[Table], snapshot: Snapshot, part: Part) -> Iterator[memoryview]:
    """The rows as CSV, some days at a time. Null is nothing between commas; an empty text is quoted."""
    for first, last in day_ranges(part, ROWS_AT_ONCE):
        with damage_told(snapshot.lake, [Reading(table, first, last)]):
            rows = snapshot.scan(first, last).select(column_names(table)).collect()
        buffer = io.BytesIO()
        rows.write_csv(buffer, include_header=False, datetime_format=MOMENT)
        yield buffer.getbuffer()


def _ahead(items: Iterator[memoryview]) -> Iterator[memoryview]:
    """The same, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        coming = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item
