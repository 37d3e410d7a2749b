"""Conditions over many rows or tables that the gameplay contracts name: each yields the rows that fail.
Not here: conditions on a single row. Those stand beside the columns, and a row that breaks one of severity error is
rejected before it gets here: by ingestion, or by the transform that makes the clean table. No row can block a day."""

from __future__ import annotations

import polars as pl

MOST_WITHOUT_DATA = 0.05
"""A day on which a larger share of events lost its details is not to be trusted. Single events may have none."""


def events_that_lost_their_data(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Events without data, on days that miss more than MOST_WITHOUT_DATA of it. In: PlayerEvents. Out: their keys."""
    no_data = pl.col("event_data").is_null()
    days = rows.group_by("event_date").agg(missing=no_data.mean()).filter(pl.col("missing") > MOST_WITHOUT_DATA)
    return rows.filter(no_data).join(days, on="event_date", how="semi").select("event_date", "event_id")


def miscounted_days(rows: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Days whose counted events are not the clean events. In: PlayerDailyActivity and PlayerEvents of the same days."""
    counted = rows.group_by("activity_date").agg(counted=pl.col("total_events").sum())
    clean = events.group_by(activity_date="event_date").agg(clean=pl.len().cast(pl.Int64))
    both = counted.join(clean, on="activity_date", how="full", coalesce=True).with_columns(
        pl.col("counted", "clean").fill_null(0)
    )
    return both.filter(pl.col("counted") != pl.col("clean"))


def windows_that_miss_events(rows: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Days whose windows do not hold each clean event once. In: EventWindows and PlayerEvents of the same days."""
    counted = rows.group_by("window_date").agg(counted=pl.col("events").sum())
    clean = events.group_by(window_date="event_date").agg(clean=pl.len().cast(pl.Int64))
    both = counted.join(clean, on="window_date", how="full", coalesce=True)
    return both.filter(pl.col("counted").fill_null(0) != pl.col("clean").fill_null(0))


def campaigns_without_metrics(rows: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Campaigns that had an event on a day but have no metrics of it. In: CampaignMetrics and PlayerEvents."""
    active = events.select(metric_date="event_date", campaign_id="campaign_id").drop_nulls().unique()
    return active.join(rows.select("metric_date", "campaign_id"), on=["metric_date", "campaign_id"], how="anti")
