"""How the gameplay tables hang together: names, lineage, one call each.
Not here: what a table is (contracts) or what it computes (transforms)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.table import Severity
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.assets import Publication, asset_for, computed_by, report, spec_for
from data_platform.core.orchestration.attempts import each_day_it_can
from data_platform.core.orchestration.automation import (
    only_transient_faults_retried,
    retry_transient_faults,
    when_inputs_change,
)
from data_platform.core.orchestration.checks import (
    CheckOutcome,
    asset_key,
    check_specs,
    record_outcomes,
    record_outcomes_in_ledger,
)
from data_platform.core.orchestration.chosen_days import CONFIG, run_slices
from data_platform.core.orchestration.io_manager import LakeResource
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
from data_platform.domains.gameplay.transforms import (
    activity,
    campaign_metrics,
    clean_events,
    control_totals,
    daily_metrics,
    engagement_metrics,
    features,
    registry,
    retention,
    sessions,
)

WINDOW_START = 1 - WINDOW_DAYS
WIDE_ROWS = 1_500_000
"""Most events held at a time with all their columns: about 0.5 KB each."""
NARROW_ROWS = 10_000_000
"""Most events of which the ids are held at a time, besides those of the week before: 8 bytes each."""
EVENTS_BALANCE = "raw_equals_clean_plus_duplicates_plus_rejected"
ID_ON_TWO_DATES = "event_id_on_one_date_only"


def _clean_event_checks() -> list[dg.AssetCheckSpec]:
    key, daily = asset_key(PlayerEvents), check_specs(PlayerEvents)[0].partitions_def
    return [
        *check_specs(PlayerEvents),
        *check_specs(PlayerEventsRejected),
        dg.AssetCheckSpec(
            EVENTS_BALANCE,
            asset=key,
            blocking=True,
            partitions_def=daily,
            description="For each day: rows in raw/player_events = clean rows + duplicates + rejected rows.",
        ),
        dg.AssetCheckSpec(
            ID_ON_TWO_DATES,
            asset=key,
            partitions_def=daily,
            description=f"No event_id of the day occurs on one of the {clean_events.SAME_ID_DAYS} days before it.",
        ),
    ]


@dg.multi_asset(
    name="clean_player_events",
    specs=[
        computed_by(
            spec_for(PlayerEvents, {"raw": RawPlayerEvents}, automation_condition=when_inputs_change()),
            PlayerEvents,
            clean_events.clean_events,
        ),
        computed_by(
            spec_for(
                PlayerEventsRejected,
                {"raw": RawPlayerEvents},
                computed_with=PlayerEvents,
                automation_condition=when_inputs_change(),
            ),
            PlayerEventsRejected,
            clean_events.clean_events,
        ),
    ],
    check_specs=_clean_event_checks(),
    config_schema=CONFIG,
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=retry_transient_faults(),
)
def clean_player_events(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
    """Clean events and the rejected ones, from one reading of the raw events."""
    with only_transient_faults_retried():
        store = lake.lake()
        clean, rejected = Publication(PlayerEvents), Publication(PlayerEventsRejected)
        version = store.version(RawPlayerEvents)
        raw_rows = dict(store.partitions(RawPlayerEvents, version).select("partition", "rows").iter_rows())
        duplicates: Counter[str] = Counter()

        def clean_days(days: list[dt.date]) -> None:
            rejected_parts: list[pl.DataFrame] = []
            seen: Counter[str] = Counter()
            raw = store.scan(RawPlayerEvents, days[0], days[-1], version).filter(pl.col("event_date").is_in(days))
            rows = sum(raw_rows.get(str(day), 0) for day in days)
            clean_parts = _clean_parts(_parts(raw, rows), rejected_parts, seen)
            clean.publish(store, clean_parts, days, context.run.run_id)
            # A day whose clean events were refused keeps its rejected ones too: the two tables tell of one reading.
            published = [day for day in days if str(day) in clean.rows]
            if published:
                parts = (part.filter(pl.col("event_date").is_in(published)) for part in rejected_parts)
                rejected.publish(store, parts, published, context.run.run_id)
            duplicates.update(seen)

        slices = run_slices(context, PlayerEvents, {"raw": RawPlayerEvents.days()}, store, WIDE_ROWS)
        clean.failed = each_day_it_can(slices, clean_days)
        on_two_dates: dict[str, int] = {}
        for days in run_slices(context, PlayerEvents, {"events": PlayerEvents.days()}, store, NARROW_ROWS):
            on_two_dates |= _ids_on_two_dates(store, days)
        specs = {spec.name: spec for spec in _clean_event_checks()}
        balance = _balance(raw_rows, clean.rows, duplicates, rejected.rows)
        seen_twice = {
            day: CheckOutcome(not found, {"event_ids": found}, clean.rows.get(day, 0), found)
            for day, found in on_two_dates.items()
        }
        record_outcomes_in_ledger(context, store, PlayerEvents, EVENTS_BALANCE, Severity.ERROR, balance)
        record_outcomes_in_ledger(context, store, PlayerEvents, ID_ON_TWO_DATES, Severity.WARNING, seen_twice)
        yield from report(context, rejected, store)
        yield from report(context, clean, store)
        yield from record_outcomes(context, PlayerEvents, specs[EVENTS_BALANCE], Severity.ERROR, balance)
        yield from record_outcomes(context, PlayerEvents, specs[ID_ON_TWO_DATES], Severity.WARNING, seen_twice)


def _clean_parts(
    raw_parts: Iterator[pl.DataFrame], rejected: list[pl.DataFrame], duplicates: Counter[str]
) -> Iterator[pl.DataFrame]:
    """Clean events part by part; what is not clean goes into `rejected` and is counted in `duplicates`, by day."""
    for raw in raw_parts:
        result = clean_events.clean_events(raw)
        rejected.append(result.rejected)
        duplicates.update({str(day): count for day, count in result.duplicates.iter_rows()})
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
        told = {
            "raw": raw.get(day, 0),
            "clean": rows,
            "duplicates": duplicates.get(day, 0),
            "rejected": rejected.get(day, 0),
        }
        balanced = told["raw"] == told["clean"] + told["duplicates"] + told["rejected"]
        outcomes[day] = CheckOutcome(balanced, told, told["raw"])
    return outcomes


def _ids_on_two_dates(store: Lake, days: list[dt.date]) -> dict[str, int]:
    """How many event_ids of each day occur on an earlier date too."""
    lookback = dt.timedelta(clean_events.SAME_ID_DAYS)
    events = store.scan(PlayerEvents, days[0] - lookback, days[-1])
    found = (
        clean_events.ids_on_two_dates(events, days).group_by("event_date").agg(pl.col("event_id").n_unique()).collect()
    )
    return dict.fromkeys((str(day) for day in days), 0) | {str(day): count for day, count in found.iter_rows()}


@asset_for(PlayerEventTotals, events=PlayerEvents, totals=RawEventTotals)
def player_event_totals(events: pl.LazyFrame, totals: pl.LazyFrame) -> pl.LazyFrame:
    return control_totals.event_totals(events, totals)


@asset_for(PlayerChanges, raw=RawPlayerChanges)
def player_changes(raw: pl.LazyFrame) -> pl.LazyFrame:
    return registry.clean_changes(raw, PlayerChanges)


@asset_for(CampaignChanges, raw=RawCampaignChanges)
def campaign_changes(raw: pl.LazyFrame) -> pl.LazyFrame:
    return registry.clean_changes(raw, CampaignChanges)


@asset_for(ParticipantChanges, raw=RawParticipantChanges)
def campaign_participant_changes(raw: pl.LazyFrame) -> pl.LazyFrame:
    return registry.clean_changes(raw, ParticipantChanges)


@asset_for(Players, changes=PlayerChanges)
def players(changes: pl.LazyFrame) -> pl.LazyFrame:
    return registry.history(changes, Players)


@asset_for(Campaigns, changes=CampaignChanges)
def campaigns(changes: pl.LazyFrame) -> pl.LazyFrame:
    return registry.history(changes, Campaigns)


@asset_for(CampaignParticipants, changes=ParticipantChanges)
def campaign_participants(changes: pl.LazyFrame) -> pl.LazyFrame:
    return registry.history(changes, CampaignParticipants)


@asset_for(PlayerSessionDays, events=PlayerEvents)
def player_session_days(events: pl.LazyFrame) -> pl.LazyFrame:
    return sessions.session_days(events)


@asset_for(PlayerSessions, session_days=PlayerSessionDays.days(-1, +1))
def player_sessions(session_days: pl.LazyFrame, days: list[dt.date]) -> pl.LazyFrame:
    return sessions.whole_sessions(session_days, days)


@asset_for(PlayerDailyActivity, events=PlayerEvents)
def player_daily_activity(events: pl.LazyFrame) -> pl.LazyFrame:
    return activity.daily_activity(events)


@asset_for(
    PlayerEngagementMetrics, session_days=PlayerSessionDays.days(-6, 0), daily_activity=PlayerDailyActivity.days(-6, 0)
)
def player_engagement_metrics(
    session_days: pl.LazyFrame, daily_activity: pl.LazyFrame, days: list[dt.date]
) -> pl.LazyFrame:
    return engagement_metrics.engagement_metrics(session_days, daily_activity, days)


@asset_for(
    CampaignMetrics,
    events=PlayerEvents,
    changes=CampaignChanges.until(),
    participants=ParticipantChanges.days(WINDOW_START, 0),
)
def campaign_metrics_(
    events: pl.LazyFrame, changes: pl.LazyFrame, participants: pl.LazyFrame, days: list[dt.date]
) -> pl.LazyFrame:
    return campaign_metrics.campaign_metrics(events, changes, participants, days)


@asset_for(
    PlayerRetention, changes=PlayerChanges.until(), daily_activity=PlayerDailyActivity.days(0, RETENTION_HORIZON_DAYS)
)
def player_retention(
    changes: pl.LazyFrame, daily_activity: pl.LazyFrame, days: list[dt.date], today: dt.date
) -> pl.LazyFrame:
    return retention.player_retention(changes, daily_activity, days, today)


@asset_for(
    DailyMetrics,
    daily_activity=PlayerDailyActivity.days(WINDOW_START, 0),
    started_sessions=PlayerSessions,
    changes=PlayerChanges.until(),
)
def daily_metrics_(
    daily_activity: pl.LazyFrame, started_sessions: pl.LazyFrame, changes: pl.LazyFrame, days: list[dt.date]
) -> pl.LazyFrame:
    return daily_metrics.daily_metrics(daily_activity, started_sessions, changes, days)


@asset_for(
    PlayerEngagementFeatures,
    session_days=PlayerSessionDays.days(WINDOW_START, 0),
    daily_activity=PlayerDailyActivity.days(WINDOW_START, 0),
    changes=PlayerChanges.until(),
)
def player_engagement_features(
    session_days: pl.LazyFrame, daily_activity: pl.LazyFrame, changes: pl.LazyFrame, days: list[dt.date]
) -> pl.LazyFrame:
    return features.engagement_features(session_days, daily_activity, changes, days)


@asset_for(
    PlayerCampaignFeatures, participants=ParticipantChanges.days(WINDOW_START, 0), changes=CampaignChanges.until()
)
def player_campaign_features(participants: pl.LazyFrame, changes: pl.LazyFrame, days: list[dt.date]) -> pl.LazyFrame:
    return features.campaign_features(participants, changes, days)
