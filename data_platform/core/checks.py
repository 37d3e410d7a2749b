"""A contract's rules as Dagster asset checks, with one verdict per partition.
Belongs here: check specs and how verdicts are recorded. Not here: how a verdict is reached (validation)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import dagster as dg

# Dagster has no public way to say which materialisation an explicitly logged evaluation judged; without it the UI shows
# "Skipped" for every day of a range run.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as JudgedMaterialization,
)

from data_platform.core import verdict_ledger
from data_platform.core.contract import ANOMALIES, Severity, Table
from data_platform.core.lake import Lake
from data_platform.core.partitions import daily
from data_platform.core.profile_store import is_profiled
from data_platform.core.validation import WHOLE_TABLE, Status, Verdict, Verdicts

CHECKS = {Severity.ERROR: "contract", Severity.WARNING: "expectations", Severity.INFO: "notes"}
"""One check per severity and table: each costs an event per partition (15 ms on SQLite), so rules share one and are
told apart in its metadata."""

SEVERITIES = {
    Severity.ERROR: dg.AssetCheckSeverity.ERROR,
    Severity.WARNING: dg.AssetCheckSeverity.WARN,
    Severity.INFO: dg.AssetCheckSeverity.WARN,
}
"""Dagster knows two; what is merely recorded never fails there (see `_outcomes`)."""


def asset_key(table: type[Table]) -> dg.AssetKey:
    return dg.AssetKey(table.key.split("/"))


def check_specs(table: type[Table]) -> list[dg.AssetCheckSpec]:
    """`contract` (blocking) for every table; `expectations` where there are rules of warning severity."""
    return [
        dg.AssetCheckSpec(
            name,
            asset=asset_key(table),
            description="; ".join(_rule_texts(table, severity)),
            blocking=severity == Severity.ERROR,
            partitions_def=daily() if table.partition else None,
        )
        for severity, name in CHECKS.items()
        if severity == Severity.ERROR or _rule_texts(table, severity)
    ]


def _rule_texts(table: type[Table], severity: Severity) -> list[str]:
    texts = [text for _, text, severity_ in table.rule_texts() if severity_ == severity]
    if severity == Severity.WARNING and is_profiled(table):
        texts += ANOMALIES.values()
    if severity == Severity.ERROR:
        texts = [f"types as declared, one row per ({', '.join(table.primary_key)})", *texts]
    return texts


@dataclass(frozen=True)
class CheckOutcome:
    """What one check of a step of its own found in one partition."""

    passed: bool
    metadata: Mapping[str, Any]
    rows: int = 0
    failed_rows: int = 0


def record_in_ledger(context: dg.AssetExecutionContext, lake: Lake, table: type[Table], verdicts: Verdicts) -> None:
    """Append every verdict of a materialisation to quality/check_results, passes included."""
    repeated = context.retry_number > 0
    verdict_ledger.record_materialization(lake, table, verdicts, CHECKS, context.run.run_id, repeated=repeated)


def record_outcomes_in_ledger(
    context: dg.AssetExecutionContext,
    lake: Lake,
    table: type[Table],
    check: str,
    severity: Severity,
    outcomes: Mapping[str, CheckOutcome],
) -> None:
    """The same for the outcomes of one check."""
    verdicts = [
        Verdict(
            check,
            severity,
            partition,
            outcome.failed_rows,
            outcome.rows,
            status=Status.PASSED if outcome.passed else Status.FAILED,
            message=json.dumps(dict(outcome.metadata), default=str),
        )
        for partition, outcome in outcomes.items()
    ]
    rows = [(check, verdict) for verdict in verdicts]
    verdict_ledger.record(lake, table, rows, context.run.run_id, repeated=context.retry_number > 0)


def record_verdicts(
    context: dg.AssetExecutionContext, table: type[Table], verdicts: Verdicts
) -> Iterator[dg.AssetCheckResult]:
    """Log one evaluation per partition and yield the run's summary. Call it after the materialisation is recorded."""
    judged = {} if context.has_partition_key else _judged(context, table, list(verdicts.rows))
    for spec, severity, outcomes in _outcomes(table, verdicts):
        yield from record_outcomes(context, table, spec, severity, outcomes, judged)


def log_verdicts(context: dg.AssetExecutionContext, table: type[Table], verdicts: Verdicts) -> None:
    """Log one evaluation per partition and nothing else: for a step that is about to fail."""
    judged = _judged(context, table, list(verdicts.rows))
    for spec, severity, outcomes in _outcomes(table, verdicts):
        _log(context, table, spec, severity, outcomes, judged)


def record_outcomes(
    context: dg.AssetExecutionContext,
    table: type[Table],
    spec: dg.AssetCheckSpec,
    severity: Severity,
    outcomes: Mapping[str, CheckOutcome],
    judged: Mapping[str, JudgedMaterialization] | None = None,
) -> Iterator[dg.AssetCheckResult]:
    """One evaluation per partition, and the summary that Dagster expects of the step.

    In a range run, also over a single day, Dagster records the summary without a partition and leaves every
    partition's planned check open; in a run of one partition key the summary is that partition's evaluation.
    `judged` is looked up when it is not known.
    """
    if table.partition and not context.has_partition_key:
        _log(context, table, spec, severity, outcomes, judged or _judged(context, table, list(outcomes)))
    failed = [partition for partition, outcome in outcomes.items() if not outcome.passed]
    told: Mapping[str, Any] = {"partitions": len(outcomes), "failed_partitions": failed[:50]}
    if len(outcomes) == 1:
        told = next(iter(outcomes.values())).metadata
    yield dg.AssetCheckResult(
        asset_key=asset_key(table),
        check_name=spec.name,
        passed=not failed,
        severity=SEVERITIES[severity],
        metadata=dict(told),
    )


def _log(
    context: dg.AssetExecutionContext,
    table: type[Table],
    spec: dg.AssetCheckSpec,
    severity: Severity,
    outcomes: Mapping[str, CheckOutcome],
    judged: Mapping[str, JudgedMaterialization],
) -> None:
    with _stored_together(context.instance):
        for partition, outcome in outcomes.items():
            evaluation = dg.AssetCheckEvaluation(
                asset_key=asset_key(table),
                check_name=spec.name,
                passed=outcome.passed,
                severity=SEVERITIES[severity],
                blocking=spec.blocking,
                metadata=dg.MaterializeResult(metadata=outcome.metadata).metadata,
                partition=partition if partition != WHOLE_TABLE else None,
                target_materialization_data=judged.get(partition),
            )
            context.log_event(evaluation)


def _stored_together(instance: dg.DagsterInstance) -> AbstractContextManager[None]:
    """A context whose evaluations are stored at once, where the storage can do that (`PooledEventLog`). Asked by
    name, because importing the storage costs 0.4 s, and loading the code location needs none."""
    together: Callable[[], AbstractContextManager[None]] = getattr(
        instance.event_log_storage, "evaluations_together", nullcontext
    )
    return together()


def _outcomes(
    table: type[Table], verdicts: Verdicts
) -> Iterator[tuple[dg.AssetCheckSpec, Severity, dict[str, CheckOutcome]]]:
    for spec in check_specs(table):
        severity = next(s for s, name in CHECKS.items() if name == spec.name)
        yield (
            spec,
            severity,
            {
                partition: CheckOutcome(
                    severity == Severity.INFO or not verdicts.of(partition, severity),
                    _metadata(verdicts, severity, partition),
                )
                for partition in verdicts.rows
            },
        )


def _metadata(verdicts: Verdicts, severity: Severity, partition: str) -> dict[str, Any]:
    found = verdicts.of(partition, severity)
    told: dict[str, Any] = {"rows": verdicts.rows[partition], "failed_rows": sum(v.failed_rows for v in found)}
    if found:
        told["failed_rules"] = [
            {
                "rule": v.rule,
                "status": v.status.value,
                "partition": v.partition,
                "failed_rows": v.failed_rows,
                "sample": [_plain(k) for k in v.sample],
                **({"message": v.message} if v.message else {}),
            }
            for v in found[:50]
        ]
    return told


def _plain(key: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in key.items()}


def _judged(
    context: dg.AssetExecutionContext, table: type[Table], partitions: Sequence[str]
) -> dict[str, JudgedMaterialization]:
    """The newest materialisation of each partition; nothing for tables without partitions."""
    if table.partition is None:
        return {}
    found = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset_key(table), asset_partitions=list(partitions)), limit=len(partitions) * 2
    ).records
    judged: dict[str, JudgedMaterialization] = {}
    for record in found:
        if record.partition_key is not None and record.partition_key not in judged:
            judged[record.partition_key] = JudgedMaterialization(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            )
    return judged
