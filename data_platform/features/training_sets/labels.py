"""What a model is to predict: the label of a player on a snapshot day, from what happened after it.
Belongs here: the label's meaning and when it is known. Not here: features, which end where labels begin."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

CHURNED = "churned"
LABELS = (CHURNED,)


@dataclass(frozen=True)
class LabelWindow:
    """The `horizon_days` days after a snapshot day D, beginning `gap_days` later: D+gap+1 to D+gap+horizon.

    A gap is the time one needs to act on a prediction: with a gap of 3, leaving on the next day is no longer foreseen.
    """

    horizon_days: int = 14
    gap_days: int = 0

    @property
    def reach_days(self) -> int:
        """How far after the snapshot day the window ends."""
        return self.gap_days + self.horizon_days

    def first(self, snapshot: dt.date) -> dt.date:
        return snapshot + dt.timedelta(self.gap_days + 1)

    def last(self, snapshot: dt.date) -> dt.date:
        return snapshot + dt.timedelta(self.reach_days)

    def newest_known(self, today: dt.date) -> dt.date:
        """The newest snapshot day whose window had closed before `today` began (UTC)."""
        return today - dt.timedelta(self.reach_days + 1)


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
        .select("player_id", pl.col("stayed").is_null().alias(CHURNED))
    )
