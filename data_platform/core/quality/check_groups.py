"""Which rules of a contract are one Dagster check: a rule over rows by itself, bounds of columns together.
Belongs here: names, sentences and rules of checks. Not here: Dagster (checks), judging (validation)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_platform.core.contract.table import Column, Rule, Severity, Table, TableRule
from data_platform.core.quality.profile import is_profiled
from data_platform.core.quality.validation import COLUMNS_AND_TYPES, KEY_UNIQUE, not_null

SCHEMA, BOUNDS, NOT_EMPTY = "schema", "bounds", "not_empty"
ANOMALIES = {
    "volume_anomaly": "as many rows as on such days before",
    "null_share_anomaly": "values are missing about as often as on such days before",
    "distribution_anomaly": "values are distributed about as on such days before",
}
"""Rules that hold a day against the same table's past; all of severity warning."""
ANOMALY_CHECK = "as_on_days_before"
OTHER_TESTS = "dbt_tests"
"""In the ledger, of SQL models that were built from a shell: dbt's tests that are written from the contract."""


@dataclass(frozen=True)
class CheckGroup:
    """Rules that are shown as one check: one evaluation per partition, because each costs the event log a row."""

    name: str
    sentence: str
    severity: Severity
    rules: tuple[str, ...]


_DECLARED: dict[str, tuple[CheckGroup, ...]] = {}


def declare_checks(table: type[Table], groups: Iterable[CheckGroup]) -> None:
    """Checks of a table that its contract does not know, such as tests written in SQL."""
    _DECLARED[table.key] = tuple(groups)


def check_groups(table: type[Table]) -> tuple[CheckGroup, ...]:
    """All checks of a table whose verdicts come with its materialisation, in the order a person reads them."""
    rules: list[Rule | TableRule] = [*table.row_rules, *table.all_table_rules()]
    own = [CheckGroup(rule.name, f"{rule.description}.", rule.severity, (rule.name,)) for rule in rules]
    unusual = [_anomalies()] if is_profiled(table) else []
    return (_schema(table), *_bounds(table), *own, *unusual, *_DECLARED.get(table.key, ()))


def check_names(table: type[Table]) -> Mapping[str, str]:
    """Rule → the check that shows it; the rules of tests that nobody declared by name are `OTHER_TESTS`."""
    return defaultdict(
        lambda: OTHER_TESTS, ((rule, group.name) for group in check_groups(table) for rule in group.rules)
    )


def _schema(table: type[Table]) -> CheckGroup:
    required = [name for name, declared in table.columns.items() if not declared.nullable]
    not_empty = [declared for declared in table.columns.values() if _must_not_be_empty(declared)]
    sentence = (
        f"Columns and types are as declared, one row per ({', '.join(table.primary_key)}), "
        f"no value missing in {', '.join(required)}"
    )
    if not_empty:
        sentence += f", no text empty in {', '.join(declared.name for declared in not_empty)}"
    rules = [COLUMNS_AND_TYPES, KEY_UNIQUE, *map(not_null, required)]
    rules += [rule.name for declared in not_empty for rule in declared.rules() if _kind(rule, declared) == NOT_EMPTY]
    return CheckGroup(SCHEMA, f"{sentence}.", Severity.ERROR, tuple(rules))


def _must_not_be_empty(declared: Column) -> bool:
    return declared.min_length == 1 and declared.severity == Severity.ERROR


def _bounds(table: type[Table]) -> list[CheckGroup]:
    """`bounds` of all numbers and lengths, one for each severity; lists of values and patterns each by itself."""
    groups: list[CheckGroup] = []
    for severity in Severity:
        columns = [declared for declared in table.columns.values() if declared.severity == severity]
        alike: dict[str, list[str]] = {}
        bounds: list[str] = []
        for declared in columns:
            for kind, rules in _by_kind(declared).items():
                if kind == BOUNDS:
                    bounds += [rule.name for rule in rules]
                    alike.setdefault(_words(rules, declared), []).append(declared.name)
                elif not (kind == NOT_EMPTY and _must_not_be_empty(declared)):
                    (rule,) = rules
                    groups.append(CheckGroup(rule.name, f"{rule.description}.", severity, (rule.name,)))
        if bounds:
            sentence = "; ".join(f"{', '.join(names)} {words}" for words, names in alike.items())
            name = BOUNDS if severity == Severity.ERROR else f"{BOUNDS}_{severity.value}"
            groups.append(CheckGroup(name, f"{sentence}.", severity, tuple(bounds)))
    return groups


def _by_kind(declared: Column) -> dict[str, list[Rule]]:
    """A column's rules; those that bound a number are one kind."""
    kinds: dict[str, list[Rule]] = {}
    for rule in declared.rules():
        kinds.setdefault(_kind(rule, declared), []).append(rule)
    return kinds


def _kind(rule: Rule, declared: Column) -> str:
    kind = rule.name.removeprefix(f"{declared.name}_")
    return BOUNDS if kind.startswith(("at_least_", "at_most_")) else kind


def _words(rules: Sequence[Rule], declared: Column) -> str:
    """What bounds say of their column: `≥ 0 and ≤ 1`."""
    return " and ".join(rule.description.removeprefix(f"{declared.name} ") for rule in rules)


def _anomalies() -> CheckGroup:
    return CheckGroup(
        ANOMALY_CHECK, f"{'; '.join(ANOMALIES.values()).capitalize()}.", Severity.WARNING, tuple(ANOMALIES)
    )
