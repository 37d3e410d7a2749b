"""The state of each day of a table: there, warned, failed, stale or missing.
Belongs here: the rule, over plain arrays. Not here: where the facts come from, how the days are drawn."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl
from numpy.typing import NDArray

LONGEST = 400
"""Days that are kept of a table: a year and a month."""
ONE_DAY = np.timedelta64(1, "D")

Days = NDArray[np.datetime64]
Numbers = NDArray[np.int64]


class DayState(StrEnum):
    """`stale`: an input day was written after it. `missing`: no rows, and no rule ever judged it."""

    OK = "ok"
    WARNED = "warned"
    FAILED = "failed"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class WrittenDays:
    """What is known of the days from `first` on: rows, and when each was computed last (µs, 0 for never)."""

    first: dt.date
    rows: Numbers
    computed_at: Numbers
    broken: NDArray[np.bool_]
    warned: NDArray[np.bool_]

    @property
    def last(self) -> dt.date:
        return self.first + dt.timedelta(len(self.rows) - 1)

    def dates(self) -> list[dt.date]:
        return [self.first + dt.timedelta(offset) for offset in range(len(self.rows))]


def written_days(partitions: pl.DataFrame, judged: pl.DataFrame | None) -> WrittenDays | None:
    """From a table's live partitions (`day`, `rows`, `written_at`) and its judged days. None when there are neither.

    A day without rows has no file; that it was judged says that it was computed.
    """
    known = partitions.join(judged, on="day", how="full", coalesce=True) if judged is not None else partitions
    if judged is None:
        known = known.with_columns(judged_at=pl.col("written_at"), broken=pl.lit(False), warned=pl.lit(False))
    known = known.drop_nulls("day")
    if known.is_empty():
        return None
    last: dt.date = known["day"].max()  # type: ignore[assignment]
    earliest: dt.date = known["day"].min()  # type: ignore[assignment]
    first = max(earliest, last - dt.timedelta(LONGEST - 1))
    axis = pl.DataFrame({"day": pl.date_range(first, last, eager=True)})
    computed = pl.max_horizontal("written_at", "judged_at").dt.epoch("us").fill_null(0)
    whole = axis.join(known, on="day", how="left", maintain_order="left").select(
        rows=pl.col("rows").fill_null(0).cast(pl.Int64),
        computed_at=computed,
        broken=pl.col("broken").fill_null(False),
        warned=pl.col("warned").fill_null(False),
    )
    return WrittenDays(first, *(whole[name].to_numpy() for name in ("rows", "computed_at", "broken", "warned")))


@dataclass(frozen=True)
class NeededDays:
    """Days of an input that a day needs, `first`..`last` relative to it; `first` None is "since ever"."""

    written: WrittenDays
    first: int | None
    last: int


def day_states(own: WrittenDays, inputs: Sequence[NeededDays]) -> list[DayState]:
    """The state of each own day, in order. Failed comes before stale: a failed day has to be corrected first."""
    newest = np.zeros(len(own.rows), dtype=np.int64)
    for needed in inputs:
        newest = np.maximum(newest, _newest_input(own, needed))
    unknown = own.computed_at == 0  # with rows: all of its files were merged into others
    missing = unknown & (own.rows == 0)
    stale = ~unknown & (newest > own.computed_at)
    chosen = np.select(
        [own.broken, missing, stale, own.warned],
        [DayState.FAILED.value, DayState.MISSING.value, DayState.STALE.value, DayState.WARNED.value],
        DayState.OK.value,
    )
    return [DayState(state) for state in chosen.tolist()]


def _newest_input(own: WrittenDays, needed: NeededDays) -> Numbers:
    """For each own day, when the newest of the input days that it needs was written."""
    start = (own.first - needed.written.first).days
    times = np.maximum.accumulate(needed.written.computed_at) if needed.first is None else needed.written.computed_at
    at = np.arange(len(own.rows)) + start
    found = np.zeros(len(own.rows), dtype=np.int64)
    offsets = (needed.last,) if needed.first is None else range(needed.first, needed.last + 1)
    for offset in offsets:
        wanted = at + offset
        if needed.first is None:
            wanted = np.minimum(wanted, len(times) - 1)
        inside = (wanted >= 0) & (wanted < len(times))
        found[inside] = np.maximum(found[inside], times[wanted[inside]])
    return found
