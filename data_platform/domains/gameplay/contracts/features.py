"""Contracts of gameplay features: what a model may know of a player at the end of a snapshot day, and nothing later.
Meaning of every column: DESIGN §10. Not here: what churn is learnt from (domains/churn), training sets and models."""

from __future__ import annotations

from data_platform.core.contract.table import Personal, Severity, Table, column
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity, PlayerSessionDays
from data_platform.domains.gameplay.contracts.registry import CampaignChanges, ParticipantChanges
from data_platform.domains.gameplay.contracts.snapshots import SnapshotFields


class EngagementFields(Table):
    """What a player did in the window."""

    total_events: int = column("Events in the window.", unit="events", ge=0)
    unique_days_active: int = column(
        "Days with an event.", unit="days", ge=0, le=30, derived_from=[PlayerDailyActivity.activity_date]
    )
    unique_sessions: int = column(
        "Sessions with an event in the window.", unit="sessions", ge=0, derived_from=[PlayerSessionDays.session_id]
    )
    avg_events_per_session: float | None = column(
        "Events / sessions; null without sessions.", unit="events", ge=0, derived_from=[PlayerSessionDays.session_id]
    )
    combat_start_count: int = column("Combats started.", unit="events", ge=0)
    combat_start_ratio: float = column(
        "Combats started / events.", ge=0, le=1, derived_from=[PlayerDailyActivity.combat_start_count]
    )
    spell_cast_count: int = column("Spells cast.", unit="events", ge=0)
    spell_cast_ratio: float = column(
        "Spells cast / events.", ge=0, le=1, derived_from=[PlayerDailyActivity.spell_cast_count]
    )
    dialogue_choice_count: int = column("Dialogue choices made.", unit="events", ge=0)
    dialogue_choice_ratio: float = column(
        "Dialogue choices / events.", ge=0, le=1, derived_from=[PlayerDailyActivity.dialogue_choice_count]
    )
    item_acquired_count: int = column("Items acquired.", unit="events", ge=0)
    item_acquired_ratio: float = column(
        "Items acquired / events.", ge=0, le=1, derived_from=[PlayerDailyActivity.item_acquired_count]
    )
    most_active_hour: int | None = column(
        "UTC hour with the most events, the smallest on a tie; null without events.",
        unit="h",
        ge=0,
        le=23,
        derived_from=[PlayerDailyActivity.hourly_events],
    )
    weekend_ratio: float = column(
        "Share of events on Saturday or Sunday (UTC).", ge=0, le=1, derived_from=[PlayerDailyActivity.activity_date]
    )
    avg_session_duration_minutes: float | None = column(
        "Mean session length inside the window.",
        unit="min",
        ge=0,
        derived_from=[PlayerSessionDays.started_at, PlayerSessionDays.ended_at],
    )
    max_session_duration_minutes: float | None = column(
        "Longest session inside the window.",
        unit="min",
        ge=0,
        derived_from=[PlayerSessionDays.started_at, PlayerSessionDays.ended_at],
    )
    session_duration_std: float | None = column(
        "Sample standard deviation of session lengths; null for fewer than two sessions.",
        unit="min",
        ge=0,
        derived_from=[PlayerSessionDays.started_at, PlayerSessionDays.ended_at],
    )
    level_ups: int = column("Levels gained.", unit="events", ge=0, derived_from=[PlayerDailyActivity.level_up_count])
    social_interactions: int = column(
        "Parties joined, messages sent and trades completed.",
        unit="events",
        ge=0,
        derived_from=[
            PlayerDailyActivity.party_join_count,
            PlayerDailyActivity.message_sent_count,
            PlayerDailyActivity.trade_completed_count,
        ],
    )
    social_ratio: float = column(
        "Social interactions / events.",
        ge=0,
        le=1,
        derived_from=[
            PlayerDailyActivity.party_join_count,
            PlayerDailyActivity.message_sent_count,
            PlayerDailyActivity.trade_completed_count,
        ],
    )


class CampaignFeatureFields(Table):
    """What a player's campaigns look like, of participations last active inside the window."""

    active_campaigns: int = column(
        "Campaigns the player was active in.", unit="campaigns", ge=0, derived_from=[ParticipantChanges.campaign_id]
    )
    avg_difficulty: float = column(
        "Mean difficulty of those campaigns; 0 with none.",
        ge=0,
        severity=Severity.WARNING,
        derived_from=[CampaignChanges.difficulty],
    )
    max_character_level: int = column(
        "Highest character level; 0 with none.",
        unit="level",
        ge=0,
        severity=Severity.WARNING,
        derived_from=[ParticipantChanges.character_level],
    )
    total_experience: int = column(
        "Sum of experience; 0 with none.",
        unit="points",
        ge=0,
        severity=Severity.WARNING,
        derived_from=[ParticipantChanges.experience],
    )
    preferred_themes: str = column(
        "Most frequent theme, the smallest on a tie; `unknown` with none.", derived_from=[CampaignChanges.theme]
    )
    unique_roles: int = column("Distinct roles played.", unit="roles", ge=0, derived_from=[ParticipantChanges.role])
    most_played_role: str = column(
        "Most frequent role, the smallest on a tie; `unknown` with none.", derived_from=[ParticipantChanges.role]
    )


class PlayerEngagementFeatures(SnapshotFields, EngagementFields):
    """What each player did in the 30 days ending with the snapshot day: one row per player with an event in the window
    or registered by the end of the day (then zeros, and nulls where a mean has no meaning)."""

    key = "features/player_engagement_features"


class PlayerCampaignFeatures(SnapshotFields, CampaignFeatureFields):
    """Each player's campaigns as known at the end of the snapshot day: one row per player with a participation last
    active in the window."""

    key = "features/player_campaign_features"

    player_id: str = column(
        "The player.", personal=Personal.PSEUDONYM, min_length=1, derived_from=[ParticipantChanges.player_id]
    )
