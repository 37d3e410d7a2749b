"""Dagster's runs, however many: asked for in pages, each run once.
Not here: what is made of them (alerts, operations)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import dagster as dg

PAGE = 500
"""Runs at a time: SQLite takes 32,766 values in one question, PostgreSQL 65,535."""


def run_records(instance: dg.DagsterInstance, wanted: dg.RunsFilter, page: int = PAGE) -> Iterator[dg.RunRecord]:
    """All runs that match, the newest first."""
    cursor: str | None = None
    while True:
        found = instance.get_run_records(wanted, limit=page, cursor=cursor)
        yield from found
        if len(found) < page:
            return
        cursor = found[-1].dagster_run.run_id


def runs_of_ids(
    instance: dg.DagsterInstance, ids: Collection[str], statuses: list[dg.DagsterRunStatus], page: int = PAGE
) -> Iterator[dg.DagsterRun]:
    """Those of the runs that have one of the statuses."""
    wanted = sorted(ids)
    for start in range(0, len(wanted), page):
        yield from instance.get_runs(dg.RunsFilter(run_ids=wanted[start : start + page], statuses=statuses))
