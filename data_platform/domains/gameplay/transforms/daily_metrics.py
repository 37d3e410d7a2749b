"""The game's day in one row: active players, events, sessions, signups.
Not here: anything per player or per campaign."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.gameplay.contracts.activity import DailyMetrics
from data_platform.domains.gameplay.transforms.retention import signups
from data_platform.domains.gameplay.transforms.sessions import MICROSECONDS_PER_MINUTE, microseconds

WEEK = 7
MONTH = 30
COUNTS = ("dau", "wau", "mau", "events", "sessions", "new_players")


def daily_metrics(
    daily_activity: pl.LazyFrame, sessions: pl.LazyFrame, player_changes: pl.LazyFrame, days: Sequence[dt.date]
) -> pl.LazyFrame:
    """DailyMetrics: one row per day of `days`, also where nothing happened: zeros, null for shares and means.

    In: PlayerDailyActivity of D-29..D, PlayerSessions of D, PlayerChanges of all days ≤ D. DAU, WAU and MAU are the
    players with an event on D, in the 7 and in the 30 days ending with D; stickiness is DAU / MAU.
    """
    wanted = pl.LazyFrame({"metric_date": sorted(set(days))}, schema={"metric_date": pl.Date})
    events = daily_activity.group_by(metric_date="activity_date").agg(events=pl.col("total_events").sum())
    # Polars divides by a constant through its reciprocal, except where there is one row: the last bit would depend on
    # how many days are computed at once. Dividing by a column is the same for every number of rows.
    started = sessions.group_by(metric_date="session_date").agg(
        sessions=pl.len(),
        avg_session_minutes=microseconds("started_at", "ended_at").sum() / (pl.len() * MICROSECONDS_PER_MINUTE),
    )
    new = signups(player_changes).group_by(metric_date="cohort_date").agg(new_players=pl.len())
    metrics = wanted
    for part in (_active_players(daily_activity), events, started, new):
        metrics = metrics.join(part, on="metric_date", how="left")
    return conform(
        DailyMetrics,
        metrics.with_columns(pl.col(COUNTS).fill_null(0)).with_columns(
            stickiness=pl.when(pl.col("mau") > 0).then(pl.col("dau") / pl.col("mau"))
        ),
    )


def _active_players(daily_activity: pl.LazyFrame) -> pl.LazyFrame:
    """metric_date, dau, wau, mau of every day with a player.

    Each activity day speaks for its player until the player's next one, for 30 days at most: so every player counts
    once per day, and a year of players shrinks to 30 numbers a day before anything is repeated.
    """
    next_day = pl.col("activity_date").shift(-1).over("player_id", order_by="activity_date")
    # Null after the last activity day; min_horizontal then leaves 30.
    silence = (next_day - pl.col("activity_date")).dt.total_days()
    spells = (
        daily_activity.select("activity_date", "player_id")
        .with_columns(speaks_for=pl.min_horizontal(silence, MONTH))
        .group_by("activity_date", "speaks_for")
        .agg(players=pl.len())
    )
    aged = spells.with_columns(age=pl.int_ranges("speaks_for")).explode("age")
    players, age = pl.col("players"), pl.col("age")
    return aged.group_by(metric_date=pl.col("activity_date") + pl.duration(days=age)).agg(
        dau=players.filter(age == 0).sum(), wau=players.filter(age < WEEK).sum(), mau=players.sum()
    )
