"""Who came back: retention of the players who signed up on a day.
Belongs here: what a signup is, and when a day counts as over. Not here: churn, which looks at a player's silence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.gameplay.contracts.activity import RETENTION_HORIZON_DAYS, PlayerRetention

RETENTION_DAYS = (1, 7, 30)


def signups(player_changes: pl.LazyFrame) -> pl.LazyFrame:
    """player_id and cohort_date, the day of the player's first insert; a later insert after a deletion is no signup.
    It is the day of `changed_at`: changes from before the first day are filed under that day, and are no signups of it.

    In: PlayerChanges of all days up to the cohort days of interest.
    """
    inserts = player_changes.filter(pl.col("operation") == "insert")
    return inserts.group_by("player_id").agg(cohort_date=pl.col("changed_at").min().dt.date())


def player_retention(
    player_changes: pl.LazyFrame, daily_activity: pl.LazyFrame, days: Sequence[dt.date], today: dt.date
) -> pl.LazyFrame:
    """PlayerRetention: one row per day of `days` on which players signed up.

    In: PlayerChanges of all days up to the cohort's, PlayerDailyActivity of the cohort's day and the 60 after it.
    Classic: active on day n; rolling: active on any day from n to 60; both as shares of the cohort. A day is over
    when it is before `today` (UTC); a classic value is null until day n is over, a rolling one until day 60 is.
    """
    cohort = signups(player_changes).filter(pl.col("cohort_date").is_in(list(days)))
    activity = daily_activity.select("player_id", "activity_date")
    day = (pl.col("activity_date") - pl.col("cohort_date")).dt.total_days()
    players = (
        cohort.join(activity, on="player_id", how="left")
        .with_columns(day=pl.when(day <= RETENTION_HORIZON_DAYS).then(day))
        .group_by("cohort_date", "player_id")
        .agg(
            *((pl.col("day") == n).any().alias(f"on_{n}") for n in RETENTION_DAYS),
            *((pl.col("day") >= n).any().alias(f"from_{n}") for n in RETENTION_DAYS),
        )
    )
    cohorts = players.group_by("cohort_date").agg(
        *(pl.col(f"on_{n}", f"from_{n}").sum() for n in RETENTION_DAYS), cohort_size=pl.len()
    )
    metrics = cohorts.with_columns(
        *(_once_over(n, today, pl.col(f"on_{n}")).alias(f"d{n}_players") for n in RETENTION_DAYS),
        *(_once_over(n, today, _share(f"on_{n}")).alias(f"d{n}_retention") for n in RETENTION_DAYS),
        *(
            _once_over(RETENTION_HORIZON_DAYS, today, _share(f"from_{n}")).alias(f"d{n}_rolling_retention")
            for n in RETENTION_DAYS
        ),
    )
    return conform(PlayerRetention, metrics)


def _share(players: str) -> pl.Expr:
    return pl.col(players) / pl.col("cohort_size")


def _once_over(n: int, today: dt.date, value: pl.Expr) -> pl.Expr:
    """The value where the cohort's day n is over, else null."""
    return pl.when(pl.col("cohort_date") < today - dt.timedelta(days=n)).then(value)
