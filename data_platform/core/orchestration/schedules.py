"""Runs by the clock: which job, when, and of which partition.
Not here: any schedule in particular (`schedules` of a domain or room), what runs because data arrived (automation)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from typing import Any

import dagster as dg

from data_platform.core.contract.table import Table
from data_platform.core.orchestration.checks import asset_key


def job_of(name: str, description: str, *tables: type[Table]) -> Any:
    """A job that computes these tables."""
    return dg.define_asset_job(name, dg.AssetSelection.assets(*map(asset_key, tables)), description=description)


def days_back(days: int) -> Callable[[dt.datetime], str]:
    """The day that many before the tick's, in UTC."""
    return lambda moment: (moment.date() - dt.timedelta(days)).isoformat()


TODAY, YESTERDAY = days_back(0), days_back(1)


def by_the_clock(
    name: str,
    job: Any,
    cron: str,
    description: str,
    run_key: Callable[[dt.datetime], str],
    partition: Callable[[dt.datetime], str] | None = None,
    unless: Callable[[], str | None] = lambda: None,
    only: Callable[[], Collection[type[Table]]] | None = None,
) -> dg.ScheduleDefinition:
    """A schedule in UTC that is on without a click. `run_key` and `partition` are made of the moment of the tick: one
    key is one run for ever. `unless` says why there is nothing to run, or None; `only` which of the job's tables there
    is anything to compute of."""

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        description=description,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if reason := unless():
            return dg.SkipReason(reason)
        moment = context.scheduled_execution_time.astimezone(dt.UTC)
        chosen = sorted(map(asset_key, only())) if only else None
        if chosen == []:
            return dg.SkipReason("Nothing was ever received.")
        return dg.RunRequest(
            run_key=run_key(moment), partition_key=partition(moment) if partition else None, asset_selection=chosen
        )

    return tick
