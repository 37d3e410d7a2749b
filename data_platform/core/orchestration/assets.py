"""A contract and a transform made into an asset: `sessions = asset(PlayerSessions, whole_sessions, events=…)`.
Belongs here: which days of which inputs a transform gets. Not here: what a step does with what it computes (steps)."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.calendar import today_utc, without_gaps
from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Table
from data_platform.core.lake.damage import Reading, reporting_damage
from data_platform.core.orchestration.automation import when_inputs_change
from data_platform.core.orchestration.specs import Input, computed_by, spec_for
from data_platform.core.orchestration.steps import StepRun, step

Transform = Callable[..., pl.LazyFrame | pl.DataFrame]


def asset(
    table: type[Table],
    transform: Transform,
    /,
    automation: dg.AutomationCondition[Any] | None = None,
    **inputs: Input,
) -> dg.AssetsDefinition:
    """The asset of a contract that a transform computes.

    Each keyword names a parameter of the transform and the table (or `Table.days(first, last)`) it receives as a
    LazyFrame. A transform may also take `days` (the days to compute) and `today`. A run over many days is computed in
    slices that bound memory; a day that fails an error rule, or cannot be computed, is not published, the others are,
    and the step fails.
    """
    spec = spec_for(table, inputs, automation_condition=automation or when_inputs_change())
    wanted = dict(zip(inputs, inputs_of(table), strict=True))
    accepted = inspect.signature(transform).parameters.keys()

    code = transform.func if isinstance(transform, functools.partial) else transform

    @step(computed_by(spec, table, code), description=inspect.getdoc(code))
    def compute(run: StepRun) -> None:
        snapshots = {name: run.lake.snapshot(needed.table) for name, needed in wanted.items()}
        publication = run.publication(table)
        publication.read = {wanted[name].table.key: found.version for name, found in snapshots.items()}

        def compute_days(days: list[dt.date]) -> None:
            computed = without_gaps(days)
            readings = {name: Reading(needed.table, *needed.around(days)) for name, needed in wanted.items()}
            arguments = {name: snapshots[name].scan(r.first, r.last) for name, r in readings.items()}
            more: dict[str, Any] = {"days": computed, "today": today_utc()}
            with reporting_damage(run.lake, list(readings.values())):
                frame = transform(**arguments, **{name: more[name] for name in accepted & more.keys()})
                if len(computed) > len(days):
                    frame = frame.filter(pl.col(str(table.partition)).is_in(days))
                frame = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
            run.publish(table, [frame], days)

        run.compute_each(table, wanted, compute_days)

    return compute
