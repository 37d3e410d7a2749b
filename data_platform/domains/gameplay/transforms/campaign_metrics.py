"""What happened in each campaign on a day, and who takes part.
Not here: what a player's campaigns say of the player (`churn.py`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.core.text import says_something
from data_platform.domains.gameplay.contracts.activity import CampaignMetrics
from data_platform.domains.gameplay.transforms.calendar import days_after
from data_platform.domains.gameplay.transforms.registry import as_of_days

ACTIVE = "active"
UNKNOWN_STATUS = "unknown"
PARTICIPATION_DAYS = 30
SOCIAL_EVENTS = ("party_join", "message_sent", "trade_completed")

COUNTS = ("events", "active_players", "sessions", "combats", "social_interactions", "level_ups", "participants_30d")
"""Columns where nothing happened means zero."""


def campaign_metrics(
    events: pl.LazyFrame, campaign_changes: pl.LazyFrame, participant_changes: pl.LazyFrame, days: Sequence[dt.date]
) -> pl.LazyFrame:
    """CampaignMetrics: one row per day of `days` and campaign that was `active` at its end or had an event on it.

    In: PlayerEvents of D, CampaignChanges of all days ≤ D, ParticipantChanges of D-29..D. Events outside a campaign
    do not count. Participants are those whose `last_active` lies in the 30 days ending with D.
    """
    on = ["metric_date", "campaign_id"]
    known = as_of_days(
        campaign_changes.select("change_date", "changed_at", "operation", "campaign_id", "status"),
        days,
        ["campaign_id"],
    ).select("campaign_id", "status", metric_date="snapshot_date")
    metrics = (
        known.join(_played(events, days), on=on, how="full", coalesce=True)
        .filter((pl.col("status") == ACTIVE).fill_null(False) | pl.col("events").is_not_null())
        .join(_participants(participant_changes, days), on=on, how="left")
        .with_columns(pl.col("status").fill_null(UNKNOWN_STATUS), pl.col(COUNTS).fill_null(0))
    )
    return conform(CampaignMetrics, metrics)


def _played(events: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    """One row per day and campaign with an event. A blank text is no campaign and no session."""
    event_type, session = pl.col("event_type"), pl.col("session_id")
    return (
        events.filter(pl.col("event_date").is_in(list(days)), says_something("campaign_id"))
        .group_by("campaign_id", metric_date="event_date")
        .agg(
            events=pl.len(),
            active_players=pl.col("player_id").n_unique(),
            sessions=session.filter(says_something("session_id")).n_unique(),
            combats=(event_type == "combat_start").sum(),
            social_interactions=event_type.is_in(SOCIAL_EVENTS).sum(),
            level_ups=(event_type == "level_up").sum(),
            last_event_at=pl.col("timestamp").max(),
        )
    )


def _participants(participant_changes: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    """One row per day and campaign with a participant as known at the end of the day and last active in the window."""
    needed = ("change_date", "changed_at", "operation", "campaign_id", "player_id", "character_level", "last_active")
    key = ["campaign_id", "player_id"]
    known = as_of_days(participant_changes.select(needed), days, key, window=PARTICIPATION_DAYS)
    first = days_after(pl.col("snapshot_date"), 1 - PARTICIPATION_DAYS)
    return (
        known.filter(pl.col("last_active").dt.date().is_between(first, "snapshot_date"))
        .group_by("campaign_id", metric_date="snapshot_date")
        .agg(participants_30d=pl.len(), avg_character_level=pl.col("character_level").mean())
    )
