"""Which steps' newest attempt failed, from Dagster's runs.
Belongs here: reading run records and their events. Not here: what is made of it (problems)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from data_platform.core.instance.past_runs import run_records

ENDED_BADLY = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
STEP_EVENTS = {
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
}


@dataclass(frozen=True)
class FailedRun:
    """A step whose newest attempt failed, or (without a step) a run that ended before any."""

    job: str
    run_id: str
    step: str | None
    subject: str
    """What to call it: the step, or the job."""
    ended: str
    """`failed` or `was canceled`."""
    at: dt.datetime
    error: str | None
    """Class of the error. Its text may quote anything, so it stays in Dagster."""


def failed_runs(instance: dg.DagsterInstance, first: dt.datetime) -> list[FailedRun]:
    """One per step whose newest finished attempt since `first` failed. A later success of the step ends it; a step
    that was never reached says nothing. A killed run fails in the steps it had begun, else in all it had before it."""
    records = list(run_records(instance, dg.RunsFilter(statuses=ENDED_BADLY, updated_after=first)))
    if not records:
        return []
    # Only what succeeded after the first failure can end one.
    since = dt.datetime.fromtimestamp(min(map(_ended_at, records)), dt.UTC)
    records += run_records(instance, dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=since))
    planned: dict[str, frozenset[str]] = {}
    settled: set[str] = set()
    found: dict[str, FailedRun] = {}
    # By when they ended: a long backfill that fails now began before runs that succeeded meanwhile.
    for record in sorted(records, key=_ended_at, reverse=True):
        run = record.dagster_run
        steps = _steps(instance, run, planned)
        left = steps - settled
        if run.status == dg.DagsterRunStatus.SUCCESS:
            settled |= steps
        elif left:
            begun = _attempts(instance, run.run_id)
            failed = {step: error for step, (ok, error) in begun.items() if not ok}
            for step in sorted(failed.keys() - settled):
                found[step] = _failed(record, step, step, failed[step])
            settled |= begun.keys()
            if not failed:
                # It died before its first step, or between two: told once, by the job's name.
                name = run.job_name if not run.asset_selection else min(steps)
                found.setdefault(name, _failed(record, None, name, None))
                settled |= steps
    return list(found.values())


def _failed(record: dg.RunRecord, step: str | None, subject: str, error: str | None) -> FailedRun:
    run = record.dagster_run
    ended = "was canceled" if run.status == dg.DagsterRunStatus.CANCELED else "failed"
    at = dt.datetime.fromtimestamp(_ended_at(record), dt.UTC)
    return FailedRun(run.job_name, run.run_id, step, subject, ended, at, error)


def _ended_at(record: dg.RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _steps(instance: dg.DagsterInstance, run: dg.DagsterRun, planned: dict[str, frozenset[str]]) -> frozenset[str]:
    """The steps a run was to carry out; many runs share a plan."""
    if run.step_keys_to_execute:
        return frozenset(run.step_keys_to_execute)
    plan = run.execution_plan_snapshot_id
    if plan is None:
        return frozenset([run.job_name])
    if plan not in planned:
        planned[plan] = frozenset(instance.get_execution_plan_snapshot(plan).step_keys_to_execute)
    return planned[plan]


def _attempts(instance: dg.DagsterInstance, run_id: str) -> dict[str, tuple[bool, str | None]]:
    """Step → (succeeded, class of the error) for every step the run began; one that never ended failed."""
    begun: dict[str, tuple[bool, str | None]] = {}
    for record in instance.get_records_for_run(run_id, of_type=STEP_EVENTS).records:
        event = record.event_log_entry.dagster_event
        if event is None or event.step_key is None:
            continue
        begun[event.step_key] = (event.event_type == dg.DagsterEventType.STEP_SUCCESS, next(_causes(event), None))
    return begun


def _causes(event: dg.DagsterEvent) -> Iterator[str]:
    """Class names of the error, the root cause first."""
    if event.event_type != dg.DagsterEventType.STEP_FAILURE:
        return
    names = []
    error = event.step_failure_data.error
    while error is not None:
        names.append(error.cls_name or "error")
        error = error.cause
    yield from reversed(names)
