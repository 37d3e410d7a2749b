"""Days: the daily UTC partitions, how a table's days depend on another's, and how a run's days are cut into slices.
Not here: reading or writing any of them."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg

from data_platform.core.contract import Days
from data_platform.core.settings import settings

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


def as_days(keys: Sequence[str]) -> list[dt.date]:
    return [dt.date.fromisoformat(key) for key in keys]


def today_utc() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def slices(
    days: Sequence[dt.date], inputs: Sequence[tuple[Days, Mapping[str, int]]], most_rows: int
) -> Iterator[list[dt.date]]:
    """Cut ascending days into runs of consecutive ones whose inputs hold at most `most_rows` rows, one day at least.

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
        if pending and (held + rows > most_rows or day - pending[-1] != dt.timedelta(1)):
            yield pending
            pending, held = [], 0
        pending.append(day)
        held += rows
    if pending:
        yield pending
