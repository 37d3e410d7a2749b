"""Arithmetic on UTC days, in one place because engines disagree in silence: weekends, and what the 30-day windows of
many snapshot days hold. Not here: what the numbers mean (`churn.py`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.domains.gameplay.contracts.snapshots import WINDOW_DAYS

SATURDAY = 6
"""ISO: Monday is 1, Sunday is 7. (Spark counts Sunday as 1, DuckDB's `dayofweek` as 0.)"""
SNAPSHOT = ("snapshot_date", "player_id")


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


def window_sums(daily: pl.LazyFrame, columns: Sequence[str], days: Sequence[dt.date]) -> pl.LazyFrame:
    """Sums of integer `columns` over the window: one row per snapshot day and player with a row in the window.

    `daily` holds `activity_date`, `player_id` and the columns. A row enters the running sum of its player on its day
    and leaves it 30 days later, so the cost does not grow with the window; integers make the difference exact.
    """
    if not days:
        return daily.select(pl.lit(None, dtype=pl.Date).alias("snapshot_date"), "player_id", *columns).clear()
    day, player, rows = pl.col("activity_date"), pl.col("player_id"), pl.col("rows")
    earliest, latest = min(days), max(days)
    daily = daily.filter(day <= latest, last_window_day(day) >= earliest)
    if earliest == latest:
        sums_of_one = daily.group_by("player_id").agg(pl.col(columns).sum())
        return sums_of_one.select(pl.lit(latest).alias("snapshot_date"), "player_id", *columns)
    daily = daily.with_columns(rows=pl.lit(1, pl.Int64))
    sums = pl.col(*columns, "rows")
    entering = daily.select(player, sums, from_date=pl.max_horizontal(day, earliest))
    leaving = daily.filter(last_window_day(day) < latest).select(
        player, sums * -1, from_date=days_after(day, WINDOW_DAYS)
    )
    changes = (
        pl.concat([entering, leaving]).group_by("player_id", "from_date").agg(sums.sum()).sort("player_id", "from_date")
    )
    # One running sum over all players, less what it had reached when the player's rows began.
    before = pl.when(player.ne_missing(player.shift())).then(sums.cum_sum() - sums).forward_fill()
    next_date = pl.when(player == player.shift(-1)).then(pl.col("from_date").shift(-1))
    holding = changes.with_columns(sums.cum_sum() - before, last_date=days_after(next_date, -1)).filter(rows > 0)
    held = on_snapshot_days(holding, pl.col("from_date"), pl.col("last_date"), days)
    return held.select(*SNAPSHOT, *columns)


def window_maxima(daily: pl.LazyFrame, column: str, days: Sequence[dt.date]) -> pl.LazyFrame:
    """Candidates for the largest `column` in each player's window: rows of snapshot day, player and value.

    `daily` holds `activity_date`, `player_id` and the column, one row per day and player. The largest value is always
    among the candidates; a day is none while its neighbour is in the window and larger, which spares most of them.
    """
    day, value, player = pl.col("activity_date"), pl.col(column), pl.col("player_id")
    ordered = daily.sort("player_id", "activity_date")
    # Of equal neighbours the later one stays a candidate: it remains in the window for longer.
    outdone = pl.when((player == player.shift(-1)) & (value.shift(-1) >= value)).then(days_after(day.shift(-1), -1))
    delayed = pl.when((player == player.shift()) & (value.shift() > value)).then(days_after(day.shift(), WINDOW_DAYS))
    spans = ordered.with_columns(
        first=pl.max_horizontal(day, delayed), last=pl.min_horizontal(last_window_day(day), outdone)
    )
    worthwhile = spans.filter(pl.col("first") <= pl.col("last"))
    return on_snapshot_days(worthwhile, pl.col("first"), pl.col("last"), days).select(*SNAPSHOT, column)
