"""Rows that moved: an order told first of one day, then of another, is one order. Which days tell of the same row, so
that these are read together and computed again together. Not here: which of its changes counts (SQL, transforms)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

import polars as pl

from data_platform.core.contract.table import Table, column
from data_platform.core.lake.commits import Position
from data_platform.core.lake.store import Lake


class MovedRows(Table):
    """The days on which one and the same row was told, of rows told on more than one: an order whose `ordered_at` was
    corrected over midnight, an API object whose `created` was. Readers of such a day are shown the others too, and
    whatever is told of the row on one day makes all its days out of date: it counts once, on its newest day, and leaves
    the others."""

    key = "raw/moved_rows"
    primary_key = ("raw_table", "row_id", "day")
    owner = "team:data-platform"
    journal = True

    raw_table: str = column("The raw table, for example `raw/order_changes`.", min_length=1)
    row_id: str = column("The row: what the raw table's `identity` names, for example an order's id.", min_length=1)
    day: dt.date = column("A day on which it was told.")


def note_moves(
    lake: Lake, table: type[Table], days: Collection[str], received_at: dt.datetime | None = None
) -> set[str]:
    """Record the rows of these days (of these, what was received then) that were told on other days too; all the days
    on which these were told. Call it when the days are committed and before anyone hears of them; safe to repeat.

    The first call for a table looks at all that was received before there was such a record.
    """
    if table.identity is None or table.partition is None or not days or len(lake.partitions(table)) < 2:
        return set()
    looked_at = lake.position(MovedRows, table.key)
    named = pl.col(table.identity).alias("row_id"), pl.col(table.partition).alias("day")
    snapshot = lake.snapshot(table)
    rows = everywhere = snapshot.scan().select(named).unique()
    if looked_at is not None:
        rows = snapshot.scan(dt.date.fromisoformat(min(days)), dt.date.fromisoformat(max(days)))
        if received_at is not None:
            rows = rows.filter(pl.col("received_at") == received_at)
        rows = rows.select(named).filter(pl.col("day").cast(pl.String).is_in(list(days)))
    of_these = everywhere.join(rows.select("row_id").unique(), on="row_id", how="semi")
    moved = of_these.filter(pl.len().over("row_id") > 1).select(pl.lit(table.key).alias("raw_table"), "row_id", "day")
    found = moved.collect()
    fresh = found.join(lake.scan(MovedRows).collect(), on=list(MovedRows.primary_key), how="anti")
    if len(fresh) or looked_at is None:
        first_look = Position(table.key, None, 1) if looked_at is None else None
        lake.append(MovedRows, fresh, first_look)
    return set(found["day"].cast(pl.String))


def days_sharing_rows(lake: Lake, table: type[Table], first: dt.date | None, last: dt.date | None) -> set[str]:
    """Days outside `first`..`last` on which rows of these days were told as well."""
    if table.identity is None or (first is None and last is None):
        return set()
    moved = lake.scan(MovedRows).filter(pl.col("raw_table") == table.key).collect()
    inside = pl.lit(True)
    if first is not None:
        inside &= pl.col("day") >= first
    if last is not None:
        inside &= pl.col("day") <= last
    beside = moved.filter(~inside).join(moved.filter(inside), on="row_id", how="semi")
    return set(beside["day"].cast(pl.String))
