"""What all feature tables have in common: the snapshot day, the player, the 30-day window.
Also for feature tables of other domains. Not here: any feature."""

from __future__ import annotations

import datetime as dt

from data_platform.core.contract.table import Personal, Table, column, within
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.registry import PlayerChanges

OWNER = "team:gameplay"
WINDOW_DAYS = 30
DAILY = within(hours=26, warn=dt.timedelta(hours=3))


class SnapshotFields(Table):
    """Grain of every feature table: one row per player and snapshot day."""

    partition = "snapshot_date"
    primary_key = ("snapshot_date", "player_id")
    owner = OWNER
    fresh = DAILY
    bitemporal = True
    ttl = dt.timedelta(days=7)

    snapshot_date: dt.date = column(
        "The day whose end the features describe; windows are the 30 days ending with it, UTC."
    )
    player_id: str = column(
        "The player.",
        personal=Personal.PSEUDONYM,
        min_length=1,
        derived_from=[PlayerDailyActivity.player_id, PlayerChanges.player_id],
    )
