"""Which features there are and what they mean, read from the contracts.
Belongs here: feature sets, references to features, descriptions. Not here: any value of a feature."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from data_platform.core.contract.table import Column, Severity, Table, contracts
from data_platform.core.discovery import known_contracts
from data_platform.core.errors import PlatformError, counted

GROUP = "features"


@dataclass(frozen=True)
class FeatureSet:
    """A table of group `features` with one row per day and entity. The values of a day hold from its end on."""

    table: type[Table]

    @property
    def name(self) -> str:
        return self.table.table_name()

    @property
    def day(self) -> str:
        """The snapshot day: partition of the table."""
        return str(self.table.partition)

    @property
    def entity(self) -> str:
        """The column that says whose features a row holds."""
        return next(name for name in self.table.primary_key if name != self.table.partition)

    @property
    def features(self) -> dict[str, Column]:
        """Every column but the key, in declared order."""
        return {name: one for name, one in self.table.columns.items() if name not in self.table.primary_key}


def feature_sets() -> dict[str, FeatureSet]:
    """Every feature set by name: the tables of group `features` whose key is their day and one entity."""
    tables = [table for table in known_contracts().values() if table.table_group() == GROUP and not table.journal]
    sets = [
        FeatureSet(table) for table in tables if table.partition in table.primary_key and len(table.primary_key) == 2
    ]
    return {one.name: one for one in sets}


def feature_set(name: str) -> FeatureSet:
    """Raises PlatformError naming near misses when there is no such set."""
    known = feature_sets()
    if name not in known:
        other = contracts().get(f"{GROUP}/{name}")
        if other and not other.journal:
            raise PlatformError(
                f"{other.key} is no feature set: its key is {', '.join(other.primary_key)}.",
                "A feature set has days, and one row per day and entity.",
            )
        raise PlatformError(f"There is no feature set {name[:100]!r}.", _meant(name, known))
    return known[name]


def resolve(references: Sequence[str] | str) -> list[tuple[FeatureSet, list[str]]]:
    """Each feature set that is referred to, with the features wanted of it, in order of first mention.

    A reference is `set:feature`, or `set` for all features of a set. Raises PlatformError for anything else.
    """
    wanted: dict[str, dict[str, None]] = {}
    for reference in [references] if isinstance(references, str) else references:
        if not isinstance(reference, str):
            raise PlatformError(
                f"A feature is named by text, not by {type(reference).__name__}.", "Write `set:feature` or `set`."
            )
        name, _, feature = reference.partition(":")
        known = feature_set(name).features
        if feature and feature not in known:
            raise PlatformError(f"{name} has no feature {feature[:100]!r}.", _meant(feature, known))
        wanted.setdefault(name, {}).update(dict.fromkeys([feature] if ":" in reference else known))
    if not wanted or any("" in features for features in wanted.values()):
        raise PlatformError(
            "No feature is named.", f"Write `set:feature` or `set`; sets are {_listed(feature_sets())}."
        )
    return [(feature_set(name), list(features)) for name, features in wanted.items()]


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"Did you mean {' or '.join(near)}?" if near else f"There are {_listed(known)}."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


# --------------------------------------------------------------------------- descriptions
@dataclass(frozen=True)
class FeatureDescription:
    """What one feature means."""

    name: str
    type: str
    description: str
    unit: str | None
    nullable: bool
    checks: tuple[str, ...]
    """Rules that every published value meets; those that only warn say so."""


@dataclass(frozen=True)
class FeatureSetDescription:
    """What a feature set holds and promises. `print` shows it as text; `to_dict` is for programs."""

    name: str
    description: str
    owner: str
    entity: str
    snapshot: str
    """What a day's values describe and from when on they hold."""
    ttl: dt.timedelta | None
    fresh_within: dt.timedelta | None
    """The promise: no older than this, by event time."""
    remembers_corrections: bool
    """Whether `known_at` can ask for what was known before a correction."""
    newest_snapshot: dt.date | None
    snapshots: int
    rows: int
    contract_version: str
    table_version: int | None
    features: tuple[FeatureDescription, ...]
    checks: tuple[str, ...]
    """Rules over several columns, rows or tables."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values: days and lengths of time as ISO text and seconds."""
        document = asdict(self)
        document["newest_snapshot"] = self.newest_snapshot.isoformat() if self.newest_snapshot else None
        for name in ("ttl", "fresh_within"):
            document[name] = document[name].total_seconds() if document[name] is not None else None
        return document

    def __str__(self) -> str:
        version = "none" if self.table_version is None else self.table_version
        size = f"{counted(self.snapshots, 'day')}, {counted(self.rows, 'row')}"
        facts = [
            ("entity", self.entity),
            ("owner", self.owner),
            ("newest snapshot", f"{self.newest_snapshot} ({size})" if self.newest_snapshot else "none yet"),
            ("holds for", _lasting(self.ttl) if self.ttl else "ever"),
            ("fresh within", _lasting(self.fresh_within) if self.fresh_within else "no promise"),
            ("known_at", "yes" if self.remembers_corrections else "no: corrections are not remembered"),
            ("versions", f"contract {self.contract_version}, table {version}"),
        ]
        lines = [self.name, self.description, ""]
        lines += [f"  {what + ':':<17}{fact}" for what, fact in facts]
        lines += ["", f"  {self.snapshot}", ""]
        width = max(len(one.name) for one in self.features)
        for one in self.features:
            type_ = one.type + ("?" if one.nullable else "") + (f" [{one.unit}]" if one.unit else "")
            lines.append(f"  {one.name:<{width}}  {type_:<18} {one.description}")
        return "\n".join(lines)


def describe_columns(one: FeatureSet) -> tuple[FeatureDescription, ...]:
    """Every feature of a set, from its contract."""
    return tuple(
        FeatureDescription(
            name,
            str(c.dtype),
            c.description,
            c.unit,
            c.nullable,
            tuple(_rule(r.description, r.severity) for r in c.rules()),
        )
        for name, c in one.features.items()
    )


def set_checks(one: FeatureSet) -> tuple[str, ...]:
    """Rules over several columns, rows or tables."""
    rules = [(rule.description, rule.severity) for rule in one.table.row_rules]
    rules += [(rule.description, rule.severity) for rule in one.table.all_table_rules()]
    return (f"one row per ({', '.join(one.table.primary_key)})", *(_rule(*rule) for rule in rules))


def _rule(text: str, severity: Severity) -> str:
    return text if severity == Severity.ERROR else f"{text} ({severity})"


def listed() -> pl.DataFrame:
    """One row per feature: feature_set, feature, type, unit, nullable, description, owner."""
    rows = [
        (one.name, name, str(c.dtype), c.unit, c.nullable, c.description, one.table.owner)
        for one in feature_sets().values()
        for name, c in one.features.items()
    ]
    text, names = pl.String, ("feature_set", "feature", "type", "unit", "nullable", "description", "owner")
    return pl.DataFrame(rows, {name: pl.Boolean if name == "nullable" else text for name in names}, orient="row")


def _lasting(span: dt.timedelta) -> str:
    """ "7 days", "26 hours"."""
    hours = span / dt.timedelta(hours=1)
    return counted(span.days, "day") if span % dt.timedelta(days=1) == dt.timedelta(0) else f"{hours:g} hours"
