"""Contracts of what is computed from clean events and change logs: sessions, activity, campaigns, retention.
Not here: features for models."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.table import Personal, Rule, Severity, Table, TableRule, column, within
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.registry import CampaignChanges, ParticipantChanges, PlayerChanges
from data_platform.domains.gameplay.contracts.rules import campaigns_without_metrics, miscounted_days

OWNER = "team:gameplay"
DAILY = within(hours=26, warn=dt.timedelta(hours=3))
HOURLY = within(hours=2, warn=dt.timedelta(hours=1))
MINUTES_PER_DAY = 24 * 60
RETENTION_HORIZON_DAYS = 60


class PlayerSessionDays(Table):
    """Daily parts of sessions: one row per player, session and UTC day. Events without a session id are cut into
    sessions wherever the player paused for more than 30 minutes."""

    key = "gameplay/player_session_days"
    partition = "activity_date"
    primary_key = ("activity_date", "player_id", "session_id", "is_derived")
    owner = OWNER
    fresh = DAILY
    row_rules = (Rule("ends_after_start", "ended_at ≥ started_at", pl.col("ended_at") >= pl.col("started_at")),)

    activity_date: dt.date = column("UTC day of the events.", derived_from=[PlayerEvents.event_date])
    player_id: str = column("Who played.", personal=Personal.PSEUDONYM, min_length=1)
    session_id: str = column(
        "The client's id, or the derived one: `derived-` and the microsecond of its first event.", min_length=1
    )
    is_derived: bool = column("True where the client sent no session id.", derived_from=[PlayerEvents.session_id])
    started_at: dt.datetime = column("First event of the session on this day.", derived_from=[PlayerEvents.timestamp])
    ended_at: dt.datetime = column("Last event of the session on this day.", derived_from=[PlayerEvents.timestamp])
    events: int = column(
        "Events of the session on this day.", unit="events", ge=1, derived_from=[PlayerEvents.event_id]
    )


class PlayerSessions(Table):
    """One row per play session, filed under the UTC day it started; a session that crosses midnight appears once.
    A session id still in use on the second day after its start is cut at the end of the first day after it."""

    key = "gameplay/player_sessions"
    partition = "session_date"
    primary_key = ("session_date", "player_id", "session_id", "is_derived")
    owner = OWNER
    fresh = DAILY

    session_date: dt.date = column("UTC day the session started.", derived_from=[PlayerSessionDays.activity_date])
    player_id: str = column("Who played.", personal=Personal.PSEUDONYM, min_length=1)
    session_id: str = column("The client's id, or the derived one of its first part.", min_length=1)
    is_derived: bool = column("True where the client sent no session id.")
    started_at: dt.datetime = column("First event of the session.")
    ended_at: dt.datetime = column("Last event of the session.")
    duration_minutes: float = column(
        "Last minus first event.",
        unit="min",
        ge=0,
        le=MINUTES_PER_DAY,
        severity=Severity.WARNING,
        derived_from=[PlayerSessionDays.started_at, PlayerSessionDays.ended_at],
    )
    events: int = column("Events of the session.", unit="events", ge=1)


class PlayerDailyActivity(Table):
    """One row per player and UTC day with an event: the daily part from which all rolling measures are summed."""

    key = "gameplay/player_daily_activity"
    partition = "activity_date"
    primary_key = ("activity_date", "player_id")
    owner = OWNER
    fresh = DAILY
    table_rules = (
        TableRule(
            "counts_every_clean_event",
            "the sum of total_events is the number of clean events of the day",
            miscounted_days,
            {"events": PlayerEvents.days()},
            Severity.ERROR,
        ),
    )

    activity_date: dt.date = column("UTC day.", derived_from=[PlayerEvents.event_date])
    player_id: str = column("Who played.", personal=Personal.PSEUDONYM, min_length=1)
    total_events: int = column("Events of the day.", unit="events", ge=1, derived_from=[PlayerEvents.event_id])
    combat_start_count: int = column("Combats started.", unit="events", ge=0, derived_from=[PlayerEvents.event_type])
    spell_cast_count: int = column("Spells cast.", unit="events", ge=0, derived_from=[PlayerEvents.event_type])
    dialogue_choice_count: int = column(
        "Dialogue choices made.", unit="events", ge=0, derived_from=[PlayerEvents.event_type]
    )
    item_acquired_count: int = column("Items acquired.", unit="events", ge=0, derived_from=[PlayerEvents.event_type])
    level_up_count: int = column("Levels gained.", unit="events", ge=0, derived_from=[PlayerEvents.event_type])
    party_join_count: int = column("Parties joined.", unit="events", ge=0, derived_from=[PlayerEvents.event_type])
    message_sent_count: int = column("Messages sent.", unit="events", ge=0, derived_from=[PlayerEvents.event_type])
    trade_completed_count: int = column(
        "Trades completed.", unit="events", ge=0, derived_from=[PlayerEvents.event_type]
    )
    engagement_points: float = column(
        "Sum of the event weights in `transforms/engagement.py`.",
        unit="points",
        ge=0,
        derived_from=[PlayerEvents.event_type],
    )
    hourly_events: list[int] = column(
        "Events in each UTC hour: 24 counts.", unit="events", derived_from=[PlayerEvents.timestamp]
    )
    first_event_at: dt.datetime = column("First event of the day.", derived_from=[PlayerEvents.timestamp])
    last_event_at: dt.datetime = column("Last event of the day.", derived_from=[PlayerEvents.timestamp])


class PlayerEngagementMetrics(Table):
    """How engaged each player is at the end of a day (today: so far): one row per player with an event in the last
    7 days."""

    key = "gameplay/player_engagement_metrics"
    partition = "metric_date"
    primary_key = ("metric_date", "player_id")
    owner = OWNER
    fresh = HOURLY

    metric_date: dt.date = column("UTC day.", derived_from=[PlayerDailyActivity.activity_date])
    player_id: str = column("Who played.", personal=Personal.PSEUDONYM, min_length=1)
    current_session_actions: int = column(
        "Events of the player's latest session.",
        unit="events",
        ge=0,
        le=10_000,
        severity=Severity.WARNING,
        derived_from=[PlayerSessionDays.events],
    )
    engagement_score: float = column(
        "0 to 1000: 1000 × points / (points + 500), points being the last 7 days' event weights.",
        unit="points",
        ge=0,
        le=1000,
        severity=Severity.WARNING,
        derived_from=[PlayerDailyActivity.engagement_points],
    )
    events_7d: int = column(
        "Events of the last 7 days.", unit="events", ge=1, derived_from=[PlayerDailyActivity.total_events]
    )
    days_active_7d: int = column(
        "Days with an event among the last 7.",
        unit="days",
        ge=1,
        le=7,
        derived_from=[PlayerDailyActivity.activity_date],
    )
    last_activity_at: dt.datetime = column("Newest event.", derived_from=[PlayerDailyActivity.last_event_at])


class CampaignMetrics(Table):
    """What happened in each campaign on a day (today: so far). One row per campaign that was active or had an event."""

    key = "gameplay/campaign_metrics"
    partition = "metric_date"
    primary_key = ("metric_date", "campaign_id")
    owner = OWNER
    fresh = HOURLY
    table_rules = (
        TableRule(
            "every_active_campaign_has_metrics",
            "every campaign with an event on the day has a row",
            campaigns_without_metrics,
            {"events": PlayerEvents.days()},
        ),
    )

    metric_date: dt.date = column("UTC day.", derived_from=[PlayerEvents.event_date])
    campaign_id: str = column(
        "The campaign.", min_length=1, derived_from=[PlayerEvents.campaign_id, CampaignChanges.campaign_id]
    )
    status: str = column(
        "Status as known at the end of the day; `unknown` for a campaign nobody announced.",
        derived_from=[CampaignChanges.status],
    )
    events: int = column("Events in the campaign.", unit="events", ge=0, derived_from=[PlayerEvents.event_id])
    active_players: int = column(
        "Players with an event in the campaign.", unit="players", ge=0, derived_from=[PlayerEvents.player_id]
    )
    sessions: int = column(
        "Distinct client session ids with an event in the campaign.",
        unit="sessions",
        ge=0,
        derived_from=[PlayerEvents.session_id],
    )
    combats: int = column("`combat_start` events.", unit="events", ge=0, derived_from=[PlayerEvents.event_type])
    social_interactions: int = column(
        "`party_join`, `message_sent` and `trade_completed` events.",
        unit="events",
        ge=0,
        derived_from=[PlayerEvents.event_type],
    )
    level_ups: int = column("`level_up` events.", unit="events", ge=0, derived_from=[PlayerEvents.event_type])
    participants_30d: int = column(
        "Participants last active in the 30 days ending with this day.",
        unit="players",
        ge=0,
        derived_from=[ParticipantChanges.player_id, ParticipantChanges.last_active],
    )
    avg_character_level: float | None = column(
        "Mean level of those participants; null without any.",
        unit="level",
        derived_from=[ParticipantChanges.character_level],
    )
    last_event_at: dt.datetime | None = column(
        "Newest event of the day; null without any.", derived_from=[PlayerEvents.timestamp]
    )


class PlayerRetention(Table):
    """Retention of the players who signed up on a day, that is, whose first insert is of that day. Classic Dn: active
    on day n exactly; rolling Dn: active on any day from n to 60. Null while day n (classic) or day 60 (rolling) is not
    over."""

    key = "gameplay/player_retention"
    profiled = False  # a cohort's numbers grow for 60 days: its newest days always look unusual
    partition = "cohort_date"
    primary_key = ("cohort_date",)
    owner = OWNER

    cohort_date: dt.date = column(
        "UTC day of the player's first insert.", derived_from=[PlayerChanges.changed_at, PlayerChanges.operation]
    )
    cohort_size: int = column("Players who signed up.", unit="players", ge=1, derived_from=[PlayerChanges.player_id])
    d1_players: int | None = column(
        "Active on day 1.", unit="players", ge=0, derived_from=[PlayerDailyActivity.player_id]
    )
    d7_players: int | None = column(
        "Active on day 7.", unit="players", ge=0, derived_from=[PlayerDailyActivity.player_id]
    )
    d30_players: int | None = column(
        "Active on day 30.", unit="players", ge=0, derived_from=[PlayerDailyActivity.player_id]
    )
    d1_retention: float | None = column(
        "Share of the cohort active on day 1.", ge=0, le=1, derived_from=[PlayerDailyActivity.player_id]
    )
    d7_retention: float | None = column(
        "Share of the cohort active on day 7.", ge=0, le=1, derived_from=[PlayerDailyActivity.player_id]
    )
    d30_retention: float | None = column(
        "Share of the cohort active on day 30.", ge=0, le=1, derived_from=[PlayerDailyActivity.player_id]
    )
    d1_rolling_retention: float | None = column(
        "Share active on any day from 1 to 60.", ge=0, le=1, derived_from=[PlayerDailyActivity.player_id]
    )
    d7_rolling_retention: float | None = column(
        "Share active on any day from 7 to 60.", ge=0, le=1, derived_from=[PlayerDailyActivity.player_id]
    )
    d30_rolling_retention: float | None = column(
        "Share active on any day from 30 to 60.", ge=0, le=1, derived_from=[PlayerDailyActivity.player_id]
    )


class DailyMetrics(Table):
    """The game's day in one row."""

    key = "gameplay/daily_metrics"
    partition = "metric_date"
    primary_key = ("metric_date",)
    owner = OWNER
    fresh = DAILY
    row_rules = (
        Rule(
            "dau_wau_mau_nested",
            "DAU ≤ WAU ≤ MAU",
            (pl.col("dau") <= pl.col("wau")) & (pl.col("wau") <= pl.col("mau")),
        ),
    )

    metric_date: dt.date = column("UTC day.", derived_from=[PlayerDailyActivity.activity_date])
    dau: int = column(
        "Players with an event on the day.", unit="players", ge=0, derived_from=[PlayerDailyActivity.player_id]
    )
    wau: int = column(
        "Players with an event in the 7 days ending with it.",
        unit="players",
        ge=0,
        derived_from=[PlayerDailyActivity.player_id],
    )
    mau: int = column(
        "Players with an event in the 30 days ending with it.",
        unit="players",
        ge=0,
        derived_from=[PlayerDailyActivity.player_id],
    )
    stickiness: float | None = column(
        "DAU / MAU; null without players.", ge=0, le=1, derived_from=[PlayerDailyActivity.player_id]
    )
    events: int = column(
        "Clean events of the day.", unit="events", ge=0, derived_from=[PlayerDailyActivity.total_events]
    )
    sessions: int = column(
        "Sessions that started on the day.", unit="sessions", ge=0, derived_from=[PlayerSessions.session_id]
    )
    avg_session_minutes: float | None = column(
        "Mean length of those sessions.", unit="min", derived_from=[PlayerSessions.duration_minutes]
    )
    new_players: int = column(
        "Players whose first insert is of the day.", unit="players", ge=0, derived_from=[PlayerChanges.operation]
    )
