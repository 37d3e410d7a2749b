"""What is wrong with a declared contract, told at import: an option works, or is refused with what to write instead.
Not here: the vocabulary itself (contract), publishing's part of it (published), rows (validation)."""

from __future__ import annotations

import datetime as dt
import difflib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import polars as pl

from data_platform.core.contract.freshness import FreshnessPolicy
from data_platform.core.contract.published import Published, check_published
from data_platform.core.contract.windows import Windows

if TYPE_CHECKING:
    from data_platform.core.contract.table import Column, Table

KEY = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")
OPTIONS: dict[str, tuple[type, str]] = {
    "key": (str, "'group/table'"),
    "partition": (str, "the name of the date column"),
    "identity": (str, "the name of a column"),
    "tenant": (str, "the name of the column that says whose rows they are"),
    "within_tenant": (str, "the name of the column that says of which of the tenant's projects they are"),
    "owner": (str, "'team:NAME' or an e-mail address"),
    "kind": (str, "what computes it, 'polars' or 'dbt'"),
    "primary_key": (tuple, "a tuple of column names, with a comma after a single one"),
    "row_rules": (tuple, "a tuple of Rule"),
    "table_rules": (tuple, "a tuple of TableRule"),
    "retention": (dt.timedelta, "a timedelta"),
    "ttl": (dt.timedelta, "a timedelta"),
    "sorted": (bool, "True or False"),
    "profiled": (bool, "True or False"),
    "bitemporal": (bool, "True or False"),
    "online": (bool, "True or False"),
    "only_changed": (bool, "True or False"),
    "journal": (bool, "True or False"),
    "profiled_by": (dict, "a dict of column names"),
    "published": (Published, "Published(...)"),
    "windows": (Windows, "Windows(length, out_of_order, allowed_lateness)"),
    "fresh": (FreshnessPolicy, "within(hours=…)"),
}
OPTIONAL = {"partition", "identity", "tenant", "within_tenant", "retention", "ttl", "published", "windows", "fresh"}
NUMBERS: dict[type, tuple[type, ...]] = {
    pl.Int64: (int,),
    pl.Float64: (int, float),
    pl.Decimal: (int, Decimal),
    pl.Date: (dt.date,),
    pl.Datetime: (dt.datetime,),
}
"""What a bound of a column of a type is written as."""
VALUES: dict[type, tuple[type, ...]] = {**NUMBERS, pl.String: (str,), pl.Boolean: (bool,)}
HISTORY_COLUMNS = ("recorded_date", "known_until", "existed")
"""What the journal of a bitemporal table adds to its columns."""


def check_declaration(table: type[Table]) -> None:
    """Raise TypeError for a contract that contradicts itself, or that says something nothing would heed."""
    if not table.table_description():
        raise TypeError(f"{table.__name__} needs a docstring: it is the table's description")
    for problem in chain(_misspelt(table), _options(table)):
        raise TypeError(f"{table.__name__}: {problem}")
    named = (*table.primary_key, *([table.partition] if table.partition else []))
    if unknown := [name for name in named if name not in table.columns]:
        raise TypeError(f"{table.__name__} names {unknown} as key or partition, but has no such column")
    bounds = (f"{column.name}: {problem}" for column in table.columns.values() for problem in _bounds(column))
    for problem in chain(_combinations(table), bounds, _rule_names(table)):
        raise TypeError(f"{table.__name__}: {problem}")
    if table.published:
        check_published(table, table.published)


def _misspelt(table: type[Table]) -> Iterator[str]:
    """An attribute that is neither column nor option is one that nobody reads."""
    inherited = {name for base in table.__mro__[1:] for name in (*vars(base), *inspect.get_annotations(base))}
    for name, value in vars(table).items():
        if name.startswith("_") or name in inherited or name in inspect.get_annotations(table):
            continue
        if callable(value) or isinstance(value, classmethod | staticmethod | property):
            continue
        meant = difflib.get_close_matches(name, OPTIONS, n=1)
        yield f"{name} is no option of a contract" + (f"; write {meant[0]}" if meant else "; annotate it as a column")


def _options(table: type[Table]) -> Iterator[str]:
    for name in ("primary_key", "owner"):
        if not hasattr(table, name):
            yield f"{name} is missing: {OPTIONS[name][1]}"
    for name, (kind, written) in OPTIONS.items():
        value = getattr(table, name, None)
        if not isinstance(value, kind) and not (value is None and name in OPTIONAL):
            yield f"{name} is {value!r}; write {written}"
    if not KEY.fullmatch(table.key):
        yield f"key is {table.key!r}; write group/table in small letters, digits and _"
    if not table.primary_key or len({*table.primary_key}) < len(table.primary_key):
        yield "primary_key is empty or names a column twice; name the columns that tell rows apart, once"
    for name in ("retention", "ttl"):
        if (value := getattr(table, name)) is not None and value <= dt.timedelta(0):
            yield f"{name} is {value}; write a length of time above 0, or None for ever"
    if table.retention and table.retention % dt.timedelta(days=1):
        yield "retention is told in days; write whole ones"
    if fresh := table.fresh:
        bounds = [dt.timedelta(0), *([fresh.warn] if fresh.warn is not None else []), fresh.fail]
        if any(later <= sooner for sooner, later in pairwise(bounds)):
            yield f"fresh warns after {fresh.warn} and fails after {fresh.fail}; write 0 < warn < fail"


def _combinations(table: type[Table]) -> Iterator[str]:
    """Options that need another one, or exclude it."""
    columns, day = table.columns, table.partition
    if day and (columns[day].dtype != pl.Date() or columns[day].nullable):
        yield f"{day} is the partition and must be a date, never null"
    if table.identity and (not day or table.identity not in columns):
        yield f"identity {table.identity} must be a column, of a table with days; take identity out or set partition"
    if table.tenant and (table.tenant not in columns or columns[table.tenant].dtype != pl.String()):
        yield f"tenant {table.tenant} must be a column of text"
    if table.within_tenant and (
        not table.tenant or table.within_tenant not in columns or columns[table.within_tenant].dtype != pl.String()
    ):
        yield f"within_tenant {table.within_tenant} must be a column of text, of a table with `tenant`"
    if table.windows and not day:
        yield "windows lie within days, but the table has none; set partition or take windows out"
    if table.ttl and not day:
        yield "ttl counts from the end of a row's day, but the table has none; set partition or take ttl out"
    for json, kind in table.profiled_by.items():
        if json not in columns or kind not in columns or not columns[json].is_json:
            yield f"profiled_by {json}: {kind} must name a column of type JsonObject and another column"
    if table.only_changed and table.profiled and day:
        yield "only_changed leaves days unwritten whose profile would be kept; set profiled = False"
    if not table.bitemporal:
        return
    if table.journal:
        yield "a journal is not corrected; take out bitemporal or journal"
    if not day or day not in table.primary_key or len(table.primary_key) < 2:
        yield "bitemporal keeps rows by day and key; set partition, and name it and another column in primary_key"
    if nullable := [name for name in table.primary_key if columns[name].nullable]:
        yield f"bitemporal tells rows by their key, but {', '.join(nullable)} may be null; take `| None` out"
    if taken := [name for name in HISTORY_COLUMNS if name in columns]:
        yield f"bitemporal has columns of its own called {', '.join(taken)}; rename the table's"


def _rule_names(table: type[Table]) -> Iterator[str]:
    names = Counter(name for name, _, _ in table.rule_texts())
    for name in (name for name, count in names.items() if count > 1):
        yield f"two rules are called {name}; rename one"


def _bounds(column: Column) -> Iterator[str]:
    """Bounds that the column's type has no answer to: their rules would be errors on every day."""
    dtype = column.dtype.base_type()
    for name in ("ge", "le"):
        if (bound := getattr(column, name)) is not None and not _is_written_as(bound, NUMBERS.get(dtype, ())):
            yield f"{name} is {bound!r}, which is no bound of a column of type {column.dtype}"
    if column.ge is not None and column.le is not None and column.ge > column.le:
        yield f"ge {column.ge} is above le {column.le}: no value would do"
    if column.isin is not None:
        odd = [value for value in column.isin if not _is_written_as(value, VALUES.get(dtype, ()))]
        if odd or not column.isin:
            yield f"isin has {odd or 'no values'}; name values of type {column.dtype}"
    if dtype is not pl.String and (column.pattern is not None or column.min_length is not None):
        yield f"pattern and min_length are for text, not for {column.dtype}"
    if column.min_length is not None and column.min_length < 1:
        yield f"min_length is {column.min_length}; write 1 or more, or leave it out"
    if column.pattern is not None and dtype is pl.String:
        try:
            pl.Series([""]).str.contains(column.pattern)
        except pl.exceptions.PolarsError as error:
            yield f"pattern {column.pattern} is none of Polars' (Rust's) regular expressions: {error}"
    if (referenced := column.references) is not None:
        table = getattr(referenced, "table", None)
        if table is None:
            yield "references must be a column of another contract, written Table.column"
        elif referenced.dtype != column.dtype:
            yield f"references {table.key}.{referenced.name} of type {referenced.dtype}, not {column.dtype}"
    if strangers := [origin for origin in column.derived_from if getattr(origin, "table", None) is None]:
        names = ", ".join(map(repr, strangers))
        yield f"derived_from must be columns of other contracts, written Table.column, not {names}"


def _is_written_as(value: Any, kinds: tuple[type, ...]) -> bool:
    """True and False are ints to Python, moments are dates: neither is meant."""
    if isinstance(value, bool | dt.datetime):
        return type(value) in kinds
    return isinstance(value, kinds)
