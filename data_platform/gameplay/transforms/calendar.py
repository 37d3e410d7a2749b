"""Arithmetic on UTC days, in one place because engines disagree in silence: weekends, and the snapshot days a row counts for.
Not here: what is computed for those days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.gameplay.contracts.features import WINDOW_DAYS

SATURDAY = 6
"""ISO: Monday is 1, Sunday is 7. (Spark counts Sunday as 1, DuckDB's `dayofweek` as 0.)"""


def is_weekend(day: pl.Expr) -> pl.Expr:
    """True for Saturdays and Sundays."""
    return day.dt.weekday() >= SATURDAY


def days_after(day: pl.Expr, days: int) -> pl.Expr:
    """The date `days` days after `day`; negative is before."""
    return day + dt.timedelta(days=days)


def last_window_day(day: pl.Expr) -> pl.Expr:
    """The last snapshot day whose window still holds `day`."""
    return days_after(day, WINDOW_DAYS - 1)


def on_snapshot_days(frame: pl.LazyFrame, first: pl.Expr, last: pl.Expr, days: Sequence[dt.date]) -> pl.LazyFrame:
    """One copy of each row per snapshot day among `days` from `first` to `last`, both inclusive, as `snapshot_date`.

    A row that counts for none of them is dropped; a null `last` means for ever. With one day nothing is copied: it is
    a filter. Select the columns that are needed before calling this: they are repeated up to 30 times.
    """
    if not days:
        return frame.with_columns(snapshot_date=pl.lit(None, dtype=pl.Date)).clear()
    earliest, latest = min(days), max(days)
    overlapping = frame.filter((first <= latest) & (last >= earliest).fill_null(True))
    if earliest == latest:
        return overlapping.with_columns(snapshot_date=pl.lit(latest))
    expanded = overlapping.with_columns(
        snapshot_date=pl.date_ranges(pl.max_horizontal(first, earliest), pl.min_horizontal(last, latest))
    ).explode("snapshot_date", empty_as_null=False)
    contiguous = len(set(days)) == (latest - earliest).days + 1
    return expanded if contiguous else expanded.filter(pl.col("snapshot_date").is_in(sorted(set(days))))
