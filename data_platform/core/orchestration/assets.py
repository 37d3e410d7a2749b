"""A contract and a transform made into an ordinary Dagster asset.
Belongs here: the decorator, materialising slice by slice, what Dagster is told. Not here: any table, any format."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import datetime as dt
import inspect
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.lineage import declare_inputs, inputs_of, origins
from data_platform.core.contract.table import Days, Table, contracts
from data_platform.core.faults import in_words
from data_platform.core.lake import bitemporal
from data_platform.core.lake.commits import StagedFile
from data_platform.core.lake.damage import Reading, damage_told
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.attempts import each_day_it_can
from data_platform.core.orchestration.automation import (
    only_transient_faults_retried,
    retry_transient_faults,
    when_inputs_change,
)
from data_platform.core.orchestration.checks import (
    asset_key,
    check_specs,
    log_verdicts,
    record_in_ledger,
    record_verdicts,
    stored_together,
)
from data_platform.core.orchestration.chosen_days import CONFIG, days_to_compute, only_checks, run_slices, tells_itself
from data_platform.core.orchestration.code_references import code_references, code_version
from data_platform.core.orchestration.io_manager import LakeResource
from data_platform.core.orchestration.partitions import daily, partition_mapping, today_utc, without_gaps
from data_platform.core.quality.profile import Look, is_profiled, look
from data_platform.core.quality.profile_store import judge_by_history, remember
from data_platform.core.quality.rejudging import Tests, judge_again
from data_platform.core.quality.table_rules import judge_together
from data_platform.core.quality.validation import WHOLE_TABLE, Verdict, Verdicts, judge
from data_platform.core.settings import settings

Transform = Callable[..., pl.LazyFrame | pl.DataFrame]
Input = Days | type[Table]


DELTA_VERSION = "delta/version"
"""Metadata of materialisations, as text: a number would be plotted."""


@dataclass
class Publication:
    """What a run published of one table, gathered slice by slice."""

    table: type[Table]
    verdicts: Verdicts = field(default_factory=Verdicts)
    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    version: int = 0
    failed: dict[str, Exception] = field(default_factory=dict)
    """Days that could not be computed at all."""
    read: dict[str, int | None] = field(default_factory=dict)
    """Input → the version that was read, where the step fixed one."""
    started: float = field(default_factory=time.perf_counter)

    def publish(
        self,
        lake: Lake,
        frames: Iterable[pl.DataFrame],
        days: Sequence[dt.date],
        run_id: str,
        found: Iterable[Verdict] = (),
    ) -> None:
        """Write, audit, publish: the frames (together the whole content of the days) become visible in one commit.

        Days with failed error rules keep what they had; `found` are verdicts reached elsewhere (dbt's tests). Frames
        are judged one by one, so that a day too big for memory can come in parts; parts must not share a primary key.
        Raises ValueError for rows outside the days.
        """
        partitions = [day.isoformat() for day in days] or [WHOLE_TABLE]
        verdicts = Verdicts(rows=dict.fromkeys(partitions, 0))
        staged: list[StagedFile] = []
        looks: list[Look] = []
        profiled = is_profiled(self.table)
        # Files are written while rows and days are judged: compressing needs no interpreter.
        with ThreadPoolExecutor(max_workers=1) as writer:
            written: Future[list[StagedFile]] | None = None
            for frame in frames:
                staged += written.result() if written else []
                written = writer.submit(lake.stage, self.table, frame)
                verdicts.add(judge(self.table, frame, partitions))
                looks += [look(self.table, frame)] if profiled else []
            unusual = judge_by_history(lake, self.table, looks, days) if profiled else None
            staged += written.result() if written else []
        outside = {file.partition for file in staged} - {*partitions, None}
        if outside:
            raise ValueError(f"{self.table.key}: rows of {sorted(map(str, outside))} in a write of {partitions}")
        if self.table.all_table_rules():
            together = judge_together(self.table, lake.scan_staged(self.table, staged), lake, verdicts.rows)
            verdicts.sort_in(together)
        if unusual:
            verdicts.sort_in(unusual.verdicts)
            remember(lake, self.table, unusual.measured, verdicts.blocked(), run_id)
        verdicts.sort_in(found)
        self.verdicts.add(verdicts)
        passed = [partition for partition in partitions if partition not in verdicts.blocked()]
        if not passed:
            return
        metadata = {"dagster_run_id": run_id, "contract": self.table.version()}
        kept = [file for file in staged if file.partition in passed or file.partition is None]
        if self.table.bitemporal:
            commit = bitemporal.publish(lake, self.table, kept, passed, metadata)
        else:
            commit = lake.publish(self.table, kept, replacing=passed, metadata=metadata)
        self.version = commit.version
        for partition in passed:
            self.rows[partition] = commit.rows.get(partition or None, 0)
            self.bytes[partition] = commit.bytes.get(partition or None, 0)

    def in_words(self) -> str:
        """What was read and written, for the run's log."""
        days = sorted(day for day in self.rows if day != WHOLE_TABLE)
        span = f" of {len(days)} day{'s' if len(days) > 1 else ''} ({days[0]} to {days[-1]})" if days else ""
        kept_back = f", {len(self.verdicts.blocked())} not published" if self.verdicts.blocked() else ""
        inputs = ", ".join(f"{key} at version {version}" for key, version in self.read.items() if version is not None)
        return (
            f"{self.table.key}: {sum(self.rows.values()):,} rows{span} written as version {self.version}{kept_back}"
            f" in {time.perf_counter() - self.started:.1f} s" + (f"; read {inputs}" if inputs else "")
        )

    def metadata(self, partition: str) -> dict[str, Any]:
        count = "dagster/partition_row_count" if partition != WHOLE_TABLE else "dagster/row_count"
        return {count: self.rows[partition], "size_bytes": self.bytes[partition], DELTA_VERSION: str(self.version)}


def asset_for(
    table: type[Table], automation: dg.AutomationCondition[Any] | None = None, **inputs: Input
) -> Callable[[Transform], dg.AssetsDefinition]:
    """Make the decorated transform the asset of a contract.

    Each keyword names a parameter of the transform and the table (or `Table.days(first, last)`) it receives as a
    LazyFrame. A transform may also take `days` (the days to compute) and `today`. A run over many days is computed in
    slices that bound memory; a day that fails an error rule, or cannot be computed, is not published, the others are,
    and the step fails.
    """
    spec = spec_for(table, inputs, automation_condition=automation or when_inputs_change())
    wanted = dict(zip(inputs, inputs_of(table), strict=True))

    def decorate(transform: Transform) -> dg.AssetsDefinition:
        accepted = set(inspect.signature(transform).parameters)

        @dg.multi_asset(
            name=table.key.replace("/", "__"),
            description=inspect.getdoc(transform),
            specs=[computed_by(spec, table, transform)],
            check_specs=check_specs(table),
            can_subset=True,
            config_schema=CONFIG if table.partition else None,
            backfill_policy=dg.BackfillPolicy.single_run() if table.partition else None,
            retry_policy=retry_transient_faults(),
        )
        def compute(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
            with only_transient_faults_retried():
                store = lake.lake()
                if only_checks(context):
                    yield from report_again(context, table, store)
                    return
                publication = Publication(table)
                snapshots = {name: store.snapshot(needed.table) for name, needed in wanted.items()}
                publication.read = {wanted[name].table.key: found.version for name, found in snapshots.items()}

                def compute_days(days: list[dt.date]) -> None:
                    computed = without_gaps(days)
                    readings = {name: _reading(needed, days) for name, needed in wanted.items()}
                    arguments = {name: snapshots[name].scan(r.first, r.last) for name, r in readings.items()}
                    more: dict[str, Any] = {"days": computed, "today": today_utc()}
                    with damage_told(store, list(readings.values())):
                        frame = transform(**arguments, **{name: more[name] for name in accepted & more.keys()})
                        if len(computed) > len(days):
                            frame = frame.filter(pl.col(str(table.partition)).is_in(days))
                        frame = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
                    publication.publish(store, [frame], days, context.run.run_id)

                slices = run_slices(context, table, wanted, store, settings().slice_rows)
                publication.failed = each_day_it_can(slices, compute_days)
                yield from report(context, publication, store)

        return compute

    return decorate


def spec_for(
    table: type[Table],
    inputs: Mapping[str, Input] | None = None,
    computed_with: type[Table] | None = None,
    **more: Any,
) -> dg.AssetSpec:
    """The asset spec of a contract, for steps that several tables come out of; all but one are `computed_with` it."""
    needed = _declare_inputs(table, inputs or {}, computed_with)
    attributes = described(table, [days.table for days in needed.values()])
    return dg.AssetSpec(
        asset_key(table),
        deps=[dg.AssetDep(asset_key(d.table), partition_mapping=_mapping(table, d)) for d in needed.values()],
        partitions_def=daily() if table.partition else None,
        code_version=table.version(),
        **attributes,
        **more,
    )


def computed_by(spec: dg.AssetSpec, table: type[Table], code: Callable[..., Any] | Path) -> dg.AssetSpec:
    """The spec with what computes the table: links to it, and a version that changes with it."""
    found = spec.replace_attributes(code_version=code_version(table, code))
    return found.merge_attributes(metadata={"dagster/code_references": code_references(table, code)})


def history_specs() -> list[dg.AssetSpec]:
    """The journals of all bitemporal tables: written by whatever publishes these, never by a run of their own."""
    specs = []
    for table in contracts().values():
        if table.bitemporal:
            journal = bitemporal.history_of(table)
            spec = spec_for(journal).replace_attributes(deps=[dg.AssetDep(asset_key(table))])
            specs.append(spec.merge_attributes(metadata={"dagster/column_lineage": column_lineage(journal, [table])}))
    return specs


def _declare_inputs(
    table: type[Table], inputs: Mapping[str, Input], computed_with: type[Table] | None = None
) -> dict[str, Days]:
    wanted = {name: given if isinstance(given, Days) else given.days() for name, given in inputs.items()}
    declare_inputs(table, wanted.values(), computed_with)
    return wanted


def described(table: type[Table], upstream: Sequence[type[Table]]) -> dict[str, Any]:
    """What the lineage page shows of a table: owner, kinds, tags, description, columns and where each comes from."""
    return {
        "group_name": table.table_group(),
        "description": table.table_description(),
        "owners": [table.owner],
        "kinds": {table.kind, "deltalake"},
        "tags": {"domain": table.owner.removeprefix("team:"), "partitioned": "daily" if table.partition else "whole"},
        "metadata": {
            "dagster/column_schema": column_schema(table),
            "dagster/column_lineage": column_lineage(table, upstream),
            "dagster/table_name": table.key.replace("/", "."),
            "dagster/uri": f"{settings().lake_root}/{table.key}",
            "dagster/code_references": code_references(table),
            "grain": ", ".join(table.primary_key),
            **_freshness_promise(table),
        },
    }


def _freshness_promise(table: type[Table]) -> dict[str, str]:
    """In words, not as a policy of Dagster's: its badge looks at when a run last wrote, so that a backfill of March
    turns a table green whose newest day is missing. `quality/freshness` has a check for each table instead."""
    if table.fresh is None:
        return {}
    warned = f"stale after {table.fresh.warn}, " if table.fresh.warn else ""
    return {"freshness": f"{warned}critical after {table.fresh.fail}; see the checks of quality/freshness"}


def column_schema(table: type[Table]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                str(c.dtype),
                description=f"{c.description} [{c.unit}]" if c.unit else c.description,
                constraints=dg.TableColumnConstraints(
                    nullable=c.nullable, other=[rule.description for rule in c.rules()]
                ),
                tags={"personal": c.personal.value} if c.personal else None,
            )
            for c in table.columns.values()
        ]
    )


def column_lineage(table: type[Table], upstream: Sequence[type[Table]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [
                dg.TableColumnDep(asset_key(o.table), o.name) for o in origins(column, upstream) if o.table is not None
            ]
            for name, column in table.columns.items()
            if origins(column, upstream)
        }
    )


def report(context: dg.AssetExecutionContext, publication: Publication, lake: Lake) -> Iterator[Any]:
    """Tell the ledger every verdict, then Dagster what was published: materialisations with their numbers and verdicts,
    one of each per partition. The ledger comes first: what dies in between is computed and judged again.

    Raises dg.Failure when a day broke an error rule or could not be computed: that day was not published and is not
    recorded as materialised.
    """
    table = publication.table
    context.log.info(publication.in_words())
    record_in_ledger(context, lake, table, publication.verdicts)
    _report_corrections(context, table, lake)
    refused = publication.verdicts.blocked() or publication.failed
    asked = {str(day) for day in days_to_compute(context)} if table.partition else set()
    incomplete = table.partition is not None and publication.rows.keys() < asked
    if refused or incomplete or tells_itself(context):
        with stored_together(context.instance):
            for partition in publication.rows:
                if partition != WHOLE_TABLE:
                    metadata = publication.metadata(partition)
                    context.log_event(dg.AssetMaterialization(asset_key(table), partition=partition, metadata=metadata))
    if refused or incomplete:
        log_verdicts(context, table, publication.verdicts)
        if refused:
            raise dg.Failure(_refusal(publication), allow_retries=False)
        return  # days are missing because of a table that is computed beside this one, which tells why
    if tells_itself(context):
        yield dg.MaterializeResult(asset_key=asset_key(table))  # for what comes after; Dagster records nothing of it
    elif table.partition is None:
        yield dg.MaterializeResult(asset_key=asset_key(table), metadata=publication.metadata(WHOLE_TABLE))
    else:
        for partition in publication.rows:
            context.add_asset_metadata(
                publication.metadata(partition), asset_key=asset_key(table), partition_key=partition
            )
        yield dg.MaterializeResult(asset_key=asset_key(table))
    yield from record_verdicts(context, table, publication.verdicts)


def report_again(
    context: dg.AssetExecutionContext, table: type[Table], lake: Lake, tests: Tests | None = None
) -> Iterator[dg.AssetCheckResult]:
    """Judge the table as it stands, and tell ledger and Dagster; the body of a run of checks alone."""
    slices = run_slices(context, table, {"rows": table.days()}, lake, settings().slice_rows)
    verdicts = judge_again(lake, table, slices, tests)
    record_in_ledger(context, lake, table, verdicts)
    yield from record_verdicts(context, table, verdicts)


def _report_corrections(context: dg.AssetExecutionContext, table: type[Table], lake: Lake) -> None:
    """The journal of a table with history has no run of its own: what it got today is reported by whoever publishes."""
    if not table.bitemporal:
        return
    journal, today = bitemporal.history_of(table), today_utc().isoformat()
    rows = dict(lake.partitions(journal).select("partition", "rows").iter_rows()).get(today, 0)
    if rows:
        metadata = {"dagster/partition_row_count": rows}
        context.log_event(dg.AssetMaterialization(asset_key(journal), partition=today, metadata=metadata))


def _refusal(publication: Publication) -> str:
    told = []
    if blocked := publication.verdicts.blocked():
        failures = [v for v in publication.verdicts.failures if v.partition in blocked][:5]
        rules = "; ".join(
            f"{v.partition or 'table'}: {v.rule} {v.status} for {v.failed_rows} of {v.rows} rows"
            + (f", e.g. {_told(v.sample[:2])}" if v.sample else "")
            for v in failures
        )
        told.append(
            f"{_counted(blocked)} not published, for breaking the contract ({rules}). Fix the rows upstream or the "
            f"contract, then run again; `data-platform status {publication.table.key}` says more."
        )
    if failed := publication.failed:
        errors = "; ".join(f"{day}: {in_words(error)}" for day, error in [*failed.items()][:5])
        told.append(f"{_counted(failed)} not computed ({errors}).")
    others = " The other days of the run are published." if publication.rows else ""
    return f"{publication.table.key}: {' '.join(told)}{others}"


def _counted(partitions: Collection[str]) -> str:
    """How many days are told of; a table without days is told of as a whole."""
    if WHOLE_TABLE in partitions:
        return "the table is"
    return "1 day is" if len(partitions) == 1 else f"{len(partitions)} days are"


def _told(keys: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(", ".join(f"{name} {value}" for name, value in key.items()) for key in keys)


def _mapping(table: type[Table], needed: Days) -> dg.PartitionMapping | None:
    return partition_mapping(needed) if table.partition and needed.table.partition else None


def _reading(needed: Days, days: Sequence[dt.date]) -> Reading:
    """The days of an input that a slice needs."""
    if needed.table.partition is None or not days:
        return Reading(needed.table)
    first = None if needed.first is None else days[0] + dt.timedelta(needed.first)
    return Reading(needed.table, first, days[-1] + dt.timedelta(needed.last))
