"""Clean events held against the source's own count. Not here: what happens when they differ (the contract's rule)."""

from __future__ import annotations

import polars as pl


def event_totals(events: pl.LazyFrame, totals: pl.LazyFrame) -> pl.LazyFrame:
    """In: PlayerEvents and RawEventTotals of the same days. Out: PlayerEventTotals, a row per day in either."""
    counted = totals.sort("counted_at", "events").group_by("event_date").agg(source_events=pl.col("events").last())
    clean = events.group_by("event_date").agg(clean_events=pl.len().cast(pl.Int64))
    return (
        clean.join(counted, on="event_date", how="full", coalesce=True)
        .with_columns(pl.col("clean_events").fill_null(0))
        .select(
            "event_date",
            "clean_events",
            "source_events",
            difference=pl.col("clean_events") - pl.col("source_events"),
        )
    )
