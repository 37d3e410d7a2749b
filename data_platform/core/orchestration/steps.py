"""The one builder of Dagster's steps: whatever computes tables is a function of a StepRun, decorated with `step`.
Belongs here: policies, days, checks, and the order in which ledger and Dagster are told, so that no author has to know
it. Not here: what a publication or its report is (publication, reporting), Polars and SQL (assets, warehouse)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.attempts import TRANSIENT_FAULTS, each_day_it_can
from data_platform.core.contract.table import Days, Severity, Table, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.automation import only_transient_faults_retried, retry_transient_faults
from data_platform.core.orchestration.checks import (
    CheckOutcome,
    asset_key,
    check_specs,
    record_outcomes,
    record_outcomes_in_ledger,
)
from data_platform.core.orchestration.chosen_days import (
    CONFIG,
    days_of_checks,
    days_to_compute,
    only_checks,
    run_slices,
)
from data_platform.core.orchestration.io_manager import LakeResource
from data_platform.core.orchestration.publication import Publication
from data_platform.core.orchestration.reporting import report, report_again
from data_platform.core.quality.validation import WHOLE_TABLE, Verdict
from data_platform.core.settings import settings

Outcomes = Mapping[str, CheckOutcome]
"""What a check found, by partition."""


@dataclass(frozen=True)
class Check:
    """A check that a step has beside those of its tables' contracts.

    `found` says what holds of partitions (`""`: the whole table) as the lake has them: asked after the step published
    them, and when the check is run by itself. A check without it is told by the step (`StepRun.found`), because it
    compares with what no table keeps.
    """

    name: str
    table: type[Table]
    sentence: str
    severity: Severity = Severity.ERROR
    blocking: bool = False
    found: Callable[[Lake, Collection[str]], Outcomes] | None = None

    @property
    def key(self) -> dg.AssetCheckKey:
        return dg.AssetCheckKey(asset_key(self.table), self.name)

    def spec(self, partitions: dg.PartitionsDefinition[Any] | None) -> dg.AssetCheckSpec:
        return dg.AssetCheckSpec(
            self.name,
            asset=asset_key(self.table),
            description=self.sentence,
            blocking=self.blocking,
            partitions_def=partitions,
        )


Body = Callable[["StepRun"], Iterator[Any] | None]


class StepRun:
    """A run of a step, as its function sees it: which days to compute, where to publish, what else was found."""

    def __init__(self, context: dg.AssetExecutionContext, lake: Lake, config: Any = None) -> None:
        self.context, self.lake, self.config = context, lake, config
        self.publications: dict[str, Publication] = {}
        self.outcomes: dict[str, Outcomes] = {}

    def selected(self, tables: Iterable[type[Table]]) -> list[type[Table]]:
        return [table for table in tables if asset_key(table) in self.context.selected_asset_keys]

    def days(self, table: type[Table] | None = None) -> list[dt.date]:
        """The days of the run that are to be computed (of the table)."""
        return days_to_compute(self.context, table)

    def publication(self, table: type[Table]) -> Publication:
        return self.publications.setdefault(table.key, Publication(table))

    def publish(
        self,
        table: type[Table],
        frames: Iterable[pl.DataFrame],
        days: Sequence[dt.date] = (),
        verdicts: Iterable[Verdict] = (),
    ) -> list[dt.date]:
        """Publish the whole content of these days (none: of the table), and say of which it is published now."""
        publication = self.publication(table)
        publication.publish(self.lake, frames, days, self.context.run.run_id, verdicts)
        return [day for day in days if str(day) in publication.rows]

    def compute_each(
        self,
        table: type[Table],
        inputs: Mapping[str, Days],
        compute: Callable[[list[dt.date]], object],
        most_rows: int | None = None,
    ) -> None:
        """Have the days of the run computed and published in slices of at most so many input rows (see `run_slices`); a
        day that cannot be holds back no other."""
        slices = run_slices(self.context, table, inputs, self.lake, most_rows or settings().slice_rows)
        self.publication(table).failed = each_day_it_can(slices, compute, (dg.Failure, *TRANSIENT_FAULTS))

    def found(self, check: str, outcomes: Outcomes) -> None:
        self.outcomes[check] = outcomes

    def note(self, table: type[Table], metadata: Mapping[str, Any]) -> None:
        """Say more of what was published of the table than how many rows it has."""
        self.publication(table).noted.update(metadata)


def step(
    *specs: dg.AssetSpec,
    name: str | None = None,
    description: str | None = None,
    checks: Sequence[Check] = (),
    config: type[dg.Config] | None = None,
) -> Callable[[Body], dg.AssetsDefinition]:
    """Make the decorated function the step that computes these tables, judged by their contracts and by `checks`.

    The function publishes through its StepRun. When it is done, the ledger is told what further checks found, then
    ledger and Dagster what was published, then Dagster what the checks found. What it yields goes to Dagster at once;
    a Publication that it yields is told of at once. A step of one table can judge it again without computing it.
    """
    tables = [contracts()["/".join(spec.key.path)] for spec in specs]
    of_contracts = [
        check._replace(partitions_def=spec.partitions_def)
        for spec, table in zip(specs, tables, strict=True)
        for check in check_specs(table)
    ]
    partitions = specs[0].partitions_def
    daily = isinstance(partitions, dg.DailyPartitionsDefinition)

    def decorate(body: Body) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name=name or tables[0].key.replace("/", "__"),
            description=description or body.__doc__,
            specs=specs,
            check_specs=[*of_contracts, *(check.spec(partitions) for check in checks)],
            can_subset=len(specs) == 1,
            config_schema=config.to_fields_dict() if config else CONFIG if daily else None,
            backfill_policy=dg.BackfillPolicy.single_run() if daily else None,
            retry_policy=retry_transient_faults(),
        )
        def compute(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
            given = config(**(context.op_execution_context.op_config or {})) if config else None
            yield from carried_out(StepRun(context, lake.lake(), given), body, checks, _judged_again(tables, checks))

        return compute

    return decorate


def step_of_events(
    *specs: dg.AssetSpec,
    name: str | None = None,
    checks: Sequence[dg.AssetCheckSpec] = (),
    can_subset: bool = False,
    config: type[dg.Config] | None = None,
) -> Callable[[Body], dg.AssetsDefinition]:
    """The same for what tells Dagster by itself, event by event: which partitions it writes is known only then, or the
    rows are not in the lake. No contract is judged."""

    def decorate(body: Body) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name=name or "__".join(specs[0].key.path),
            description=body.__doc__,
            specs=specs,
            check_specs=checks,
            can_subset=can_subset,
            config_schema=config.to_fields_dict() if config else None,
            retry_policy=retry_transient_faults(),
        )
        def record(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
            given = config(**(context.op_execution_context.op_config or {})) if config else None
            yield from carried_out(StepRun(context, lake.lake(), given), body)

        return record

    return decorate


def carried_out(
    run: StepRun, body: Body, checks: Sequence[Check] = (), judged_again: Body | None = None
) -> Iterator[Any]:
    """What a step yields to Dagster: the body's work and what is told of it, or what its checks say of what stands."""
    with only_transient_faults_retried():
        if judged_again and only_checks(run.context):
            yield from judged_again(run) or ()
            return
        refusals: list[dg.Failure] = []
        for one in body(run) or ():
            if isinstance(one, Publication):
                yield from _reported(run, one, refusals)
            else:
                yield one
        for check in checks:
            _ask(run, check)
        for publication in run.publications.values():
            yield from _reported(run, publication, refusals)
        if refusals:
            raise _together(refusals)
        for check in checks:
            yield from _shown(run, check)


def _reported(run: StepRun, publication: Publication, refusals: list[dg.Failure]) -> Iterator[Any]:
    """A day that is refused keeps no other table of the step from being told of."""
    try:
        yield from report(run.context, publication, run.lake)
    except dg.Failure as refusal:
        refusals.append(refusal)


def _together(refusals: Sequence[dg.Failure]) -> dg.Failure:
    if len(refusals) == 1:
        return refusals[0]
    return dg.Failure(" ".join(str(refusal.description) for refusal in refusals), allow_retries=False)


def _ask(run: StepRun, check: Check) -> None:
    if check.found is not None:
        published = run.publications.get(check.table.key)
        run.found(check.name, check.found(run.lake, list(published.rows) if published else []))
    if check.name not in run.outcomes:
        raise PlatformError(
            f"The step of {check.table.key} does not say what its check {check.name} found.",
            "Call `run.found` in it, or give the check a function that looks at the lake.",
        )
    _record(run, check)


def _record(run: StepRun, check: Check) -> None:
    """The ledger comes before Dagster: what dies in between is computed and judged again."""
    outcomes = run.outcomes[check.name]
    record_outcomes_in_ledger(run.context, run.lake, check.table, check.name, check.severity, outcomes)


def _shown(run: StepRun, check: Check) -> Iterator[dg.AssetCheckResult]:
    if check.key in run.context.selected_asset_check_keys:
        spec = run.context.assets_def.get_spec_for_check_key(check.key)
        yield from record_outcomes(run.context, check.table, spec, check.severity, run.outcomes[check.name])


def _judged_again(tables: Sequence[type[Table]], checks: Sequence[Check]) -> Body:
    """A run of checks alone."""

    def judged_again(run: StepRun) -> Iterator[Any]:
        asked = run.context.selected_asset_check_keys
        for table in tables:
            if any(spec.key in asked for spec in check_specs(table)):
                yield from report_again(run.context, table, run.lake)
        for check in (check for check in checks if check.key in asked):
            if check.found is None:
                raise dg.Failure(
                    f"{check.name} is judged while {check.table.key} is computed, and not by itself: materialise it.",
                    allow_retries=False,
                )
            days = days_of_checks(run.context, check.table, run.lake) if check.table.partition else []
            run.found(check.name, check.found(run.lake, [*map(str, days)] or [WHOLE_TABLE]))
            _record(run, check)
            yield from _shown(run, check)

    return judged_again
