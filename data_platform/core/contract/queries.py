"""What can be asked of tables over HTTP: measures by dimensions over a period, declared by columns of contracts.
Belongs here: the declaration, and what is wrong with one. Not here: answering (web/query)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from data_platform.core.contract.table import Table

DAY, MONTH = "day", "month"
"""What rows may be told apart by besides dimensions: the table's days, and their months."""


@dataclass(frozen=True)
class Sum:
    """What adds up: a column. Decimals are money, which is never added up across currencies."""

    name: str

    @property
    def needed(self) -> tuple[str, ...]:
        return (self.name,)


@dataclass(frozen=True)
class Distinct:
    """How many values of a column there are, the empty text aside; those of two tenants are two."""

    name: str
    of: str
    description: str

    @property
    def needed(self) -> tuple[str, ...]:
        return (self.of,)


@dataclass(frozen=True)
class Quantile:
    """The value that a share of what was counted does not exceed, from a histogram: that of its bucket."""

    name: str
    share: float
    bucket: str
    """Column of the bucket's number; greater numbers hold greater values."""
    count: str
    value: Callable[[pl.Expr], pl.Expr] = field(compare=False)
    """Number of a bucket → the value that stands for it."""
    description: str

    @property
    def needed(self) -> tuple[str, ...]:
        return (self.bucket, self.count)


Measure = Sum | Distinct | Quantile


@dataclass(frozen=True)
class Statement:
    """A month of tables in a form that others read, for example a bill."""

    name: str
    """In the address, behind that of its query."""
    description: str
    tables: tuple[type[Table], ...]
    """What it is made of; of each all rows that may be seen: a bill may correct one of months ago. What is not asked
    for is not read."""
    rows: Callable[[Sequence[pl.LazyFrame], dt.date], pl.LazyFrame] = field(compare=False)
    """Rows of the tables, in their order, and the first day of the month → rows of the statement."""


@dataclass(frozen=True, eq=False)
class Query:
    """One address of the query API. A domain names its own in `QUERIES` of a module called `queries`.

    A question is answered from that of the tables with all columns it needs that has the fewest rows in the period:
    of sums, every table with a dimension must hold the same numbers."""

    name: str
    """In the address: /v1/NAME."""
    description: str
    tables: tuple[type[Table], ...]
    """By day, all filed under a column of one name; all with `tenant`."""
    monthly: tuple[type[Table], ...]
    """Filed under first days of months: for periods of whole months, and for any days where a table has the column
    of days too."""
    dimensions: Mapping[str, str]
    """Column → what it tells apart. The column of tenants is one."""
    measures: tuple[Measure, ...]
    shown: tuple[str, ...]
    """Measures of an answer to a question that names none."""
    rows: type[Table]
    """What is exported row by row."""
    partial: tuple[type[Table], ...] = ()
    """Of the tables those that sums must not be read from: they hold some rows alone, or more than one of each."""
    statements: tuple[Statement, ...] = ()
    currency: str | None = None
    """The column that says what money is in; empty where nothing is known of it, and then the amount is null."""

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise TypeError(f"query {self.name}: {problem}")

    @property
    def every_table(self) -> tuple[type[Table], ...]:
        return (*self.tables, *self.monthly)

    @property
    def days(self) -> str:
        """The column of a row's day, in every table that tells days apart."""
        (first, *_) = self.tables
        assert first.partition is not None
        return first.partition

    def day_of(self, table: type[Table]) -> str:
        """The column that says of when a row is: its day, or in a table that tells no days apart its month."""
        assert table.partition is not None
        return self.days if self.days in table.columns else table.partition

    @property
    def tenant(self) -> str:
        """The column of tenants, the same in every table."""
        assert self.rows.tenant is not None
        return self.rows.tenant

    @property
    def within_tenant(self) -> str | None:
        """The column of projects, if rows say of which they are."""
        return self.rows.within_tenant

    @property
    def measures_by_name(self) -> dict[str, Measure]:
        return {measure.name: measure for measure in self.measures}

    @property
    def filterable(self) -> list[str]:
        """Dimensions that rows can be chosen by: those of text."""
        return [name for name in self.dimensions if self._dtype(name) == pl.String()]

    def is_money(self, measure: Measure) -> bool:
        return isinstance(measure, Sum) and self._dtype(measure.name).is_decimal()

    def described(self, measure: Measure) -> str:
        if isinstance(measure, Sum):
            return next(t.columns[measure.name].description for t in self.every_table if measure.name in t.columns)
        return measure.description

    def _dtype(self, name: str) -> pl.DataType:
        return next(t.columns[name].dtype for t in self.every_table if name in t.columns)


def _problems(query: Query) -> Iterator[str]:
    stated = [table for statement in query.statements for table in statement.tables]
    for table in (*query.every_table, query.rows, *stated):
        if table.tenant is None or table.tenant != query.rows.tenant:
            yield f"{table.key} does not say by {query.rows.tenant} whose its rows are"
        if table.partition is None:
            yield f"{table.key} has no days to ask for"
    if len(filed := sorted({str(table.partition) for table in query.tables})) != 1:
        yield f"its tables are filed under {', '.join(filed) or 'nothing'}, and not all under one column of days"
    if strangers := [table.key for table in query.partial if table not in query.every_table]:
        yield f"{', '.join(strangers)} is partial, and none of the tables"
    if query.rows.tenant not in query.dimensions:
        yield f"name {query.rows.tenant} among the dimensions"
    columns = {name for table in query.every_table for name in table.columns}
    needed = {name for measure in query.measures for name in measure.needed}
    if strangers := sorted({*query.dimensions, *needed} - columns):
        yield f"no table has {', '.join(strangers)}"
    names = [measure.name for measure in query.measures]
    if len({*names, *query.dimensions, DAY, MONTH}) < len(names) + len(query.dimensions) + 2:
        yield "two measures or dimensions have one name"
    if unknown := sorted({*query.shown} - {*names}):
        yield f"{', '.join(unknown)} is shown, and no measure"
