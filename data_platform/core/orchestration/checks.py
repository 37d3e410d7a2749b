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

from data_platform.core.contract.table import Severity, Table
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.partitions import daily
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.check_groups import check_groups, check_names
from data_platform.core.quality.validation import WHOLE_TABLE, Status, Verdict, Verdicts

PAGE = 1000
"""Records asked for at a time."""

MOST_NAMED = 50
SEVERITIES = {
    Severity.ERROR: dg.AssetCheckSeverity.ERROR,
    Severity.WARNING: dg.AssetCheckSeverity.WARN,
    Severity.INFO: dg.AssetCheckSeverity.WARN,
}
"""Dagster knows two; what is merely recorded never fails there (see `_outcomes`)."""


def asset_key(table: type[Table]) -> dg.AssetKey:
    return dg.AssetKey(table.key.split("/"))


def check_specs(table: type[Table]) -> list[dg.AssetCheckSpec]:
    """A check for each group of rules; those of error severity block what is downstream."""
    return [
        dg.AssetCheckSpec(
            group.name,
            asset=asset_key(table),
            description=group.sentence,
            blocking=group.severity == Severity.ERROR,
            partitions_def=daily() if table.partition else None,
        )
        for group in check_groups(table)
    ]


@dataclass(frozen=True)
class CheckOutcome:
    """What one check of a step of its own found in one partition."""

    passed: bool
    metadata: Mapping[str, Any]
    rows: int = 0
    failed_rows: int = 0
    severity: Severity | None = None
    """Of the worst that failed, where a check shows rules of several severities; else the check's own."""


def record_in_ledger(context: dg.AssetExecutionContext, lake: Lake, table: type[Table], verdicts: Verdicts) -> None:
    """Append every verdict of a materialisation to quality/check_results, passes included."""
    repeated = context.retry_number > 0
    verdict_ledger.record_materialization(lake, table, verdicts, context.run.run_id, repeated=repeated)


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
        if spec.key in context.selected_asset_check_keys:
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
    more = f" and {len(failed) - MOST_NAMED} more" if len(failed) > MOST_NAMED else ""
    metadata: Mapping[str, Any] = {
        "partitions": len(outcomes),
        "failed_partitions": ", ".join(failed[:MOST_NAMED]) + more if failed else "none",
    }
    if len(outcomes) == 1:
        metadata = next(iter(outcomes.values())).metadata
    yield dg.AssetCheckResult(
        asset_key=asset_key(table),
        check_name=spec.name,
        passed=not failed,
        severity=SEVERITIES[_worst([outcomes[partition].severity or severity for partition in failed]) or severity],
        metadata=dict(metadata),
    )


def _log(
    context: dg.AssetExecutionContext,
    table: type[Table],
    spec: dg.AssetCheckSpec,
    severity: Severity,
    outcomes: Mapping[str, CheckOutcome],
    judged: Mapping[str, JudgedMaterialization],
) -> None:
    with stored_together(context.instance):
        for partition, outcome in outcomes.items():
            evaluation = dg.AssetCheckEvaluation(
                asset_key=asset_key(table),
                check_name=spec.name,
                passed=outcome.passed,
                severity=SEVERITIES[outcome.severity or severity],
                blocking=spec.blocking,
                metadata=dg.MaterializeResult(metadata=outcome.metadata).metadata,
                partition=partition if partition != WHOLE_TABLE else None,
                target_materialization_data=judged.get(partition),
            )
            context.log_event(evaluation)


def stored_together(instance: dg.DagsterInstance) -> AbstractContextManager[None]:
    """A context whose evaluations and materialisations are stored at once, where the storage can do that
    (`PooledEventLog`). Asked by name, because importing the storage costs 0.4 s, and loading the code location needs
    none."""
    together: Callable[[], AbstractContextManager[None]] = getattr(
        instance.event_log_storage, "asset_events_together", nullcontext
    )
    return together()


def _outcomes(
    table: type[Table], verdicts: Verdicts
) -> Iterator[tuple[dg.AssetCheckSpec, Severity, dict[str, CheckOutcome]]]:
    failed: dict[tuple[str, str], list[Verdict]] = {}
    shown_by = check_names(table)
    for verdict in verdicts.found():
        if verdict.status in (Status.FAILED, Status.ERRORED):
            failed.setdefault((shown_by[verdict.rule], verdict.partition), []).append(verdict)
    for group, spec in zip(check_groups(table), check_specs(table), strict=True):
        found = {partition: failed.get((group.name, partition), []) for partition in verdicts.rows}
        yield (
            spec,
            group.severity,
            {
                partition: CheckOutcome(
                    group.severity == Severity.INFO or not found[partition],
                    _metadata(table, rows, found[partition]),
                    severity=_worst([verdict.severity for verdict in found[partition]]),
                )
                for partition, rows in verdicts.rows.items()
            },
        )


def _worst(severities: Sequence[Severity]) -> Severity | None:
    """A check blocks by the worst that failed: a shop without users breaks a warning of dbt's tests on every order, and
    as an error that kept every table after the orders from being built."""
    return min(severities, key=list(Severity).index, default=None)


def _metadata(table: type[Table], rows: int, found: Sequence[Verdict]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"rows": rows, "failed_rows": sum(verdict.failed_rows for verdict in found)}
    if not found:
        return metadata
    metadata["failed_rules"] = dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "rule": verdict.rule,
                    "status": verdict.status.value,
                    "failed_rows": verdict.failed_rows,
                    "message": verdict.message or "",
                }
            )
            for verdict in found
        ]
    )
    keys = [{"rule": verdict.rule, **_plain(key)} for verdict in found for key in verdict.sample]
    if keys:
        columns = list(dict.fromkeys(name for key in keys for name in key))
        records = [dg.TableRecord({name: key.get(name, "") for name in columns}) for key in keys]
        metadata["failing_rows"] = dg.MetadataValue.table(records)
    return metadata


def _plain(key: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in key.items()}


def _judged(
    context: dg.AssetExecutionContext, table: type[Table], partitions: Sequence[str]
) -> dict[str, JudgedMaterialization]:
    """The newest materialisation of each partition; nothing for tables without partitions."""
    if table.partition is None:
        return {}
    key, instance = asset_key(table), context.instance
    newest = instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    wanted = sorted(newest[partition] for partition in partitions if partition in newest)
    found: list[dg.EventLogRecord] = []
    for start in range(0, len(wanted), PAGE):  # Dagster refuses to be asked for more than 10,000 records
        page = wanted[start : start + PAGE]
        found += instance.fetch_materializations(dg.AssetRecordsFilter(key, storage_ids=page), limit=PAGE).records
    judged: dict[str, JudgedMaterialization] = {}
    for record in found:
        if record.partition_key is not None and record.partition_key not in judged:
            judged[record.partition_key] = JudgedMaterialization(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            )
    return judged
