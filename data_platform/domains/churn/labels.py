"""What churn means: the label of a player on a snapshot day, from what happened after it.
Not here: when a label is known (features/training_sets/labels), features, which end where labels begin."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.features.training_sets.labels import Label, LabelWindow


def churned(
    snapshot: dt.date, players: pl.LazyFrame, daily_activity: pl.LazyFrame, window: LabelWindow
) -> pl.LazyFrame:
    """The players of one snapshot day with `churned`: no event on any day of the label window.

    In: `players` with player_id, once each; PlayerDailyActivity (activity_date, player_id), of which only the days of
    the window are read. Out: player_id, churned (bool), one row per player.
    """
    in_window = pl.col("activity_date").is_between(window.first(snapshot), window.last(snapshot))
    seen = daily_activity.filter(in_window).select("player_id").unique()
    return (
        players.select("player_id")
        .join(seen.with_columns(stayed=True), on="player_id", how="left")
        .select("player_id", pl.col("stayed").is_null().alias(CHURNED.name))
    )


CHURNED = Label("churned", PlayerDailyActivity, churned)
