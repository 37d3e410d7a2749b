"""A contract turned into a Pandera model, and a frame judged by it.
Belongs here: what a verdict is and how it is reached. Not here: how Dagster shows it, where rows are stored."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import polars as pl

from data_platform.core.contract.frames import require_schema
from data_platform.core.contract.table import Rule, Severity, Table

# Pandera, and with it pandas where that is installed, takes 0.4 s to import, and looks at nothing but what may fail.
if TYPE_CHECKING:
    import pandera.polars as pa

SAMPLE_ROWS = 5
COLUMNS_AND_TYPES = "columns_and_types"
KEY_UNIQUE = "primary_key_unique"
WHOLE_TABLE = ""
"""Stands for the partition of a table that has none."""


class Status(StrEnum):
    """`errored`: the rule itself crashed, which says nothing of the data. `not_judged`: too little history."""

    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True)
class Verdict:
    """What one rule found in one partition; `sample` holds keys of failing rows, `value` what a measuring rule saw."""

    rule: str
    severity: Severity
    partition: str
    failed_rows: int
    rows: int
    sample: tuple[Mapping[str, Any], ...] = ()
    status: Status = Status.FAILED
    value: float | None = None
    threshold: float | None = None
    message: str | None = None


@dataclass
class Verdicts:
    """All verdicts of one materialisation."""

    rows: dict[str, int] = field(default_factory=dict)
    """Rows judged per partition."""
    failures: list[Verdict] = field(default_factory=list)
    """Rules that failed or crashed."""
    others: list[Verdict] = field(default_factory=list)
    """Measuring rules that passed or had too little history. Passes of row rules follow from `rows`."""

    def add(self, other: Verdicts) -> None:
        for partition, rows in other.rows.items():
            self.rows[partition] = self.rows.get(partition, 0) + rows
        self.failures.extend(other.failures)
        self.others.extend(other.others)

    def sort_in(self, verdicts: Iterable[Verdict]) -> None:
        """Add verdicts of measuring rules, passed or not."""
        for verdict in verdicts:
            failed = verdict.status in (Status.FAILED, Status.ERRORED)
            (self.failures if failed else self.others).append(verdict)

    def found(self) -> list[Verdict]:
        """What failed, crashed or was measured; failures in several parts of a partition as one."""
        failed: dict[tuple[str, str], Verdict] = {}
        for verdict in self.failures:
            key = (verdict.partition, verdict.rule)
            before = failed.get(key)
            rows = verdict.failed_rows + (before.failed_rows if before else 0)
            sample = ((before.sample if before else ()) + verdict.sample)[:SAMPLE_ROWS]
            failed[key] = replace(verdict, failed_rows=rows, sample=sample, rows=self.rows.get(verdict.partition, 0))
        return [*failed.values(), *self.others]

    def passes(self, table: type[Table]) -> pl.DataFrame:
        """partition, rule, severity, rows: one row per partition and row rule that neither failed nor crashed.

        As a frame, because a year of a table with 30 rules has 11,000 passes.
        """
        text, schema = pl.String(), {"partition": pl.String(), "rule": pl.String()}
        partitions = pl.DataFrame(list(self.rows.items()), {"partition": text, "rows": pl.Int64()}, orient="row")
        rules = pl.DataFrame(rule_names(table), {"rule": text, "severity": text}, orient="row")
        failed = pl.DataFrame([(v.partition, v.rule) for v in self.failures], schema, orient="row")
        every = partitions.join(rules, how="cross").join(failed, on=list(schema), how="anti")
        return every.select("partition", "rule", "severity", "rows")

    def of(self, partition: str, severity: Severity) -> list[Verdict]:
        return [v for v in self.failures if v.partition == partition and v.severity == severity]

    def blocked(self) -> set[str]:
        """Partitions that must not be published: an error rule failed, or could not be applied."""
        return {v.partition for v in self.failures if v.severity == Severity.ERROR}


def not_null(column: str) -> str:
    """Name of the rule that a column has no missing value."""
    return f"{column}_not_null"


def rule_names(table: type[Table]) -> list[tuple[str, Severity]]:
    """Every rule that `judge` applies to each row, with its severity; also those that the columns' types imply."""
    implied = [COLUMNS_AND_TYPES, KEY_UNIQUE]
    implied += [not_null(name) for name, declared in table.columns.items() if not declared.nullable]
    return [(name, Severity.ERROR) for name in implied] + [(rule.name, rule.severity) for rule in table.rules()]


@functools.cache
def pandera_model(table: type[Table], severity: Severity, key: bool = True) -> pa.DataFrameSchema:
    """The Pandera schema of a table's rules of one severity; types, nulls and (with `key`) the key count as errors.

    Validate eager frames only: on a LazyFrame Pandera checks types and lets bad values pass in silence.
    """
    import pandera.polars as pa

    strict = severity == Severity.ERROR
    checks = [_check(rule) for rule in table.rules() if rule.severity == severity]
    columns = {
        name: pa.Column(
            declared.dtype if strict else None,
            nullable=declared.nullable or not strict,
            description=declared.description,
        )
        for name, declared in table.columns.items()
    }
    return pa.DataFrameSchema(
        columns,
        checks=checks,
        unique=list(table.primary_key) if strict and key else None,
        strict=strict,
        name=table.key,
        description=table.table_description(),
    )


def _check(rule: Rule) -> pa.Check:
    import pandera.polars as pa

    return pa.Check(
        lambda data: data.lazyframe.select(rule.holds.fill_null(True)), name=rule.name, description=rule.description
    )


def judge(table: type[Table], frame: pl.DataFrame, partitions: list[str]) -> Verdicts:
    """Judge an eager frame by every rule of its contract; `partitions` are those it should cover (rows may be none).

    Raises PlatformError when columns or types differ. A rule that crashes is told as crashed, in every partition: that
    is not bad data.
    """
    require_schema(table, frame)
    verdicts = Verdicts(rows=dict.fromkeys(partitions, 0) if table.partition else {WHOLE_TABLE: len(frame)})
    for partition, rows in frame[table.partition].value_counts().iter_rows() if table.partition else ():
        verdicts.rows[str(partition)] = rows
    key_may_repeat = not _surely_unique(frame.select(table.primary_key))
    for severity in _may_fail(table, frame, key_may_repeat):
        from pandera.errors import SchemaErrors

        try:
            pandera_model(table, severity, key_may_repeat).validate(frame, lazy=True)  # type: ignore[arg-type]
        except SchemaErrors as error:
            verdicts.failures += _failures(table, frame, severity, error.failure_cases, verdicts.rows)
    return verdicts


def _may_fail(table: type[Table], frame: pl.DataFrame, key_may_repeat: bool) -> list[Severity]:
    """Severities of which Pandera has to look at the frame, because one of their rules does not hold everywhere, or
    crashed.

    All rules are first asked together whether they hold: Pandera applies them one by one, 6 ms each whatever the size,
    which was a tenth of materialising a day of all tables.
    """
    fails = {severity: [pl.lit(severity == Severity.ERROR and key_may_repeat)] for severity in Severity}
    for rule in table.rules():
        fails[rule.severity].append((~rule.holds.fill_null(True)).any())
    for name, declared in table.columns.items():
        if not declared.nullable:
            value = pl.col(name).fill_nan(None) if declared.dtype.is_float() else pl.col(name)
            fails[Severity.ERROR].append(value.null_count() > 0)
    try:
        found = frame.select(pl.any_horizontal(failing).alias(severity) for severity, failing in fails.items())
    except Exception:  # whatever a rule raises: Pandera says which one it was
        return list(Severity)
    return [severity for severity in Severity if found[severity][0]]


def _surely_unique(keys: pl.DataFrame) -> bool:
    """Whether no key repeats, by sorted hashes: a third of the time of comparing keys. Equal hashes prove nothing; then
    Pandera looks at the keys themselves."""
    hashes = keys.hash_rows().sort()
    return not (hashes == hashes.shift()).any()


def _labels(table: type[Table], frame: pl.DataFrame) -> pl.Series:
    if table.partition is None:
        return pl.Series("partition", [WHOLE_TABLE], dtype=pl.String).new_from_index(0, len(frame))
    return frame[table.partition].cast(pl.String).alias("partition")


def _failures(
    table: type[Table],
    frame: pl.DataFrame,
    severity: Severity,
    cases: pl.DataFrame,
    rows: Mapping[str, int],
) -> list[Verdict]:
    """One verdict per failed rule and partition, from Pandera's failure cases."""
    crashed = [
        Verdict(
            str(case["check"]),
            severity,
            partition,
            0,
            count,
            status=Status.ERRORED,
            message=str(case["failure_case"])[:500],
        )
        for case in cases.filter(pl.col("index").is_null()).iter_rows(named=True)
        for partition, count in rows.items()
    ]
    cases = cases.filter(pl.col("index").is_not_null())
    named = cases.with_columns(
        rule=pl.when(pl.col("check") == "not_nullable")
        .then(pl.format(not_null("{}"), "column"))
        .when(pl.col("check") == "multiple_fields_uniqueness")
        .then(pl.lit(KEY_UNIQUE))
        .otherwise(pl.col("check"))
    )
    labels = _labels(table, frame)
    found = crashed
    for (rule,), group in named.group_by("rule", maintain_order=True):
        at = group["index"].unique().sort()
        keys = frame[at].select(table.primary_key).with_columns(labels[at].fill_null("(no date)").alias("partition"))
        for (partition,), failing in keys.group_by("partition", maintain_order=True):
            sample = tuple(failing.head(SAMPLE_ROWS).select(table.primary_key).to_dicts())
            name = str(partition)
            found.append(Verdict(str(rule), severity, name, len(failing), rows.get(name, len(failing)), sample))
    return found
