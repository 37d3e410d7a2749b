"""What is missing, stale or failed, what computing it would cost and what it makes out of date.
Belongs here: the plan and its chunks. Not here: the rule of staleness (staleness), computing (build), the screen (cli);
Dagster, whose import alone takes longer than all of this."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.day_ranges import days_in
from data_platform.core.contract.lineage import computed_with, inputs_of
from data_platform.core.contract.table import Severity, Table, contracts
from data_platform.core.instance.materialisations import DagsterRecord
from data_platform.core.lake.store import Lake
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.connected import connected
from data_platform.core.quality.validation import Status
from data_platform.operations.declared import Steps
from data_platform.operations.selection import days_between, select_tables
from data_platform.operations.staleness import (
    BuildStep,
    Reason,
    build_step,
    days_downstream,
    days_to_compute,
    in_build_order,
    received_days,
)

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
        step = build_step({planned.table: list(planned.days) for planned in self.tables})
        return _chunks(step, most_days) if step else []


def backfill_plan(
    steps: Steps,
    record: DagsterRecord,
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
    ordered = [table for table in in_build_order(tables) if table.key in steps.of_table]
    planned = days_to_compute(record, ordered, failed_days(steps, record, lake, ordered), within)
    planned = {table: days for table, days in planned.items() if days}
    every = connected(lake, contracts().values())
    existing = received_days(record, every)
    samples = _past_steps(steps, record, planned) if planned else {}
    found = []
    for table, days in planned.items():
        reached = days_downstream({table: days}, every, existing, surely=True)
        downstream = {other: len(there) for other, there in reached.items() if other is not table}
        found.append(
            TablePlan(table, days, _estimate(samples.get(steps.of_table[table.key], []), len(days)), downstream)
        )
    beyond = {
        table: len(days - planned.get(table, {}).keys())
        for table, days in days_downstream(planned, every, existing, surely=True).items()
    }
    return BackfillPlan(tuple(found), {table: days for table, days in beyond.items() if days})


# ------------------------------------------------------------------------------------------ what failed
def failed_days(
    steps: Steps, record: DagsterRecord, lake: Lake, tables: Iterable[type[Table]]
) -> dict[type[Table], set[str]]:
    """Partitions whose newest run failed in the step that computes them, or whose newest blocking verdict is bad."""
    attempts = {table: record.unfinished(table) for table in tables}
    failed_steps = record.failed_steps({run for runs in attempts.values() for run in runs.values()})
    stopped = _stopped(steps, lake)
    failed: dict[type[Table], set[str]] = {}
    for table, runs in attempts.items():
        days = {day for day, run in runs.items() if steps.of_table[table.key] in failed_steps.get(run, ())}
        failed[table] = days | stopped.get(table.key, set())
    return failed


def _stopped(steps: Steps, lake: Lake) -> dict[str, set[str]]:
    """Table key → partitions in which a blocking check of the newest run that judged them failed or crashed."""
    blocking = sorted(steps.blocking)
    checks = pl.LazyFrame(blocking, schema={"asset": pl.String, "reported_as": pl.String}, orient="row")
    since = today_utc() - dt.timedelta(VERDICT_DAYS)
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
    steps: Steps, record: DagsterRecord, planned: Iterable[type[Table]]
) -> dict[str, list[tuple[int, float]]]:
    """Step → (partitions of all its tables, seconds) of its newest successes, newest first; of steps of the plan."""
    computed: dict[str, set[str]] = {steps.of_table[table.key]: set() for table in planned}
    for table in in_build_order(contracts().values()):
        computed.get(steps.of_table.get(table.key, ""), set()).add(table.key)
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for past in record.past_steps(computed, RUNS_LOOKED_AT):
        days = sum(sum(map(days_in, of_table)) or 1 for of_table in past.days)
        found[past.name].append((days, past.seconds))
    return found


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
    parts = [set(step.days[start : start + most_days]) for start in range(0, len(step.days), most_days)]
    found: list[BuildStep | None] = []
    for tables in _cut_alike(step.tables):
        if tables[0].partition is None:
            found.append(BuildStep(tables, ()))
        else:
            found += [step.within(part, tables) for part in parts]
    return [chunk for chunk in found if chunk]


def _cut_alike(tables: Sequence[type[Table]]) -> list[tuple[type[Table], ...]]:
    """Cut so that tables with days are apart from those without, and no table needs later days of one beside it: those
    days are in a later chunk."""
    groups: list[list[type[Table]]] = []
    waiting = list(tables)
    while waiting:
        daily = waiting[0].partition is not None
        group: list[type[Table]] = []
        blocked: set[type[Table]] = set()
        for table in waiting:
            needed = {computed_with(one.table) for one in inputs_of(table)}
            ahead = {computed_with(one.table) for one in inputs_of(table) if one.last > 0}
            if (table.partition is not None) != daily or needed & blocked or ahead & {*group}:
                blocked.add(table)
            else:
                group.append(table)
        groups.append(group)
        waiting = [table for table in waiting if table in blocked]
    return [tuple(group) for group in groups]
