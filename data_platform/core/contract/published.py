"""How a table is published for BI tools, as its contract declares it.
Belongs here: the declaration, and what is wrong with one. Not here: PostgreSQL, loading (bi)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from data_platform.core.contract.table import Column, Table


@dataclass(frozen=True)
class MonthlySummary:
    """A materialised view over the published table: sums by month and the columns `by`, which are its grain.

    Columns: month (its first day), `by`, row_count, and the sums under the names of what they add up.
    """

    name: str
    by: tuple[str, ...]
    sums: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """The table is published, with its primary key, these indexes and one of each vector; columns that identify a
    person by themselves, or hold what one wrote, are left out unless `personal` names them."""

    indexes: tuple[tuple[str, ...], ...] = ()
    summaries: tuple[MonthlySummary, ...] = ()
    personal: tuple[str, ...] = ()

    def columns(self, table: type[Table]) -> dict[str, Column]:
        """What is published of the table, in declared order."""
        # A pseudonym means nothing without the tables that resolve it; the other classes do.
        withheld = {c.name for c in table.columns.values() if c.personal and c.personal != "pseudonym"}
        return {name: c for name, c in table.columns.items() if name not in withheld - {*self.personal}}


def check_published(table: type[Table], published: Published) -> None:
    """Raise TypeError, at import, for a declaration that contradicts the contract."""
    columns = published.columns(table)
    grouped = [name for summary in published.summaries for name in summary.by]
    summed = [name for summary in published.summaries for name in summary.sums]
    indexed = [name for index in published.indexes for name in index]
    wanted = [*table.primary_key, *indexed, *grouped, *summed, *published.personal]
    if unknown := sorted(set(wanted) - set(columns)):
        raise TypeError(f"{table.__name__}.published names {unknown}: no columns, or personal ones that are withheld")
    if table.partition and table.partition not in table.primary_key:
        raise TypeError(f"{table.__name__} is published, so its primary key must hold the partition {table.partition}")
    if published.summaries and not table.partition:
        raise TypeError(f"{table.__name__}.published has a summary by month, but the table has no days")
    if published.summaries and table.tenant:
        raise TypeError(f"{table.__name__}.published sums up rows of several tenants for whoever reads: leave it out")
    if nullable := [name for name in (*table.primary_key, *grouped) if columns[name].nullable]:
        raise TypeError(f"{table.__name__}.published: {nullable} may be null and so cannot be part of a key")
    # A sum of floats depends on the order of the rows.
    if inexact := [name for name in summed if not isinstance(columns[name].dtype, pl.Int64 | pl.Decimal)]:
        raise TypeError(f"{table.__name__}.published adds up {inexact}: neither whole numbers nor money")
    if foreign := [
        name for name, c in columns.items() if isinstance(c.dtype, (pl.List, pl.Binary)) and not c.is_vector
    ]:
        raise TypeError(f"{table.__name__} cannot be published: {foreign} are lists or bytes")
