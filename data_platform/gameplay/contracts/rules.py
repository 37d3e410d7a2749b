"""Conditions over many rows or tables that the gameplay contracts name: each yields the rows that fail.
Not here: conditions on a single row (they stand beside the columns)."""

from __future__ import annotations

import datetime as dt

import polars as pl

CLOCK_TOLERANCE = dt.timedelta(minutes=10)
"""Ingestion rejects what lies further in the future; an event that is clean cannot be from after now."""


MOST_WITHOUT_DATA = 0.05
"""A day on which a larger share of events lost its details is not to be trusted. Single events may have none."""


def incomplete_events(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Events without a type or a player, or from the future; and those without data on days that miss more than
    MOST_WITHOUT_DATA of it. In: PlayerEvents. Out: their keys and what is missing."""
    checks = {
        "event_type": ~pl.col("event_type").str.contains(r"\S").fill_null(False),
        "player_id": pl.col("player_id").str.strip_chars().fill_null("") == "",
        "timestamp": pl.col("timestamp").is_null() | (pl.col("timestamp") > dt.datetime.now(dt.UTC) + CLOCK_TOLERANCE),
    }
    wrong = pl.concat_str(
        [pl.when(failed).then(pl.lit(name)) for name, failed in checks.items()], separator=", ", ignore_nulls=True
    )
    incomplete = rows.filter(pl.any_horizontal(checks.values())).select("event_date", "event_id", wrong=wrong)
    no_data = pl.col("event_data").is_null()
    days = rows.group_by("event_date").agg(missing=no_data.mean()).filter(pl.col("missing") > MOST_WITHOUT_DATA)
    without_data = rows.filter(no_data).join(days, on="event_date", how="semi")
    return pl.concat([incomplete, without_data.select("event_date", "event_id", wrong=pl.lit("event_data"))])


def miscounted_days(rows: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Days whose counted events are not the clean events. In: PlayerDailyActivity and PlayerEvents of the same days."""
    counted = rows.group_by("activity_date").agg(counted=pl.col("total_events").sum())
    clean = events.group_by(activity_date="event_date").agg(clean=pl.len().cast(pl.Int64))
    both = counted.join(clean, on="activity_date", how="full", coalesce=True).with_columns(
        pl.col("counted", "clean").fill_null(0)
    )
    return both.filter(pl.col("counted") != pl.col("clean"))


def campaigns_without_metrics(rows: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Campaigns that had an event on a day but have no metrics of it. In: CampaignMetrics and PlayerEvents."""
    active = events.select(metric_date="event_date", campaign_id="campaign_id").drop_nulls().unique()
    return active.join(rows.select("metric_date", "campaign_id"), on=["metric_date", "campaign_id"], how="anti")
