"""How the gameplay tables hang together: names, lineage, one call each.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from functools import partial

import polars as pl

from data_platform.core.contract.change_logs import clean_changes, history
from data_platform.core.contract.day_slices import slices
from data_platform.core.contract.table import Severity
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.checks import CheckOutcome
from data_platform.core.orchestration.cleaning import clean_step
from data_platform.core.orchestration.partitions import as_days
from data_platform.core.orchestration.steps import Check
from data_platform.domains.gameplay.contracts.activity import (
    RETENTION_HORIZON_DAYS,
    CampaignMetrics,
    DailyMetrics,
    PlayerDailyActivity,
    PlayerEngagementMetrics,
    PlayerRetention,
    PlayerSessionDays,
    PlayerSessions,
)
from data_platform.domains.gameplay.contracts.events import (
    PlayerEvents,
    PlayerEventsRejected,
    PlayerEventTotals,
    RawEventTotals,
    RawPlayerEvents,
)
from data_platform.domains.gameplay.contracts.features import (
    PlayerCampaignFeatures,
    PlayerEngagementFeatures,
)
from data_platform.domains.gameplay.contracts.registry import (
    CampaignChanges,
    CampaignParticipants,
    Campaigns,
    ParticipantChanges,
    PlayerChanges,
    Players,
    RawCampaignChanges,
    RawParticipantChanges,
    RawPlayerChanges,
)
from data_platform.domains.gameplay.contracts.snapshots import WINDOW_DAYS
from data_platform.domains.gameplay.contracts.windows import EventWindows, LiveComparison, RawLiveWindows
from data_platform.domains.gameplay.transforms import (
    activity,
    campaign_metrics,
    clean_events,
    control_totals,
    daily_metrics,
    engagement_metrics,
    event_windows,
    features,
    live_comparison,
    retention,
    sessions,
)

WINDOW_START = 1 - WINDOW_DAYS
WIDE_ROWS = 1_500_000
"""Most events held at a time with all their columns: about 0.5 KB each."""
NARROW_ROWS = 10_000_000
"""Most events of which the ids are held at a time, besides those of the week before: 8 bytes each."""


def _ids_on_two_dates(lake: Lake, days: Collection[str]) -> dict[str, CheckOutcome]:
    """How many event_ids of each day occur on an earlier date too."""
    found: dict[str, int] = dict.fromkeys(days, 0)
    rows = lake.rows(PlayerEvents)
    for some in slices(as_days(sorted(days)), [(PlayerEvents.days(), rows)], NARROW_ROWS):
        events = lake.scan(PlayerEvents, some[0] - dt.timedelta(clean_events.SAME_ID_DAYS), some[-1])
        twice = clean_events.ids_on_two_dates(events, some)
        ids = twice.group_by("event_date").agg(pl.col("event_id").n_unique()).collect()
        found |= {str(day): count for day, count in ids.iter_rows()}
    return {day: CheckOutcome(not ids, {"event_ids": ids}, rows.get(day, 0), ids) for day, ids in found.items()}


ID_ON_TWO_DATES = Check(
    "event_id_on_one_date_only",
    PlayerEvents,
    f"No event_id of the day occurs on one of the {clean_events.SAME_ID_DAYS} days before it.",
    Severity.WARNING,
    found=_ids_on_two_dates,
)


def _cleaned(raw: pl.LazyFrame, days: list[dt.date], rows: int) -> Iterator[clean_events.CleanedEvents]:
    """Days too big for memory come in parts that never split the copies of one event."""
    of_days, parts = raw.filter(pl.col("event_date").is_in(days)), -(-rows // WIDE_ROWS)
    if parts <= 1:
        yield clean_events.clean_events(of_days.collect())
        return
    part = pl.col("event_id").hash() % parts
    for number in range(parts):
        yield clean_events.clean_events(of_days.filter(part == number).collect())


clean_player_events = clean_step(
    PlayerEvents,
    PlayerEventsRejected,
    RawPlayerEvents.days(),
    _cleaned,
    clean_events.clean_events,
    most_rows=WIDE_ROWS,
    checks=[ID_ON_TWO_DATES],
)

player_event_totals = asset(PlayerEventTotals, control_totals.event_totals, events=PlayerEvents, totals=RawEventTotals)

player_changes = asset(PlayerChanges, partial(clean_changes, contract=PlayerChanges), raw=RawPlayerChanges)
campaign_changes = asset(CampaignChanges, partial(clean_changes, contract=CampaignChanges), raw=RawCampaignChanges)
participant_changes = asset(
    ParticipantChanges, partial(clean_changes, contract=ParticipantChanges), raw=RawParticipantChanges
)
players = asset(Players, partial(history, contract=Players), changes=PlayerChanges)
campaigns = asset(Campaigns, partial(history, contract=Campaigns), changes=CampaignChanges)
campaign_participants = asset(
    CampaignParticipants, partial(history, contract=CampaignParticipants), changes=ParticipantChanges
)

player_session_days = asset(PlayerSessionDays, sessions.session_days, events=PlayerEvents)
player_sessions = asset(PlayerSessions, sessions.whole_sessions, session_days=PlayerSessionDays.days(-1, +1))
player_daily_activity = asset(PlayerDailyActivity, activity.daily_activity, events=PlayerEvents)
player_engagement_metrics = asset(
    PlayerEngagementMetrics,
    engagement_metrics.engagement_metrics,
    session_days=PlayerSessionDays.days(-6, 0),
    daily_activity=PlayerDailyActivity.days(-6, 0),
)
campaign_metrics_by_day = asset(
    CampaignMetrics,
    campaign_metrics.campaign_metrics,
    events=PlayerEvents,
    campaign_changes=CampaignChanges.until(),
    participant_changes=ParticipantChanges.days(WINDOW_START, 0),
)
player_retention = asset(
    PlayerRetention,
    retention.player_retention,
    player_changes=PlayerChanges.until(),
    daily_activity=PlayerDailyActivity.days(0, RETENTION_HORIZON_DAYS),
)
daily_metrics_of_players = asset(
    DailyMetrics,
    daily_metrics.daily_metrics,
    daily_activity=PlayerDailyActivity.days(WINDOW_START, 0),
    sessions=PlayerSessions,
    player_changes=PlayerChanges.until(),
)

windows_of_events = asset(EventWindows, event_windows.event_windows, events=PlayerEvents)

compared_windows = asset(
    LiveComparison, live_comparison.live_comparison, live=RawLiveWindows, event_windows=EventWindows
)

player_engagement_features = asset(
    PlayerEngagementFeatures,
    features.engagement_features,
    session_days=PlayerSessionDays.days(WINDOW_START, 0),
    daily_activity=PlayerDailyActivity.days(WINDOW_START, 0),
    player_changes=PlayerChanges.until(),
)
player_campaign_features = asset(
    PlayerCampaignFeatures,
    features.campaign_features,
    participant_changes=ParticipantChanges.days(WINDOW_START, 0),
    campaign_changes=CampaignChanges.until(),
)
