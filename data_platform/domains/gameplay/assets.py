"""How the gameplay tables hang together: names, lineage, one call each.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import partial

import dagster as dg
import polars as pl

from data_platform.core.contract.change_logs import clean_changes, history
from data_platform.core.contract.day_slices import slices
from data_platform.core.contract.table import Severity, Table
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.automation import when_inputs_change
from data_platform.core.orchestration.checks import CheckOutcome
from data_platform.core.orchestration.partitions import as_days
from data_platform.core.orchestration.specs import computed_by, spec_for
from data_platform.core.orchestration.steps import Check, StepRun, step
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
        found |= _by_day(twice.group_by("event_date").agg(pl.col("event_id").n_unique()).collect())
    return {day: CheckOutcome(not ids, {"event_ids": ids}, rows.get(day, 0), ids) for day, ids in found.items()}


EVENTS_BALANCE = Check(
    "raw_equals_clean_plus_duplicates_plus_rejected",
    PlayerEvents,
    "For each day: rows in raw/player_events = clean rows + duplicates + rejected rows.",
    blocking=True,
)
ID_ON_TWO_DATES = Check(
    "event_id_on_one_date_only",
    PlayerEvents,
    f"No event_id of the day occurs on one of the {clean_events.SAME_ID_DAYS} days before it.",
    Severity.WARNING,
    found=_ids_on_two_dates,
)


def _from_raw_events(table: type[Table], computed_with: type[Table] | None = None) -> dg.AssetSpec:
    spec = spec_for(
        table, {"raw": RawPlayerEvents}, computed_with=computed_with, automation_condition=when_inputs_change()
    )
    return computed_by(spec, table, clean_events.clean_events)


@step(
    _from_raw_events(PlayerEvents),
    _from_raw_events(PlayerEventsRejected, computed_with=PlayerEvents),
    name="clean_player_events",
    checks=[EVENTS_BALANCE, ID_ON_TWO_DATES],
)
def clean_player_events(run: StepRun) -> None:
    """Clean events and the rejected ones, from one reading of the raw events."""
    version = run.lake.version(RawPlayerEvents)
    raw_rows = run.lake.rows(RawPlayerEvents, version)
    duplicates: Counter[str] = Counter()

    def clean_days(days: list[dt.date]) -> None:
        rejected_parts: list[pl.DataFrame] = []
        seen: Counter[str] = Counter()
        raw = run.lake.scan(RawPlayerEvents, days[0], days[-1], version).filter(pl.col("event_date").is_in(days))
        rows = sum(raw_rows.get(str(day), 0) for day in days)
        published = run.publish(PlayerEvents, _clean_parts(_parts(raw, rows), rejected_parts, seen), days)
        # A day whose clean events were refused keeps its rejected ones too: the two tables tell of one reading.
        if published:
            parts = (part.filter(pl.col("event_date").is_in(published)) for part in rejected_parts)
            run.publish(PlayerEventsRejected, parts, published)
        duplicates.update(seen)

    run.compute_each(PlayerEvents, {"raw": RawPlayerEvents.days()}, clean_days, WIDE_ROWS)
    clean, rejected = run.publication(PlayerEvents).rows, run.publication(PlayerEventsRejected).rows
    run.found(EVENTS_BALANCE.name, _balance(raw_rows, clean, duplicates, rejected))


def _clean_parts(
    raw_parts: Iterator[pl.DataFrame], rejected: list[pl.DataFrame], duplicates: Counter[str]
) -> Iterator[pl.DataFrame]:
    """Clean events part by part; what is not clean goes into `rejected` and is counted in `duplicates`, by day."""
    for raw in raw_parts:
        result = clean_events.clean_events(raw)
        rejected.append(result.rejected)
        duplicates.update(_by_day(result.duplicates))
        yield result.clean


def _parts(raw: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """The raw events; a day too big for memory comes in parts that never split the copies of one event."""
    parts = -(-rows // WIDE_ROWS)
    if parts <= 1:
        yield raw.collect()
        return
    part = pl.col("event_id").hash() % parts
    for number in range(parts):
        yield raw.filter(part == number).collect()


def _balance(
    raw: Mapping[str, int], clean: Mapping[str, int], duplicates: Mapping[str, int], rejected: Mapping[str, int]
) -> dict[str, CheckOutcome]:
    outcomes = {}
    for day, rows in clean.items():
        counts = {
            "raw": raw.get(day, 0),
            "clean": rows,
            "duplicates": duplicates.get(day, 0),
            "rejected": rejected.get(day, 0),
        }
        balanced = counts["raw"] == counts["clean"] + counts["duplicates"] + counts["rejected"]
        outcomes[day] = CheckOutcome(balanced, counts, counts["raw"])
    return outcomes


def _by_day(counts: pl.DataFrame) -> dict[str, int]:
    return {str(day): count for day, count in counts.iter_rows()}


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
