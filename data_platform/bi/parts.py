"""Which partitions of a published table are not what the lake says. Not here: loading them."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import polars as pl

from data_platform.bi.layout import INTERNAL, WHOLE, column_names, internal, qualified
from data_platform.bi.server import Connection
from data_platform.core.contract.table import Table
from data_platform.core.lake.parts import in_parts
from data_platform.core.lake.snapshot import Snapshot

RECORD = internal("published_parts")


@dataclass(frozen=True)
class Part:
    """A partition as the lake has it."""

    name: str
    digest: str
    """Of the names of its files: other files, other rows."""
    rows: int
    days: tuple[tuple[dt.date | None, int], ...]
    """Its days and their rows, in order; one without a date for a table without days."""


@dataclass(frozen=True)
class PublishedPart:
    """A partition as readers have it."""

    name: str
    partition: str
    digest: str
    columns: frozenset[str]
    rows: int


def lake_parts(snapshot: Snapshot) -> dict[str, Part]:
    """The partitions that the table should have, by name, oldest first."""
    table = snapshot.table
    parts = {}
    labelled = snapshot.files.with_columns(
        part=pl.col("partition").str.slice(0, 7) if table.partition else pl.lit(WHOLE, dtype=pl.String)
    )
    for (name,), files in sorted(labelled.partition_by("part", as_dict=True).items()):
        digest = hashlib.blake2b("\n".join(sorted(files["path"])).encode(), digest_size=16).hexdigest()
        days = files.group_by("partition").agg(pl.col("num_records").sum()).sort("partition").iter_rows()
        counted = tuple((dt.date.fromisoformat(day) if table.partition else None, rows) for day, rows in days)
        parts[name] = Part(name, digest, sum(rows for _, rows in counted), counted)
    return parts


def published_parts(connection: Connection, table: type[Table]) -> dict[str, PublishedPart]:
    """The partitions that the table has, by name: of those on record the ones that are there. A table that somebody
    dropped has none, and is loaded anew."""
    from psycopg import sql

    asked = sql.SQL(
        "SELECT part, partition_name, digest, columns, row_count FROM {} WHERE table_name = %s AND EXISTS ("
        "SELECT 1 FROM pg_inherits WHERE inhparent = to_regclass(%s)"
        " AND inhrelid = to_regclass(format('%%I.%%I', %s::text, partition_name)))"
    ).format(RECORD)
    parameters = [table.table_name(), qualified(table).as_string(connection), INTERNAL]
    rows = connection.execute(asked, parameters).fetchall()
    return {name: PublishedPart(name, at, digest, frozenset(cols), n) for name, at, digest, cols, n in rows}


def changed_parts(
    table: type[Table], wanted: dict[str, Part], there: dict[str, PublishedPart]
) -> tuple[list[Part], list[PublishedPart]]:
    """What to load, and what of the published has to go: it is replaced, or its days are empty now."""
    columns = {*column_names(table)}
    load = [
        part
        for name, part in wanted.items()
        if name not in there or there[name].digest != part.digest or not columns <= there[name].columns
    ]
    replaced = {part.name for part in load} | (there.keys() - wanted.keys())
    return load, [there[name] for name in sorted(replaced & there.keys())]


def day_ranges(part: Part, most_rows: int) -> list[tuple[dt.date | None, dt.date | None]]:
    """The part's days in order, as ranges of at most `most_rows` rows (or one day)."""
    return [(days[0], days[-1]) for days in in_parts(part.days, most_rows)]
