"""What the live view said of each window beside what the tables say of it.
Not here: counting windows, live or not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.gameplay.contracts.windows import FIVE_MINUTES, LiveComparison

GROUP = ["window_start", "event_type", "campaign_id"]
MEASURES = ("events", "players", "sessions")


def live_comparison(
    live: pl.LazyFrame, event_windows: pl.LazyFrame, days: Sequence[dt.date], today: dt.date
) -> pl.LazyFrame:
    """LiveComparison: one row per window of `days` that the view recorded and that the tables are past.

    In: RawLiveWindows and EventWindows of D. The tables are past a window when their newest event of the day would
    close it too, or the day is over. Of each event type and campaign the tables may say as much more as the view noted
    late events of it, and as much less as it noted of the window that other copies may have taken away: nothing else
    may differ.
    """
    of_days = live.filter(pl.col("window_date").is_in(list(days)))
    recorded = of_days.filter(pl.col("event_type").is_null()).select("window_date", "window_start").unique()
    closes = pl.col("window_start") + FIVE_MINUTES.length + FIVE_MINUTES.closes_after
    newest = event_windows.group_by("window_date").agg(newest=pl.col("last_event_at").max())
    is_past = (pl.col("window_date") < today) | (closes <= pl.col("newest")).fill_null(False)
    windows = recorded.join(newest, on="window_date", how="left").filter(is_past).drop("newest")
    pairs = _said_live(of_days).join(
        _said_by_tables(event_windows), on=GROUP, how="full", coalesce=True, nulls_equal=True
    )
    moved = of_days.group_by("window_start").agg(moved=pl.col("moved_events").sum())
    noted = pairs.join(moved, on="window_start", how="left").with_columns(pl.exclude(GROUP).fill_null(0))
    counted = noted.with_columns(differs=~_explained())
    example = pl.format(
        "{} in {}: {} live, {} in the tables",
        "event_type",
        pl.col("campaign_id").fill_null("no campaign"),
        "events_live",
        "events_table",
    )
    by_window = counted.group_by("window_start").agg(
        live_events=pl.col("events_live").sum(),
        table_events=pl.col("events_table").sum(),
        late_events=pl.col("late").sum(),
        compared=pl.len(),
        differences=pl.col("differs").sum(),
        example=example.filter(pl.col("differs")).min(),
    )
    numbers = ["live_events", "table_events", "late_events", "compared", "differences"]
    found = windows.join(by_window, on="window_start", how="left")
    return conform(LiveComparison, found.with_columns(pl.col(numbers).fill_null(0)))


def _said_live(live: pl.LazyFrame) -> pl.LazyFrame:
    """One row per window, event type and campaign, its notes added up."""
    return (
        live.filter(pl.col("event_type").is_not_null())
        .group_by("window_start", "event_type", campaign_id="place")
        .agg(
            events_live=pl.col("events").sum(),
            players_live=pl.col("actors").sum(),
            sessions_live=pl.col("sessions").sum(),
            late=pl.col("late_events").sum(),
        )
    )


def _said_by_tables(event_windows: pl.LazyFrame) -> pl.LazyFrame:
    return event_windows.select(*GROUP, *(pl.col(name).alias(f"{name}_table") for name in MEASURES))


def _explained() -> pl.Expr:
    more = [pl.col(f"{name}_table") - pl.col(f"{name}_live") for name in MEASURES]
    return pl.all_horizontal(one.is_between(-pl.col("moved"), pl.col("late")) for one in more)
