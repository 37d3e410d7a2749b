"""The days that a step of a run computes, in slices. A run may choose days of its range, others of each table: how its
steps are told, and what Dagster is told.
Not here: which days are chosen (operations/staleness), computing or publishing them (assets)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping

import dagster as dg
from pydantic import Field

from data_platform.core.contract.day_ranges import in_ranges
from data_platform.core.contract.day_slices import slices
from data_platform.core.contract.table import Days, Table
from data_platform.core.instance.materialisations import RANGE_END, RANGE_START
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.partitions import as_days

TELLS_ITSELF = "dagster/defer_asset_events"
"""Tag of a run for which Dagster neither plans nor records materialisations. By itself it would take every day of the
range for written, by every table of the run: days that were up to date would make more of them stale, for ever. The
steps tell what they wrote (`reporting.report`), `core/instance/planned_days` what they are to write."""
CONFIG = {
    "days": dg.Field(
        dg.Array(str),
        is_required=False,
        description="Compute these days of the run's range alone, as 2024-01-03 or 2024-01-03..2024-01-09. Set by "
        "`data-platform build` and `plan --go` for days that lie apart.",
    )
}
"""Of the op of every table with days. Not a tag: PostgreSQL refuses tags that are longer than 2,704 bytes."""


class ChosenDays(dg.Config):
    """The same of a step that computes several tables, each its own days."""

    days: list[str] | None = Field(default=None, description="As of other steps: these days alone, of every table.")
    days_of: dict[str, list[str]] | None = Field(default=None, description="Table, as `group/name`, and its days.")


def days_to_compute(context: dg.AssetExecutionContext, table: type[Table] | None = None) -> list[dt.date]:
    """The days of the run that this step is to compute (of the table): those chosen for it, else all."""
    config = context.op_execution_context.op_config or {}
    of_table = (config.get("days_of") or {}).get(table.key) if table else None
    chosen = of_table if of_table is not None else config.get("days")
    keys = context.partition_keys
    if chosen is not None:
        wanted = in_ranges(chosen)
        keys = [key for key in keys if key in wanted]
    return as_days(keys)


def days_of_checks(context: dg.AssetExecutionContext, table: type[Table], lake: Lake) -> list[dt.date]:
    """The days of a run of checks alone: the run's, or all that the table holds where the run names none."""
    if context.has_partition_key or context.has_partition_key_range:
        return days_to_compute(context, table)
    return as_days(lake.partitions(table)["partition"].to_list())


def run_slices(
    context: dg.AssetExecutionContext, table: type[Table], inputs: Mapping[str, Days], lake: Lake, most_rows: int
) -> Iterator[list[dt.date]]:
    """The days to compute in slices of at most `most_rows` input rows, where they are to be computed over short gaps;
    in a run of checks without any. One empty slice for a table without partitions."""
    if table.partition is None:
        yield []
        return
    sized = [(needed, lake.rows(needed.table)) for needed in inputs.values() if needed.table.partition]
    if only_checks(context):
        yield from slices(days_of_checks(context, table, lake), sized, most_rows, bridged_rows=0)
    else:
        yield from slices(days_to_compute(context, table), sized, most_rows)


def only_checks(context: dg.AssetExecutionContext) -> bool:
    """Whether the run is of checks alone: somebody asks what holds of the table as it stands."""
    return not context.selected_asset_keys


def tells_itself(context: dg.AssetExecutionContext) -> bool:
    return context.run.tags.get(TELLS_ITSELF) == "true"


def run_tags(days: Collection[str], chosen: bool) -> dict[str, str]:
    """Tags of a run over days: its range, and whether its steps choose among them."""
    span = {RANGE_START: min(days), RANGE_END: max(days)}
    return span | {TELLS_ITSELF: "true"} if chosen else span
