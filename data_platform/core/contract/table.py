"""What a table promises: one class per table, from which schema, checks, docs, freshness and lineage are derived.
Belongs here: the vocabulary of contracts. Not here: any particular table, validation of data, Dagster."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import polars as pl

from data_platform.core.contract.column_types import UTC_MICROSECONDS as UTC_MICROSECONDS
from data_platform.core.contract.column_types import HalfVector as HalfVector
from data_platform.core.contract.column_types import JsonObject as JsonObject
from data_platform.core.contract.column_types import LogPosition as LogPosition
from data_platform.core.contract.column_types import column_type
from data_platform.core.contract.declarations import check_declaration
from data_platform.core.contract.freshness import FreshnessPolicy as FreshnessPolicy
from data_platform.core.contract.freshness import within as within
from data_platform.core.contract.published import Published
from data_platform.core.contract.windows import Windows


class Severity(StrEnum):
    """`error` blocks what is downstream, `warning` shows and alerts, `info` is recorded."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Personal(StrEnum):
    """Personal-data class of a column; erasure and retention follow from it."""

    PSEUDONYM = "pseudonym"
    """Identifies a person only together with another table (player ids)."""
    DIRECT = "direct"
    """Identifies a person by itself (e-mail, user name)."""
    CONTENT = "content"
    """Free content a person produced (event payloads, device details)."""


@dataclass(frozen=True)
class Rule:
    """A condition every row must meet. `holds` is true for a good row; null counts as good: absence is its own rule."""

    name: str
    description: str
    holds: pl.Expr
    severity: Severity = Severity.ERROR


@dataclass(frozen=True)
class TableRule:
    """A condition on all rows of a day together, also beside other tables.

    `failing` gets the rows of the judged days and, by the names in `beside`, those of other tables as they stand; it
    yields what fails: the partition column (of a table that has one) and columns that say which rows are meant.
    """

    name: str
    description: str
    failing: Callable[..., pl.LazyFrame]
    beside: Mapping[str, Days] = field(default_factory=dict)
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a contract. Reached as `Table.column_name`; `dtype` and `name` come from the annotation."""

    description: str
    unit: str | None = None
    personal: Personal | None = None
    ge: Any = None
    le: Any = None
    isin: tuple[Any, ...] | None = None
    pattern: str | None = None
    min_length: int | None = None
    decimals: int | None = None
    severity: Severity = Severity.ERROR
    derived_from: tuple[Column, ...] = ()
    references: Column | None = None
    name: str = field(default="", init=False)
    table: type[Table] | None = field(default=None, init=False)
    dtype: pl.DataType = field(default_factory=pl.Null, init=False)
    nullable: bool = field(default=False, init=False)
    annotation: Any = field(default=None, init=False)
    is_json: bool = field(default=False, init=False)
    is_position: bool = field(default=False, init=False)
    is_vector: bool = field(default=False, init=False)

    def __str__(self) -> str:
        return self.name

    def rules(self) -> list[Rule]:
        """The row rules that follow from the declared bounds."""
        value = pl.col(self.name)
        declared: list[tuple[str, str, pl.Expr] | None] = [
            (f"{self.name}_at_least_{self.ge}", f"{self.name} ≥ {self.ge}", value >= self.ge)
            if self.ge is not None
            else None,
            (f"{self.name}_at_most_{self.le}", f"{self.name} ≤ {self.le}", value <= self.le)
            if self.le is not None
            else None,
            (
                f"{self.name}_known",
                f"{self.name} is one of {', '.join(map(str, self.isin))}",
                value.is_in(list(self.isin)),
            )
            if self.isin is not None
            else None,
            (f"{self.name}_pattern", f"{self.name} matches {self.pattern}", value.str.contains(self.pattern))
            if self.pattern is not None
            else None,
            (
                f"{self.name}_not_empty",
                f"{self.name} has at least {self.min_length} characters",
                value.str.len_chars() >= self.min_length,
            )
            if self.min_length is not None
            else None,
        ]
        return [Rule(name, text, expression, self.severity) for name, text, expression in filter(None, declared)]


def column(
    description: str,
    *,
    unit: str | None = None,
    personal: Personal | None = None,
    ge: Any = None,
    le: Any = None,
    isin: Iterable[Any] | None = None,
    pattern: str | None = None,
    min_length: int | None = None,
    decimals: int | None = None,
    severity: Severity = Severity.ERROR,
    derived_from: Iterable[Any] = (),
    references: Any = None,
) -> Any:
    """Declare a column. Typed `Any` so that `player_id: str = column(...)` satisfies a type checker.

    `derived_from` names upstream columns of another name; a column of the same name upstream is found by itself.
    A Decimal has two decimals (money), or as many as `decimals` says, as a price per token needs: 38 digits in all.
    """
    return Column(
        description,
        unit=unit,
        personal=personal,
        ge=ge,
        le=le,
        isin=tuple(isin) if isin is not None else None,
        pattern=pattern,
        min_length=min_length,
        decimals=decimals,
        severity=severity,
        derived_from=tuple(derived_from),
        references=references,
    )


@dataclass(frozen=True)
class Days:
    """Which days of a table another table's day needs: `first`..`last` relative to it; `first=None` is "since ever"."""

    table: type[Table]
    first: int | None
    last: int

    def around(self, days: Sequence[dt.date]) -> tuple[dt.date | None, dt.date | None]:
        """First and last day that these ascending days need; None is without bound, as of a table without days."""
        if self.table.partition is None or not days:
            return None, None
        first = None if self.first is None else days[0] + dt.timedelta(self.first)
        return first, days[-1] + dt.timedelta(self.last)


class Table:
    """Base of every contract: subclass it, annotate the columns, and the docstring becomes the description."""

    key: ClassVar[str]
    """`group/table`: the Dagster asset key and the path in the lake."""
    partition: ClassVar[str | None] = None
    """The date column that files are partitioned by; None for a table that is replaced whole."""
    primary_key: ClassVar[tuple[str, ...]]
    """The grain: one row per combination of these."""
    identity: ClassVar[str | None] = None
    """Of raw tables filed under a day that a later line may tell otherwise: the column that names the row a line tells
    of, whatever its day. All days of a row are read and computed again together (core/lake/moved_rows)."""
    tenant: ClassVar[str | None] = None
    """The column that says whose rows they are: a tenant's token reads its own and no others (web/query)."""
    within_tenant: ClassVar[str | None] = None
    """The column that says of which of the tenant's projects they are; a token for some projects reads these alone."""
    owner: ClassVar[str]
    """`team:<name>` or an e-mail address."""
    kind: ClassVar[str] = "polars"
    """What computes it, shown as a badge in Dagster."""
    fresh: ClassVar[FreshnessPolicy | None] = None
    retention: ClassVar[dt.timedelta | None] = None
    """How long rows need to be kept, told to readers of the contract; None is for ever. Nothing is deleted by it."""
    windows: ClassVar[Windows | None] = None
    """Of a table of tumbling windows: their length, how far behind the watermark is, how late an event may come."""
    row_rules: ClassVar[tuple[Rule, ...]] = ()
    """Conditions over several columns."""
    table_rules: ClassVar[tuple[TableRule, ...]] = ()
    """Conditions over several rows or tables."""
    sorted: ClassVar[bool] = True
    """Rows of a partition are stored in primary-key order: smaller files, faster downstream grouping.
    Off for event tables, where sorting half a million wide rows costs more than writing them."""
    profiled: ClassVar[bool] = True
    """Whether each day is measured and held against the days before it (tables without days never are)."""
    profiled_by: ClassVar[Mapping[str, str]] = {}
    """JSON column → the column whose values have payloads of their own, for example an event type."""

    bitemporal: ClassVar[bool] = False
    """A day that is over and changes later keeps what it said before, so that one can ask what was known when."""
    ttl: ClassVar[dt.timedelta | None] = None
    """How long a day's row may stand in for newer ones that are missing, counted from the end of its day; None is for
    ever."""

    online: ClassVar[bool] = False
    """Whether the newest day of a feature set is put into the online store, for the feature API."""

    only_changed: ClassVar[bool] = False
    """Whether a day (a table without days: the table) that is computed again and has the rows it had is not written
    again, so that nothing that needs it is computed. For small tables that are computed of much at every change."""

    journal: ClassVar[bool] = False
    """A record about other tables, appended to by whatever happens to them; not computed from days of data."""

    published: ClassVar[Published | None] = None
    """Whether and how BI tools find the table in PostgreSQL."""

    columns: ClassVar[Mapping[str, Column]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        inherited = {name: found for base in cls.__bases__ for name, found in getattr(base, "columns", {}).items()}
        # Those of the bases were worked out with them: `typing.get_type_hints` does it again for every table, 0.1 s.
        stated: dict[str, Any] = inspect.get_annotations(cls, eval_str=True)
        hints = {name: found.annotation for name, found in inherited.items()} | stated
        own = [name for name in stated if typing.get_origin(stated[name]) is not ClassVar]
        columns: dict[str, Column] = {}
        for name in sorted({**dict.fromkeys(own), **inherited}, key=lambda name: name != cls.partition):
            declared = cls.__dict__.get(name, inherited.get(name))
            if hasattr(Table, name):
                raise TypeError(
                    f"{cls.__name__}.{name}: this name belongs to the contract itself; name the column otherwise"
                )
            if not isinstance(declared, Column):
                raise TypeError(f"{cls.__name__}.{name} needs column(...) with a description")
            columns[name] = _bound(declared, cls, name, hints[name])
        for name, bound in columns.items():
            setattr(cls, name, bound)
        cls.columns = types.MappingProxyType(columns)
        if columns and hasattr(cls, "key"):
            check_declaration(cls)
            _CONTRACTS[cls.key] = cls

    @classmethod
    def table_group(cls) -> str:
        return cls.key.split("/")[0]

    @classmethod
    def table_name(cls) -> str:
        return cls.key.split("/")[1]

    @classmethod
    def table_description(cls) -> str:
        return " ".join((cls.__doc__ or "").split())

    @classmethod
    def schema(cls) -> dict[str, pl.DataType]:
        """Column name → Polars type, in declared order."""
        return {name: declared.dtype for name, declared in cls.columns.items()}

    @classmethod
    def empty(cls) -> pl.DataFrame:
        return pl.DataFrame(schema=cls.schema())

    @classmethod
    @functools.cache
    def rules(cls) -> list[Rule]:
        """Every row rule: those of the columns, then those over several columns."""
        return [rule for declared in cls.columns.values() for rule in declared.rules()] + list(cls.row_rules)

    @classmethod
    @functools.cache
    def all_table_rules(cls) -> list[TableRule]:
        """The declared ones, and one per column that references a key of another table."""
        return [_reference_rule(c) for c in cls.columns.values() if c.references is not None] + list(cls.table_rules)

    @classmethod
    def rule_texts(cls) -> list[tuple[str, str, Severity]]:
        """(name, description, severity) of every declared rule."""
        rows = [(rule.name, rule.description, rule.severity) for rule in cls.rules()]
        return rows + [(rule.name, rule.description, rule.severity) for rule in cls.all_table_rules()]

    @classmethod
    @functools.cache
    def version(cls) -> str:
        """Digest of everything a reader can depend on: names, types, nullability, key, partition, rules."""
        facts = [
            (c.name, str(c.dtype), c.nullable, c.unit, c.ge, c.le, c.isin, c.pattern, c.min_length)
            for c in cls.columns.values()
        ]
        rules = [(name, severity) for name, _, severity in cls.rule_texts()]
        windows = (cls.windows,) if cls.windows else ()
        facts_and_rules = repr((cls.key, cls.partition, cls.primary_key, facts, rules, *windows))
        return hashlib.blake2b(facts_and_rules.encode(), digest_size=6).hexdigest()

    @classmethod
    def days(cls, first: int = 0, last: int = 0) -> Days:
        """The days `first`..`last` around the day that is computed; `days(-29, 0)` is a 30-day window."""
        return Days(cls, first, last)

    @classmethod
    def until(cls, last: int = 0) -> Days:
        """Every day up to and including the one that is computed, or `last` days after it."""
        return Days(cls, None, last)


_CONTRACTS: dict[str, type[Table]] = {}


def contract(key: str) -> type[Table]:
    """The contract declared for `group/table`. Raises KeyError for a key no imported module declares."""
    return _CONTRACTS[key]


def contracts() -> dict[str, type[Table]]:
    """Every declared contract by key."""
    return dict(sorted(_CONTRACTS.items()))


def _reference_rule(declared: Column) -> TableRule:
    """Every value of the column exists in the referenced one, as far as that is known by the end of the day."""
    name, referenced = declared.name, declared.references
    assert declared.table is not None
    assert referenced is not None
    assert referenced.table is not None
    by_day = [declared.table.partition] if declared.table.partition else []

    def orphans(rows: pl.LazyFrame, known: pl.LazyFrame) -> pl.LazyFrame:
        keys = rows.select(*by_day, name).drop_nulls(name).unique()
        return keys.join(known.select(referenced.name), left_on=name, right_on=referenced.name, how="anti")

    return TableRule(
        f"{name}_in_{referenced.table.table_name()}",
        f"every {name} is in {referenced.table.key}",
        orphans,
        {"known": referenced.table.until()},
    )


def _bound(declared: Column, table: type[Table], name: str, annotation: Any) -> Column:
    """A copy of the column that knows its table and name, so that a base class's columns can be inherited."""
    inner = [a for a in typing.get_args(annotation) if a is not types.NoneType]
    optional = types.NoneType in typing.get_args(annotation)
    stated = inner[0] if optional else annotation
    try:
        dtype = column_type(stated, declared.decimals)
    except TypeError as error:
        raise TypeError(f"{table.__name__}.{name}: {error}") from None
    bound = Column(**{f: getattr(declared, f) for f, spec in Column.__dataclass_fields__.items() if spec.init})
    kind = {
        "is_json": stated is JsonObject,
        "is_position": stated is LogPosition,
        "is_vector": stated is HalfVector,
    }
    derived = {"name": name, "table": table, "dtype": dtype, "nullable": optional, "annotation": annotation, **kind}
    for attribute, value in derived.items():
        object.__setattr__(bound, attribute, value)
    return bound
