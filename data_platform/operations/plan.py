"""What is missing, stale or failed, what computing it would cost and what it makes out of date; and computing it.
Belongs here: the plan and its chunks. Not here: the rule of staleness (staleness), the screen (cli)."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Severity, Table, contracts
from data_platform.core.instance.materialisations import WHOLE, ThroughDagster
from data_platform.core.instance.past_runs import runs_of_ids
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.chosen_days import RANGE_END, RANGE_START, in_ranges
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.validation import Status
from data_platform.operations.build import Built, carry_out, days_between, select_tables, step_names
from data_platform.operations.staleness import (
    BuildStep,
    Reason,
    build_steps,
    days_downstream,
    days_to_compute,
    in_build_order,
    received_days,
)

STARTED_BY = "data-platform plan"
MOST_DAYS_A_RUN = 366
"""A killed run computes again what its tables were about: of one table at most so many days."""
RUNS_LOOKED_AT = 60
"""Newest runs that tell what a step costs; reading one takes some 10 ms."""
VERDICT_DAYS = 35
"""How far back verdicts are looked at for days that were stopped; Dagster's own record of failed runs has no end."""


@dataclass(frozen=True)
class TablePlan:
    """What is to be computed of one table."""

    table: type[Table]
    days: Mapping[str, Reason]
    """Partition → why, ascending; the key is empty for a table without partitions."""
    seconds: float | None
    """Estimated from past runs; None when it was never computed."""
    downstream: Mapping[type[Table], int]
    """Days of other tables that depend on these; 1 for a table without partitions."""

    def of(self, reason: Reason) -> list[str]:
        return [day for day, why in self.days.items() if why == reason]


@dataclass(frozen=True)
class BackfillPlan:
    """Tables in the order in which they are computed; those with nothing to do are left out."""

    tables: tuple[TablePlan, ...]
    beyond: Mapping[type[Table], int]
    """Days that this plan makes out of date and does not compute itself."""

    @property
    def partitions(self) -> int:
        return sum(len(planned.days) for planned in self.tables)

    @property
    def seconds(self) -> float:
        """Estimated for the tables whose cost is known."""
        return sum(planned.seconds or 0 for planned in self.tables)

    @property
    def unknown(self) -> list[type[Table]]:
        """Tables that were never computed, so that nobody knows what they cost."""
        return [planned.table for planned in self.tables if planned.seconds is None]

    def steps(self, most_days: int = MOST_DAYS_A_RUN) -> list[BuildStep]:
        """The runs that carry it out, each over at most so many days, in an order in which each finds its inputs."""
        steps = build_steps({planned.table: list(planned.days) for planned in self.tables})
        return [chunk for step in steps for chunk in _chunks(step, most_days)]


def backfill_plan(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    lake: Lake,
    selection: Sequence[str] = (),
    first: dt.date | None = None,
    last: dt.date | None = None,
) -> BackfillPlan:
    """What is to be done for the selected tables and all they need, on the days `first`..`last`.

    Tables without partitions are in it whatever the days. Raises PlatformError for an unknown table and for days that
    do not exist.
    """
    tables = select_tables(selection)
    within = {*days_between(first, last)} if first or last else None
    graph, history = defs.resolve_asset_graph(), ThroughDagster(instance)
    ordered = [table for table in in_build_order(tables) if graph.has(asset_key(table))]
    planned = days_to_compute(history, ordered, failed_days(defs, instance, lake, ordered), within)
    planned = {table: days for table, days in planned.items() if days}
    every = list(contracts().values())
    existing = received_days(history, every)
    steps = step_names(defs, planned)
    samples = _past_steps(defs, instance, set(steps.values())) if planned else {}
    found = []
    for table, days in planned.items():
        reached = days_downstream({table: days}, every, existing)
        downstream = {other: len(there) for other, there in reached.items() if other is not table}
        found.append(TablePlan(table, days, _estimate(samples.get(steps[table], []), len(days)), downstream))
    beyond = {
        table: len(days - planned.get(table, {}).keys())
        for table, days in days_downstream(planned, every, existing).items()
    }
    return BackfillPlan(tuple(found), {table: days for table, days in beyond.items() if days})


def compute(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    plan: BackfillPlan,
    follow: Callable[[str, int, int], None] = lambda _told, _done, _total: None,
    most_days: int = MOST_DAYS_A_RUN,
) -> Built:
    """Compute the plan as Dagster runs in this process; `follow` is told (what, steps done, in all).

    What does not depend on a day that failed is computed all the same, as in `build`. Whatever was published stays, so
    that a new plan is what is left.
    """
    built = Built()
    carry_out(defs, instance, built, plan.steps(most_days), follow, STARTED_BY)
    return built


# ------------------------------------------------------------------------------------------ what failed
def failed_days(
    defs: dg.Definitions, instance: dg.DagsterInstance, lake: Lake, tables: Iterable[type[Table]]
) -> dict[type[Table], set[str]]:
    """Partitions whose newest run failed in the step that computes them, or whose newest blocking verdict is bad."""
    tables = list(tables)
    steps = step_names(defs, tables)
    attempts = {table: _unfinished_attempts(instance, table) for table in tables}
    failed_steps = _failed_steps(instance, {run for runs in attempts.values() for run in runs.values()})
    stopped = _stopped(defs, lake)
    failed: dict[type[Table], set[str]] = {}
    for table in tables:
        days = {day for day, run in attempts[table].items() if steps[table] in failed_steps.get(run, ())}
        failed[table] = days | stopped.get(table.key, set())
    return failed


def _unfinished_attempts(instance: dg.DagsterInstance, table: type[Table]) -> dict[str, str]:
    """Partition → the newest run that was to write it, where that run did not."""
    key = asset_key(table)
    if table.partition is None:
        records = instance.get_asset_records([key])
        entry = records[0].asset_entry if records else None
        if entry is None or entry.last_run_id is None:
            return {}
        written = entry.last_materialization.run_id if entry.last_materialization else None
        return {WHOLE: entry.last_run_id} if entry.last_run_id != written else {}
    storage = instance.event_log_storage
    found = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    return {day: run_id for day, (run_id, _) in found.items() if day is not None}


def _failed_steps(instance: dg.DagsterInstance, runs: set[str]) -> dict[str, set[str]]:
    """Run → its steps that failed, of failed runs; a step that never began because another failed did not fail."""
    return {
        run.run_id: {
            step.step_key
            for step in instance.get_run_step_stats(run.run_id)
            if step.status is not None and step.status.value == "FAILURE"
        }
        for run in runs_of_ids(instance, runs, [dg.DagsterRunStatus.FAILURE])
    }


def _stopped(defs: dg.Definitions, lake: Lake) -> dict[str, set[str]]:
    """Table key → partitions in which a blocking check of the newest run that judged them failed or crashed."""
    graph = defs.resolve_asset_graph()
    blocking = [["/".join(key.asset_key.path), key.name] for key in graph.asset_check_keys if graph.get(key).blocking]
    checks = pl.LazyFrame(blocking, schema={"asset": pl.String, "reported_as": pl.String}, orient="row")
    since = dt.datetime.now(dt.UTC).date() - dt.timedelta(VERDICT_DAYS)
    bad = pl.col("status").is_in([Status.FAILED, Status.ERRORED]) & (pl.col("severity") == Severity.ERROR)
    newest_run = pl.col("run_id") == pl.col("run_id").sort_by("recorded_at").last().over("asset", "asset_partition")
    stopped = (
        lake.scan(verdict_ledger.CheckResults, since)
        .join(checks, on=["asset", "reported_as"], how="semi")
        .filter(newest_run)
        .filter(bad)
        .select("asset", "asset_partition")
        .unique()
        .collect()
    )
    found: dict[str, set[str]] = defaultdict(set)
    for asset, partition in stopped.iter_rows():
        found[asset].add(partition)
    return found


# --------------------------------------------------------------------------------------- what it costs
def _past_steps(
    defs: dg.Definitions, instance: dg.DagsterInstance, wanted: set[str]
) -> dict[str, list[tuple[int, float]]]:
    """Step → (partitions of all its tables, seconds) of its newest successes, newest first."""
    graph = defs.resolve_asset_graph()
    every = [table for table in in_build_order(contracts().values()) if graph.has(asset_key(table))]
    computed: dict[str, set[dg.AssetKey]] = defaultdict(set)
    for table, name in step_names(defs, every).items():
        computed[name].add(asset_key(table))
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for run in instance.get_runs(limit=RUNS_LOOKED_AT):
        for step in instance.get_run_step_stats(run.run_id):
            succeeded = step.status is not None and step.status.value == "SUCCESS"
            if step.step_key in wanted and succeeded and step.start_time and step.end_time:
                tables = len(computed[step.step_key] & (run.asset_selection or computed[step.step_key])) or 1
                sample = (_days_of(run, step.step_key, tables), step.end_time - step.start_time)
                found[step.step_key].append(sample)
    return found


def _days_of(run: dg.DagsterRun, step: str, tables: int) -> int:
    """How many days a step of a run computed, of all its tables together."""
    config: Any = run.run_config
    chosen = config.get("ops", {}).get(step, {}).get("config", {})
    if chosen.get("days_of"):
        return sum(len(in_ranges(days)) for days in chosen["days_of"].values()) or 1
    days = chosen.get("days")
    if days is None and RANGE_START in run.tags:
        days = [f"{run.tags[RANGE_START]}..{run.tags[RANGE_END]}"]
    return (len(in_ranges(days or ())) or 1) * tables


def _estimate(samples: Sequence[tuple[int, float]], days: int) -> float | None:
    """Seconds for so many days, in proportion to the past run of the most similar length: what a step costs besides
    its days would make a year look like 365 runs of a day."""
    if not samples:
        return None
    past_days, seconds = min(samples, key=lambda sample: abs(math.log(sample[0] / days)))
    return seconds * days / past_days


# ------------------------------------------------------------------------------------------- chunks
def _chunks(step: BuildStep, most_days: int) -> list[BuildStep]:
    if len(step.days) <= most_days:
        return [step]
    parts = [step.days[start : start + most_days] for start in range(0, len(step.days), most_days)]
    cut = [step.within(set(part), tables) for tables in _without_look_ahead(step.tables) for part in parts]
    return [chunk for chunk in cut if chunk]


def _without_look_ahead(tables: Sequence[type[Table]]) -> list[tuple[type[Table], ...]]:
    """Cut so that no table needs later days of one beside it: those days are in a later chunk."""
    groups: list[list[type[Table]]] = [[]]
    for table in tables:
        ahead = {needed.table for needed in inputs_of(table) if needed.last > 0}
        if ahead & set(groups[-1]):
            groups.append([])
        groups[-1].append(table)
    return [tuple(group) for group in groups if group]
