"""Take in what has landed and bring tables up to date, run by run.
Belongs here: the order of runs, what waits for a day that failed. Not here: a run (runs), which days are stale
(staleness), which tables a person names (selection)."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import dagster as dg

from data_platform.core.contract.table import Table
from data_platform.core.discovery import landing_sources
from data_platform.core.errors import PlatformError
from data_platform.core.instance.dead_runs import close_dead_runs
from data_platform.core.instance.materialisations import WHOLE, ThroughDagster
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.settings import settings
from data_platform.core.stopping import stop_if_requested
from data_platform.operations.restoring import require_unchanged
from data_platform.operations.runs import Built, Runs
from data_platform.operations.selection import days_between, select_tables
from data_platform.operations.staleness import (
    BuildStep,
    build_step,
    days_downstream,
    ever_fed,
    first_received_day,
    in_build_order,
    stale_days,
)
from data_platform.sources.ingestion import tables_to_ingest, wait_for_writers

Follow = Callable[[str, int, int], None]
"""Called with (what is being done, tables done, tables in all)."""


def build(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    selection: Sequence[str] = (),
    first: dt.date | None = None,
    last: dt.date | None = None,
    follow: Follow | None = None,
) -> Built:
    """Ingest what has landed, then compute the selected tables: the days given, or exactly those out of date.

    What does not depend on a day that failed is computed all the same; what depends on it keeps what it had, and is
    named in `waiting`. Running again tries both.
    Raises PlatformError for unknown tables, for a journal, which is written by other steps or by the clock, and for a
    lake that cannot be reached.
    """
    tables = select_tables(selection)
    for table in tables:
        if table.journal and {table.key, table.table_name()} & {*selection}:
            raise PlatformError(
                f"{table.key} is not built when an input changes: it is written by a schedule, or by other steps.",
                "Materialise it on its page in Dagster (`make ui`).",
            )
    # A step would find out too, four times over, with Dagster's pauses in between.
    lake = configured_lake()
    lake.require_reachable()
    require_unchanged(lake)
    close_dead_runs(instance)
    wait_for_writers(landing_sources(), settings().landing)
    runs = Runs(defs, instance)
    if arriving := tables_to_ingest(landing_sources(), settings().landing):
        runs.ingest(arriving, progressed=lambda done, _step: follow and follow("landing", done, 1))
    if first or last:
        return carry_out(runs, _requested_steps(lake, tables, first, last), follow)
    unwritten: dict[type[Table], set[str]] = {}
    # What depends on a table that is written only when it changed is out of date only when that is known.
    for _ in range(1 + sum(table.only_changed for table in tables)):
        steps = _one_step(_out_of_date(instance, tables, unwritten))
        carry_out(runs, steps, follow, unwritten)
        if not any(table.only_changed for step in steps for table in step.tables):
            break
    return runs.built


def _out_of_date(
    instance: dg.DagsterInstance, tables: Iterable[type[Table]], unwritten: Mapping[type[Table], Collection[str]]
) -> dict[type[Table], list[str]]:
    """The stale days, but those that this very build could not write."""
    stale = stale_days(ThroughDagster(instance), tables)
    return {table: [day for day in days if day not in unwritten.get(table, ())] for table, days in stale.items()}


def carry_out(
    runs: Runs,
    steps: Sequence[BuildStep],
    follow: Follow | None = None,
    unwritten: dict[type[Table], set[str]] | None = None,
) -> Built:
    """Run the steps. What does not depend on a day that failed is computed all the same, and whatever was published
    stays. Days that a step leaves unwritten, and what needs them, are taken out of those that follow, and are added to
    those that were left `unwritten` before."""
    queue, total, done = deque(steps), sum(len(step.tables) for step in steps), 0
    unwritten = {} if unwritten is None else unwritten
    while queue:
        stop_if_requested()
        step = queue.popleft()
        days = {table: step.days_of(table) or (WHOLE,) for table in step.tables}
        waiting = days_downstream(unwritten, step.tables, {*step.days}) if unwritten else {}
        waiting = {table: found & {*days[table]} for table, found in waiting.items() if found & {*days.get(table, ())}}
        if waiting:
            for table, held in waiting.items():
                unwritten.setdefault(table, set()).update(held)
                runs.built.waiting.setdefault(table.key, set()).update(held)
            left = {table: [day for day in own if day not in waiting.get(table, ())] for table, own in days.items()}
            queue.extendleft(_one_step(left))
            continue
        title = title_of(step)

        def progressed(finished: int, step: str = "", title: str = title, before: int = done) -> None:
            if follow:
                follow(f"{title}: {step}" if step else title, min(before + finished, total), total)

        progressed(0)
        result = runs.compute(step, progressed)
        done += len(step.tables)
        if result.success:
            continue
        failed = {event.step_key for event in result.all_events if event.is_step_failure}
        began = {event.step_key for event in result.all_events if event.is_step_start}
        names = runs.step_names(step.tables)
        of_failed = [table for table in step.tables if names[table] in failed]
        for table in of_failed:
            own = {*days[table]}
            unwritten.setdefault(table, set()).update(own - runs.written(result.run_id, table) or own)
        rest = {table: days[table] for table in step.tables if names[table] not in began}
        if of_failed:
            queue.extendleft(_one_step(rest))
    return runs.built


def _requested_steps(
    lake: Lake, tables: set[type[Table]], first: dt.date | None, last: dt.date | None
) -> list[BuildStep]:
    """All these tables over the requested days, whether out of date or not; nothing before anything was received."""
    fed = ever_fed(lake, tables)
    wanted = days_between(first, last)
    earliest = first_received_day(lake, fed)
    if earliest and wanted[-1] < earliest:
        raise PlatformError(
            f"There is nothing to compute from {wanted[0]} to {wanted[-1]}: the first day that anything was received "
            f"for is {earliest}.",
            "Choose later days, or bring in what is missing with `data-platform ingest`.",
        )
    wanted = tuple(day for day in wanted if day >= (earliest or ""))
    return _one_step({table: wanted if table.partition else (WHOLE,) for table in in_build_order(fed)})


def _one_step(wanted: Mapping[type[Table], Sequence[str]]) -> list[BuildStep]:
    step = build_step(wanted)
    return [step] if step else []


def title_of(step: BuildStep) -> str:
    """The step in a word: its tables and the days of those that have any."""
    names = step.tables[0].table_name() + (f" and {len(step.tables) - 1} more" if len(step.tables) > 1 else "")
    if not step.days:
        return names
    return f"{names}, {step.days[0]}" + (f" to {step.days[-1]}" if len(step.days) > 1 else "")
