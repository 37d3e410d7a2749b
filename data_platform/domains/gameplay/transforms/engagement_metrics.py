"""How engaged each player is at the end of a day: the latest session and the score of the last 7 days.
Not here: what an event is worth (`engagement.py`), features for models (`churn.py`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.gameplay.contracts.activity import PlayerEngagementMetrics
from data_platform.domains.gameplay.transforms.calendar import days_after, on_snapshot_days
from data_platform.domains.gameplay.transforms.sessions import linked_parts

WINDOW = 7
"""Days that count, the metric day included."""
HALF_SCORE_POINTS = 500
"""Points that make half of the full score; each further point counts a little less."""
FULL_SCORE = 1000


def engagement_metrics(
    session_days: pl.LazyFrame, daily_activity: pl.LazyFrame, days: Sequence[dt.date]
) -> pl.LazyFrame:
    """PlayerEngagementMetrics: one row per day of `days` and player with an event in the 7 days ending with it.

    In: PlayerSessionDays and PlayerDailyActivity of D-6..D. With p the `engagement_points` of these days the score is
    1000 × p / (p + 500); `current_session_actions` are the events of the player's latest session in them.
    """
    active = _on_metric_days(daily_activity, days)
    # Points are whole numbers kept as floats (see `engagement.py`), so this sum is exact in any order.
    points = pl.col("engagement_points").sum()
    week = active.group_by("metric_date", "player_id").agg(
        events_7d=pl.col("total_events").sum(),
        days_active_7d=pl.len(),
        last_activity_at=pl.col("last_event_at").max(),
        engagement_score=FULL_SCORE * points / (points + HALF_SCORE_POINTS),
    )
    latest = latest_sessions(session_days, days)
    metrics = week.join(latest, on=["metric_date", "player_id"], how="left")
    return conform(PlayerEngagementMetrics, metrics.with_columns(pl.col("current_session_actions").fill_null(0)))


def latest_sessions(session_days: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    """Each player's latest session in the 7 days ending with each of `days`: metric_date, player_id and
    `current_session_actions`, its events in these days.

    A client's session is all parts of its id; derived parts belong together over pauses of at most 30 minutes.
    Latest is the one that ended last; on a tie the one with the largest session_id, its first part's.
    """
    parts = _numbered(linked_parts(_within_reach(session_days, days)))
    sessions = (
        _on_metric_days(parts, days)
        .group_by("metric_date", "session")
        .agg(
            pl.col("player", "player_id", "is_derived").first(),
            pl.col("session_id").min_by("started_at"),
            pl.col("ended_at").max(),
            pl.col("events").sum(),
        )
    )
    # A join on the maximum: seven times faster than the same comparison as a window function.
    player_day = ["metric_date", "player"]
    last = sessions.group_by(player_day).agg(pl.col("ended_at").max())
    return (
        last.join(sessions, on=[*player_day, "ended_at"])
        .group_by("metric_date", "player_id")
        .agg(current_session_actions=pl.col("events").sort_by("session_id", "is_derived").last())
    )


def _numbered(linked: pl.LazyFrame) -> pl.LazyFrame:
    """Linked parts with a number for each player and session: grouping by numbers is cheaper than by names."""
    same_player = pl.col("player_id") == pl.col("player_id").shift()
    # Of each player the client's parts come first, so what stands before a client's part is never a derived one.
    same_id = same_player & (pl.col("session_id") == pl.col("session_id").shift())
    goes_on = pl.when("is_derived").then("follows").otherwise(same_id)
    return linked.select(
        "activity_date",
        "player_id",
        "is_derived",
        "session_id",
        "started_at",
        "ended_at",
        "events",
        player=(~same_player).fill_null(True).cum_sum(),
        session=(~goes_on).fill_null(True).cum_sum(),
    )


def _within_reach(frame: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    """The rows that count for any of `days`."""
    if not days:
        return frame.clear()
    return frame.filter(pl.col("activity_date").is_between(min(days) - dt.timedelta(days=WINDOW - 1), max(days)))


def _on_metric_days(frame: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    day = pl.col("activity_date")
    return on_snapshot_days(frame, day, days_after(day, WINDOW - 1), days).rename({"snapshot_date": "metric_date"})
