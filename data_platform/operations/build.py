"""Take in what has landed and bring tables up to date, as Dagster runs in this process.
Belongs here: running, following progress. Not here: which days are stale, which tables a person names (selection)."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from data_platform.core.contract.day_ranges import as_ranges
from data_platform.core.contract.table import Table, contracts
from data_platform.core.discovery import landing_sources
from data_platform.core.errors import PlatformError
from data_platform.core.instance.dead_runs import close_dead_runs, host_tags
from data_platform.core.instance.materialisations import WHOLE, ThroughDagster
from data_platform.core.instance.planned_days import plan_days
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.chosen_days import TELLS_ITSELF, run_tags
from data_platform.core.settings import settings
from data_platform.core.stopping import stop_if_requested
from data_platform.operations.restoring import require_unchanged
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

FAILURE_PREFIX = "dagster._core.definitions.events.Failure: "
STARTED_BY = "data-platform build"
INGESTION_JOB = "ingest_landing_files"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

STEP_MOVES = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS)
Progressed = Callable[[int, str], object]
"""Called with (steps done, the step that began or ended)."""


def unfollowed(_done: int, _step: str) -> None:
    """For runs that nobody watches."""


Follow = Callable[[str, int, int], None]
"""Called with (what is being done, tables done, tables in all)."""


@dataclass
class Built:
    """What a build did."""

    runs: int = 0
    partitions: int = 0
    failures: tuple[str, ...] = ()
    waiting: dict[str, set[str]] = field(default_factory=dict)
    """Table → days that were not computed because they need a day that failed; they keep what they had."""


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
    built = Built()
    close_dead_runs(instance)
    wait_for_writers(landing_sources(), settings().landing)
    if arriving := tables_to_ingest(landing_sources(), settings().landing):
        run_job(
            defs,
            instance,
            built,
            INGESTION_JOB,
            arriving,
            lambda done, _step: follow and follow("landing", done, 1),
        )
    if first or last:
        carry_out(defs, instance, built, _requested_steps(configured_lake(), tables, first, last), follow)
        return built
    unwritten: dict[type[Table], set[str]] = {}
    # What depends on a table that is written only when it changed is out of date only when that is known.
    for _ in range(1 + sum(table.only_changed for table in tables)):
        steps = _one_step(_out_of_date(instance, tables, unwritten))
        carry_out(defs, instance, built, steps, follow, unwritten=unwritten)
        if not any(table.only_changed for step in steps for table in step.tables):
            break
    return built


def _out_of_date(
    instance: dg.DagsterInstance, tables: Iterable[type[Table]], unwritten: Mapping[type[Table], Collection[str]]
) -> dict[type[Table], list[str]]:
    """The stale days, but those that this very build could not write."""
    stale = stale_days(ThroughDagster(instance), tables)
    return {table: [day for day in days if day not in unwritten.get(table, ())] for table, days in stale.items()}


def compute(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    steps: Sequence[BuildStep],
    follow: Follow | None = None,
    started_by: str = STARTED_BY,
) -> Built:
    """Compute the steps of a plan. What does not depend on a day that failed is computed all the same, as in `build`.
    Whatever was published stays, so that a new plan is what is left."""
    built = Built()
    carry_out(defs, instance, built, steps, follow, started_by)
    return built


def carry_out(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    built: Built,
    steps: Sequence[BuildStep],
    follow: Follow | None = None,
    started_by: str = STARTED_BY,
    unwritten: dict[type[Table], set[str]] | None = None,
) -> None:
    """Run the steps. Days that one leaves unwritten, and what needs them, are taken out of those that follow, and are
    added to those that were left `unwritten` before."""
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
                built.waiting.setdefault(table.key, set()).update(held)
            left = {table: [day for day in own if day not in waiting.get(table, ())] for table, own in days.items()}
            queue.extendleft(_one_step(left))
            continue
        title = title_of(step)

        def progressed(finished: int, step: str = "", title: str = title, before: int = done) -> None:
            if follow:
                follow(f"{title}: {step}" if step else title, min(before + finished, total), total)

        progressed(0)
        result = run_step(defs, instance, built, step, progressed, started_by)
        done += len(step.tables)
        if result.success:
            continue
        failed = {event.step_key for event in result.all_events if event.is_step_failure}
        began = {event.step_key for event in result.all_events if event.is_step_start}
        names = step_names(defs, step.tables)
        of_failed = [table for table in step.tables if names[table] in failed]
        for table in of_failed:
            own = {*days[table]}
            unwritten.setdefault(table, set()).update(own - _written(instance, result.run_id, table) or own)
        rest = {table: days[table] for table in step.tables if names[table] not in began}
        if of_failed:
            queue.extendleft(_one_step(rest))


def _written(instance: dg.DagsterInstance, run_id: str, table: type[Table]) -> set[str]:
    """Partitions that a run materialised or found to be what they were, without those that a blocking check then found
    wrong."""
    written, wrong = set(), set()
    evaluated = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    told = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION, evaluated}
    for entry in instance.all_logs(run_id, of_type=told):
        event = entry.get_dagster_event()
        if event.event_type != evaluated:
            if event.asset_key == asset_key(table):
                written.add(event.partition or WHOLE)
            continue
        found = event.asset_check_evaluation_data
        if found.asset_key == asset_key(table) and found.blocking and not found.passed:
            wrong.add(found.partition or WHOLE)
    return written - wrong


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


def step_names(defs: dg.Definitions, tables: Iterable[type[Table]]) -> dict[type[Table], str]:
    """Table → the step of a run that computes it."""
    return {table: defs.get_assets_def(asset_key(table)).op.name for table in tables}


def title_of(step: BuildStep) -> str:
    """The step in a word: its tables and the days of those that have any."""
    names = step.tables[0].table_name() + (f" and {len(step.tables) - 1} more" if len(step.tables) > 1 else "")
    if not step.days:
        return names
    return f"{names}, {step.days[0]}" + (f" to {step.days[-1]}" if len(step.days) > 1 else "")


def run_step(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    built: Built,
    step: BuildStep,
    progressed: Progressed,
    started_by: str = STARTED_BY,
) -> dg.ExecuteInProcessResult:
    """One Dagster run that computes the step's tables over their days, added to `built`. Raises as `run_job`."""
    job = defs.resolve_implicit_global_asset_job_def()
    keys = _with_siblings(defs, step.tables)
    chosen = bool(step.fewer) or len(as_ranges(step.days)) > 1
    tags = run_tags(step.days, chosen) if step.days else {}
    config: dict[str, Any] = {}
    run_id = str(uuid.uuid4())
    if chosen:
        of_step = _days_of_steps(defs, step)
        step_of = {key: defs.get_assets_def(key).op.name for key in keys}
        config["ops"] = {name: {"config": _chosen(of_tables)} for name, of_tables in of_step.items()}
        planned = {key: (step_of[key], _only(of_step.get(step_of[key], {"": (WHOLE,)}))) for key in keys}
        planned |= {asset_key(t): (step_of[asset_key(t)], step.days_of(t) or (WHOLE,)) for t in step.tables}
        plan_days(instance, job.name, run_id, planned)
    return _run(instance, built, job, keys, tags, progressed, config, started_by, run_id)


def _days_of_steps(defs: dg.Definitions, step: BuildStep) -> dict[str, dict[str, Sequence[str]]]:
    """Step of Dagster → table → its days, of the tables that have any."""
    found: dict[str, dict[str, Sequence[str]]] = {}
    for table, name in step_names(defs, (table for table in step.tables if table.partition)).items():
        found.setdefault(name, {})[table.key] = step.days_of(table)
    return found


def _chosen(of_tables: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The config of a step that computes these tables."""
    if len(of_tables) == 1:
        return {"days": as_ranges(_only(of_tables))}
    return {"days_of": {key: as_ranges(days) for key, days in of_tables.items()}}


def _only(of_tables: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The days of the first table: of all where they are computed from one reading."""
    return next(iter(of_tables.values()))


def run_job(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    built: Built,
    job_name: str,
    tables: Iterable[type[Table]] | None,
    progressed: Progressed,
    config: Mapping[str, Any] | None = None,
    started_by: str = STARTED_BY,
) -> dg.ExecuteInProcessResult:
    """One run of a job (of its tables given, or all), added to `built`; `progressed` is told how many of its steps are
    done, and which one moved. Raises KeyboardInterrupt when the process was asked to stop."""
    job = defs.resolve_job_def(job_name)
    keys = _with_siblings(defs, tables) if tables else None
    return _run(instance, built, job, keys, {}, progressed, config or {}, started_by, str(uuid.uuid4()))


def _run(
    instance: dg.DagsterInstance,
    built: Built,
    job: dg.JobDefinition,
    assets: Sequence[dg.AssetKey] | None,
    tags: Mapping[str, str],
    progressed: Progressed,
    config: Mapping[str, Any],
    started_by: str,
    run_id: str,
) -> dg.ExecuteInProcessResult:
    _quiet_dagster()
    finished = 0

    def listen(event: dg.EventLogEntry) -> None:
        nonlocal finished
        if event.is_dagster_event and event.dagster_event_type == dg.DagsterEventType.STEP_SUCCESS:
            finished += 1
        if event.is_dagster_event and event.dagster_event_type in STEP_MOVES:
            progressed(finished, (event.step_key or "").replace("__", "/"))

    instance.add_event_listener(run_id, listen)
    result = job.execute_in_process(
        instance=instance,
        asset_selection=assets,
        tags={"data_platform/started_by": started_by, **host_tags(), **tags},
        run_config={**QUIET, **config},
        run_id=run_id,
        raise_on_error=False,
    )
    stop_if_requested()  # an interrupted run looks like one that failed, and the next would begin
    built.runs += 1
    if result.success and TELLS_ITSELF not in tags:
        built.partitions += len(result.get_asset_materialization_events())
    else:  # what steps log themselves is in the record alone
        logged = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        built.partitions += len(logged)
    if not result.success:
        built.failures += tuple(_failure(event) for event in result.all_events if event.is_step_failure)
    return result


def _with_siblings(defs: dg.Definitions, tables: Iterable[type[Table]]) -> list[dg.AssetKey]:
    """The tables' assets, and those that come out of the same step and cannot be computed without them."""
    graph = defs.resolve_asset_graph()
    return sorted({key for table in tables for key in graph.get(asset_key(table)).execution_set_asset_keys})


def _failure(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and error.cls_name != dg.Failure.__name__:
        error = error.cause
    message = (error.message if error else event.message or "").strip().removeprefix(FAILURE_PREFIX)
    if error is not None and error.cls_name == "DagsterAssetCheckFailedError":
        message = _check_in_words(message)
    # What was refused says of which table it tells; other faults are told of the step.
    if message.partition(":")[0] in contracts():
        return message
    return f"{(event.step_key or '').replace('__', '/')}: {message}"


def _check_in_words(message: str) -> str:
    """Of Dagster's "1 blocking asset check failed with ERROR severity:\n<asset>: <checks>"."""
    detail = "; ".join(line.strip() for line in message.splitlines()[1:] if line.strip()) or message
    return f"a check that what needs the table waits for has failed ({detail})"


def _quiet_dagster() -> None:
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
