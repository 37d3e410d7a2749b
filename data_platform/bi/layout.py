"""What a published table is called and made of in PostgreSQL, all of it from its contract.
Belongs here: names, partitions, which contracts. Not here: anything that speaks to a server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from psycopg import sql

from data_platform.core.contract.calendar import next_month
from data_platform.core.contract.published import Published
from data_platform.core.contract.table import Table, contracts
from data_platform.core.errors import PlatformError, did_you_mean

SCHEMA = "analytics"
"""What readers see: one table per published contract, and its summaries."""
INTERNAL = "analytics_internal"
"""Partitions, what was published when, and the version of the schema: of no use to readers."""
READER = "analytics_reader"
"""A role without login that may read `analytics`, but for tables of tenants; people and tools are granted it."""
OPERATOR = "analytics_operator"
"""A role without login that may read tables of tenants, all rows of all of them: people of the house are granted it."""
WHOLE = "all"
"""The one partition of a table without days."""


def published_tables(names: Sequence[str] = ()) -> list[type[Table]]:
    """The published contracts, all or those named by key or name. Raises PlatformError for a name that is none."""
    found = [table for table in contracts().values() if table.published]
    taken: dict[str, str] = {}
    for table in found:
        for name in [table.table_name(), *(summary.name for summary in declared(table).summaries)]:
            if name in taken:
                raise PlatformError(
                    f"{taken[name]} and {table.key} would both be published as {SCHEMA}.{name}.", "Rename one of them."
                )
            taken[name] = table.key
    if unknown := sorted(set(names) - {word for table in found for word in (table.key, table.table_name())}):
        meant = did_you_mean(unknown[0], [word for table in found for word in (table.key, table.table_name())])
        raise PlatformError(
            f"{', '.join(unknown)} {'is not a published table' if len(unknown) == 1 else 'are no published tables'}.",
            f"{meant}Published are {', '.join(table.key for table in found)}; `published` in its contract adds one.",
        )
    return [table for table in found if not names or {table.key, table.table_name()} & {*names}]


def declared(table: type[Table]) -> Published:
    """How the table is published. Raises PlatformError if it is not."""
    if table.published is None:
        raise PlatformError(f"{table.key} is not a published table.", "Say `published = Published()` in its contract.")
    return table.published


def column_names(table: type[Table]) -> list[str]:
    return list(declared(table).columns(table))


def range_column(table: type[Table]) -> str:
    """What the table is partitioned by: its day, or, for the one partition of a table without days, its first key."""
    return table.partition or table.primary_key[0]


def bounds(part: str) -> tuple[dt.date, dt.date]:
    """First day of a month and of the next."""
    first = dt.date.fromisoformat(f"{part}-01")
    return first, next_month(first)


def qualified(table: type[Table]) -> sql.Identifier:
    return sql.Identifier(SCHEMA, table.table_name())


def internal(name: str) -> sql.Identifier:
    return sql.Identifier(INTERNAL, name)


def columns_sql(names: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def range_sql(part: str) -> sql.Composable:
    """`FOR VALUES ...` of a partition."""
    if part == WHOLE:
        return sql.SQL("FOR VALUES FROM (MINVALUE) TO (MAXVALUE)")
    first, end = bounds(part)
    return sql.SQL("FOR VALUES FROM ({}) TO ({})").format(sql.Literal(first), sql.Literal(end))
