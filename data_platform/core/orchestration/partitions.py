"""Days: the daily UTC partitions, how a table's days depend on another's, and how a run's days are cut into slices.
Not here: reading or writing any of them."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg

from data_platform.core.contract.table import Days
from data_platform.core.settings import settings

BRIDGED_ROWS, BRIDGED_DAYS = 30_000, 31
"""Days between two that are computed go along unpublished where they are at most so many: a slice costs some 30 ms
whatever is in it (reading, one commit), a row about 1 µs. Rows of inputs without a first day are not counted."""
SINCE_EVER = -36_500
"""A hundred years of days: further back than any first day."""


@functools.cache
def daily() -> dg.DailyPartitionsDefinition:
    """Every UTC day from the first one to today; today is included, because today's events arrive today."""
    return dg.DailyPartitionsDefinition(start_date=settings().first_day.isoformat(), end_offset=1)


def partition_mapping(days: Days) -> dg.PartitionMapping:
    """Which upstream days a day needs. Days before the first one or after today do not exist and are not waited for."""
    return dg.TimeWindowPartitionMapping(
        start_offset=days.first if days.first is not None else SINCE_EVER,
        end_offset=days.last,
        allow_nonexistent_upstream_partitions=True,
    )


class TimeWindowPartitionMapping(dg.TimeWindowPartitionMapping):
    """A mapping of one of several tables of a step, which may each read other days of the same input.

    Dagster keeps the mapping of each table, and uses these alone; but it refuses a step whose mappings of an input
    are not equal, because it also keeps one for the step, for values that steps are handed (ours read the lake). So
    these are equal to each other. It stores them by the name of their class: elsewhere they are Dagster's own.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dg.TimeWindowPartitionMapping)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(TimeWindowPartitionMapping)


def in_a_step_of_many(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The same table in a step whose other tables may read other days of its inputs."""
    return spec.replace_attributes(
        deps=[
            dg.AssetDep(dep.asset_key, partition_mapping=TimeWindowPartitionMapping(*mapping))
            if isinstance(mapping := dep.partition_mapping, dg.TimeWindowPartitionMapping)
            else dep
            for dep in spec.deps
        ]
    )


def as_days(keys: Sequence[str]) -> list[dt.date]:
    return [dt.date.fromisoformat(key) for key in keys]


def today_utc() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def slices(
    days: Sequence[dt.date],
    inputs: Sequence[tuple[Days, Mapping[str, int]]],
    most_rows: int,
    bridged_rows: int = BRIDGED_ROWS,
) -> Iterator[list[dt.date]]:
    """Cut ascending days into parts whose inputs hold at most `most_rows` rows, one day at least. Parts go over
    gaps of at most `bridged_rows`: what is computed of the days in between is to be thrown away.

    `inputs` are the bounded inputs with their rows per partition. A day costs the rows of its whole window, because a
    rolling measure touches each row once per day it counts for.
    """
    cost: Callable[[dt.date], int] = lambda day: sum(  # noqa: E731
        rows.get((day + dt.timedelta(offset)).isoformat(), 0)
        for window, rows in inputs
        if window.first is not None
        for offset in range(window.first, window.last + 1)
    )
    pending: list[dt.date] = []
    held = 0
    for day in days:
        rows = cost(day)
        gap = _gap_cost(pending[-1], day, cost, bridged_rows) if pending else 0
        if pending and (gap is None or held + gap + rows > most_rows):
            yield pending
            pending, held, gap = [], 0, 0
        held += gap or 0
        pending.append(day)
        held += rows
    if pending:
        yield pending


def _gap_cost(before: dt.date, after: dt.date, cost: Callable[[dt.date], int], most_rows: int) -> int | None:
    """Rows of the days between two; None where they are too many to be bridged."""
    rows, between = 0, (after - before).days - 1
    if between and (between > BRIDGED_DAYS or not most_rows):
        return None
    for offset in range(1, between + 1):
        rows += cost(before + dt.timedelta(offset))
        if rows > most_rows:
            return None
    return rows


def without_gaps(days: Sequence[dt.date]) -> list[dt.date]:
    """Every day from the first to the last."""
    return [days[0] + dt.timedelta(offset) for offset in range((days[-1] - days[0]).days + 1)] if days else []
