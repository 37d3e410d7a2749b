"""Runs of Dagster in this process, of the ingestion or of a step of tables; what they did is added up.
Not here: which tables and days are computed (build), which are out of date (staleness)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from data_platform.core.contract.day_ranges import as_ranges
from data_platform.core.contract.table import Table, contracts
from data_platform.core.instance.dead_runs import host_tags
from data_platform.core.instance.materialisations import WHOLE
from data_platform.core.instance.planned_days import plan_days
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.chosen_days import TELLS_ITSELF, run_tags
from data_platform.core.stopping import stop_if_requested
from data_platform.operations.staleness import BuildStep

FAILURE_PREFIX = "dagster._core.definitions.events.Failure: "
INGESTION_JOB = "ingest_landing_files"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

STEP_MOVES = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS)
Progressed = Callable[[int, str], object]
"""Called with (steps done, the step that began or ended)."""


def unfollowed(_done: int, _step: str) -> None:
    """For runs that nobody watches."""


@dataclass
class Built:
    """What runs did."""

    runs: int = 0
    partitions: int = 0
    failures: tuple[str, ...] = ()
    waiting: dict[str, set[str]] = field(default_factory=dict)
    """Table → days that were not computed because they need a day that failed; they keep what they had."""


@dataclass
class Runs:
    """Runs one after the other. Each raises KeyboardInterrupt when the process was asked to stop; a step that fails is
    among the failures of `built`, and raises nothing."""

    defs: dg.Definitions
    instance: dg.DagsterInstance
    started_by: str = "data-platform build"
    """The command, as a tag of its runs."""
    built: Built = field(default_factory=Built)

    def ingest(
        self,
        tables: Iterable[type[Table]],
        config: Mapping[str, Any] | None = None,
        progressed: Progressed = unfollowed,
    ) -> dg.ExecuteInProcessResult:
        """One run of the ingestion, of the sources of these tables."""
        job = self.defs.resolve_job_def(INGESTION_JOB)
        return self._run(job, self._with_siblings(tables), progressed, config or {}, str(uuid.uuid4()))

    def compute(self, step: BuildStep, progressed: Progressed = unfollowed) -> dg.ExecuteInProcessResult:
        """One run that computes the step's tables over their days."""
        job = self.defs.resolve_implicit_global_asset_job_def()
        keys = self._with_siblings(step.tables)
        chosen = bool(step.fewer) or len(as_ranges(step.days)) > 1
        tags = run_tags(step.days, chosen) if step.days else {}
        config: dict[str, Any] = {}
        run_id = str(uuid.uuid4())
        if chosen:
            of_step = self._days_of_steps(step)
            step_of = {key: self.defs.get_assets_def(key).op.name for key in keys}
            config["ops"] = {name: {"config": _chosen(of_tables)} for name, of_tables in of_step.items()}
            planned = {key: (step_of[key], _only(of_step.get(step_of[key], {"": (WHOLE,)}))) for key in keys}
            planned |= {asset_key(t): (step_of[asset_key(t)], step.days_of(t) or (WHOLE,)) for t in step.tables}
            plan_days(self.instance, job.name, run_id, planned)
        return self._run(job, keys, progressed, config, run_id, tags)

    def step_names(self, tables: Iterable[type[Table]]) -> dict[type[Table], str]:
        """Table → the step of a run that computes it."""
        return {table: self.defs.get_assets_def(asset_key(table)).op.name for table in tables}

    def written(self, run_id: str, table: type[Table]) -> set[str]:
        """Partitions that a run materialised or found to be what they were, without those that a blocking check then
        found wrong."""
        written, wrong = set(), set()
        evaluated = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        told = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION, evaluated}
        for entry in self.instance.all_logs(run_id, of_type=told):
            event = entry.get_dagster_event()
            if event.event_type != evaluated:
                if event.asset_key == asset_key(table):
                    written.add(event.partition or WHOLE)
                continue
            found = event.asset_check_evaluation_data
            if found.asset_key == asset_key(table) and found.blocking and not found.passed:
                wrong.add(found.partition or WHOLE)
        return written - wrong

    def _run(
        self,
        job: dg.JobDefinition,
        assets: Sequence[dg.AssetKey],
        progressed: Progressed,
        config: Mapping[str, Any],
        run_id: str,
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """`progressed` is told how many steps are done, and which one moved."""
        logging.getLogger("dagster").setLevel(logging.CRITICAL)
        tags = tags or {}
        finished = 0

        def listen(event: dg.EventLogEntry) -> None:
            nonlocal finished
            if event.is_dagster_event and event.dagster_event_type == dg.DagsterEventType.STEP_SUCCESS:
                finished += 1
            if event.is_dagster_event and event.dagster_event_type in STEP_MOVES:
                progressed(finished, (event.step_key or "").replace("__", "/"))

        self.instance.add_event_listener(run_id, listen)
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=assets,
            tags={"data_platform/started_by": self.started_by, **host_tags(), **tags},
            run_config={**QUIET, **config},
            run_id=run_id,
            raise_on_error=False,
        )
        stop_if_requested()  # an interrupted run looks like one that failed, and the next would begin
        self.built.runs += 1
        if result.success and TELLS_ITSELF not in tags:
            self.built.partitions += len(result.get_asset_materialization_events())
        else:  # what steps log themselves is in the record alone
            logged = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            self.built.partitions += len(logged)
        if not result.success:
            self.built.failures += tuple(_failure(event) for event in result.all_events if event.is_step_failure)
        return result

    def _with_siblings(self, tables: Iterable[type[Table]]) -> list[dg.AssetKey]:
        """The tables' assets, and those that come out of the same step and cannot be computed without them."""
        graph = self.defs.resolve_asset_graph()
        return sorted({key for table in tables for key in graph.get(asset_key(table)).execution_set_asset_keys})

    def _days_of_steps(self, step: BuildStep) -> dict[str, dict[str, Sequence[str]]]:
        """Step of Dagster → table → its days, of the tables that have any."""
        found: dict[str, dict[str, Sequence[str]]] = {}
        for table, name in self.step_names(table for table in step.tables if table.partition).items():
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
    """Of Dagster's "1 blocking asset check failed with ERROR severity:\\n<asset>: <checks>"."""
    detail = "; ".join(line.strip() for line in message.splitlines()[1:] if line.strip()) or message
    return f"a check that what needs the table waits for has failed ({detail})"
