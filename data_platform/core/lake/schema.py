"""Columns of a table as its Delta log holds them, and as its contract wants them.
Belongs here: comparing the two. Not here: changing what is stored (store), types of a frame (frames)."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import polars as pl
from deltalake import DeltaTable, Schema

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError


class StoredOtherwise(PlatformError):
    """Columns are stored with types that the contract no longer has: nothing is damaged, and nothing can be written."""


def delta_schema(table: type[Table], columns: Iterable[str]) -> Schema:
    empty = table.empty().select(list(columns))
    return Schema.from_arrow(empty.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def migrated_schema(stored: DeltaTable, table: type[Table]) -> Schema:
    """The stored columns, in their order, with the contract's types; those that the contract dropped as they are."""
    wanted = {field.name: field for field in delta_schema(table, table.columns).fields}
    return Schema([wanted.get(field.name, field) for field in stored.schema().fields])


def missing_columns(stored: DeltaTable, table: type[Table]) -> list[str]:
    """Columns that the contract gained since the table was created."""
    known = {field.name for field in stored.schema().fields}
    return [name for name in table.columns if name not in known]


def other_types(stored: DeltaTable, table: type[Table]) -> dict[str, tuple[str, str]]:
    """Column → (stored type, the contract's), of those that differ. delta-rs would take files of either."""
    wanted = _types(table)  # type: ignore[arg-type]
    found = {field.name: str(field.type) for field in stored.schema().fields}
    return {name: (found[name], want) for name, want in wanted.items() if found.get(name, want) != want}


def require_stored_types(stored: DeltaTable, table: type[Table]) -> None:
    """Raises StoredOtherwise unless what is stored and what is written now are of the same types."""
    if differing := other_types(stored, table):
        types = ", ".join(f"{name} as {was}, which the contract calls {now}" for name, (was, now) in differing.items())
        raise StoredOtherwise(
            f"{table.key} stores {types}.",
            f"`data-platform lake migrate {table.key}` rewrites the table with the contract's types, in one commit.",
        )


def stored_schema(stored: DeltaTable, table: type[Table]) -> dict[str, pl.DataType]:
    """What the table's files hold: columns the contract dropped are there still, and types it changed."""
    differing = other_types(stored, table)
    arrow = pl.Schema(stored.schema())
    kept = {name: dtype for name, dtype in table.schema().items() if name in arrow}
    return {name: arrow[name] if name in differing else kept.get(name, arrow[name]) for name in [*kept, *arrow]}


@functools.cache
def _types(table: type[Table]) -> dict[str, str]:
    return {field.name: str(field.type) for field in delta_schema(table, table.columns).fields}
