"""Maintenance as assets: what was done, recorded in a journal each and told to Dagster with sizes before and after.
Not here: doing it (maintenance), when (schedules)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.discovery import landing_sources
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.publication import DELTA_VERSION
from data_platform.core.orchestration.specs import spec_for
from data_platform.core.orchestration.steps import StepRun, step_of_events
from data_platform.core.settings import settings
from data_platform.operations import maintenance
from data_platform.operations.contracts import LakeMaintenance, LandingMaintenance, RunMaintenance
from data_platform.operations.maintenance import Done, Maintained


@step_of_events(spec_for(LakeMaintenance))
def lake_maintenance(run: StepRun) -> Iterator[Any]:
    """Small files merged, unneeded ones deleted, logs summed up; readers and writers go on."""

    def log(key: str, table: Maintained) -> None:
        for done in table.tasks:
            if done.note:
                run.context.log.warning(f"{key}: {done.note}")
        if table.merged or table.deleted:
            run.context.log.info(f"{key}: {table.merged} files merged, {table.deleted} deleted")

    kept = dt.timedelta(days=settings().keep_replaced_days)
    maintained = maintenance.maintain(run.lake, kept, log)
    rows = [
        {"asset": key, "task": done.task, **_sizes(done)} for key, table in maintained.items() for done in table.tasks
    ]
    merged, deleted = (sum(getattr(one, name) for one in maintained.values()) for name in ("merged", "deleted"))
    stored = [done for table in maintained.values() for done in table.tasks if done.task != "compact"]
    more = {"tables": len(maintained), "files_merged": merged, "files_deleted": deleted}
    yield _recorded(run, LakeMaintenance, rows, stored, more)


@step_of_events(spec_for(LandingMaintenance))
def landing_maintenance(run: StepRun) -> Iterator[Any]:
    """Ingested files deleted that were put away longer ago than DATA_PLATFORM_KEEP_INGESTED_DAYS."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=settings().keep_ingested_days)
    rows, all_done = [], []
    for source, done in maintenance.delete_put_away(run.lake, landing_sources(), before):
        if done.note:
            run.context.log.warning(f"{source.name}: {done.note}")
        rows.append({"source": source.name, **_sizes(done)})
        all_done.append(done)
    yield _recorded(run, LandingMaintenance, rows, all_done, {"older_than": before.isoformat()})


@step_of_events(spec_for(RunMaintenance))
def run_maintenance(run: StepRun) -> Iterator[Any]:
    """Runs of Dagster forgotten that ended longer ago than DATA_PLATFORM_KEEP_RUNS_DAYS and that no day rests on."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=settings().keep_runs_days)
    found = maintenance.forget_old_runs(run.context.instance, before, settings().dagster_home)
    runs = {"runs_before": found.runs_before, "runs_after": found.runs_after, "runs_held": found.runs_held}
    rows = [{**runs, **_sizes(found.done)}]
    yield _recorded(run, RunMaintenance, rows, [found.done], {**runs, "older_than": before.isoformat()})


def _sizes(done: Done) -> dict[str, Any]:
    return {
        "files_before": done.before.files,
        "files_after": done.after.files,
        "bytes_before": done.before.bytes,
        "bytes_after": done.after.bytes,
        "seconds": done.seconds,
        "note": done.note,
    }


def _recorded(
    run: StepRun, table: type[Table], rows: Sequence[Mapping[str, Any]], done: Sequence[Done], more: Mapping[str, Any]
) -> dg.MaterializeResult[Any]:
    """Append the rows to the journal; what Dagster is told of the whole."""
    now = dt.datetime.now(dt.UTC)
    frame = pl.DataFrame(
        [{"done_date": now.date(), "done_at": now, **row} for row in rows], schema=table.schema(), orient="row"
    )
    commit = run.lake.append(table, frame)
    metadata = {
        "files_before": sum(one.before.files for one in done),
        "files_after": sum(one.after.files for one in done),
        "bytes_before": sum(one.before.bytes for one in done),
        "bytes_after": sum(one.after.bytes for one in done),
        **more,
        DELTA_VERSION: str(commit.version),
    }
    return dg.MaterializeResult(asset_key=asset_key(table), metadata=metadata)
