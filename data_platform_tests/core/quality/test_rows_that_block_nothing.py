"""Whatever a single line can get wrong rejects that line: what ingestion lets in breaks no error rule of any table it
reaches, and no sum over it wraps. Not here: rules over whole days (test_verdict_ledger, test_control_totals)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_platform.core.contract.change_logs import clean_changes, history
from data_platform.core.contract.table import Column, Severity, Table
from data_platform.core.quality.validation import judge
from data_platform.domains.gameplay import sources
from data_platform.domains.gameplay.contracts import activity as counted
from data_platform.domains.gameplay.contracts import events, features, registry, windows
from data_platform.domains.gameplay.transforms import (
    activity,
    campaign_metrics,
    clean_events,
    control_totals,
    daily_metrics,
    engagement_metrics,
    event_windows,
    retention,
    sessions,
)
from data_platform.domains.gameplay.transforms import features as known
from data_platform.sources.compressed_lines import LineChunk
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.line_parser import LineParser, Received

FIRST_DAY = dt.date(2024, 1, 1)
DAYS = [FIRST_DAY + dt.timedelta(n) for n in range(3)]
NOW = dt.datetime(2024, 1, 4, tzinfo=dt.UTC)
ODD = ["", " ", "\t", "\u00a0", "\u200b", "\ufeff", "\u00ad\u202e", "\x00", "a\x00b", "é", "p", "\U0001f409", "-1"]
MOMENTS = ["2024-01-02T10:00:00Z", "2024-01-02T10:00:00.000001Z", "2024-01-03T23:59:59.999999Z", "2019-03-01T00:00:00Z",
           "0001-01-01", "9999-12-31T23:59:59Z", "294000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"]  # fmt: skip
NUMBERS = [0, 1, -1, 5, 10**12, -(10**12), 10**12 + 1, 2**53, 2**63 - 1, -(2**63), 2**64, 1.5, 1e300, -1e300, 1e18]
Judged = Iterator[tuple[type[Table], pl.LazyFrame | pl.DataFrame]]


def values(column: Column) -> st.SearchStrategy[Any]:
    """Mostly what the column is for, sometimes anything."""
    usual: list[Any] = MOMENTS[:3] if column.dtype == pl.Datetime("us", "UTC") else ["a", "p", "q"]
    usual = list(column.isin) if column.isin else [{"a": 1}] if column.is_json else usual
    usual = NUMBERS if column.dtype.is_numeric() else usual
    odd: list[Any] = [*ODD, *MOMENTS, *NUMBERS, None, True, {}, {"k": "\x00"}, []]
    return st.sampled_from(usual) | st.sampled_from(usual) | st.sampled_from(usual) | st.sampled_from(odd)


def rows_of(source: LandingSource) -> st.SearchStrategy[list[dict[str, Any]]]:
    fields = {column.name: values(column) for column in source.fields()}
    return st.lists(st.fixed_dictionaries(fields), max_size=40)


def taken_in(source: LandingSource, rows: list[dict[str, Any]]) -> pl.DataFrame:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    parser = LineParser(source, FIRST_DAY, dt.timedelta(minutes=10))
    return parser.parse(LineChunk(1, text.encode()), Received("f", "d", NOW)).rows


def from_events(raw: pl.DataFrame) -> Judged:
    cleaned = clean_events.clean_events(raw)
    clean, nobody = cleaned.clean.lazy(), registry.PlayerChanges.empty().lazy()
    parts, daily = sessions.session_days(clean), activity.daily_activity(clean)
    whole = sessions.whole_sessions(parts, DAYS)
    no_changes = registry.CampaignChanges.empty().lazy(), registry.ParticipantChanges.empty().lazy()
    yield events.PlayerEvents, cleaned.clean
    yield events.PlayerEventsRejected, cleaned.rejected
    yield counted.PlayerSessionDays, parts
    yield counted.PlayerSessions, whole
    yield counted.PlayerDailyActivity, daily
    yield counted.PlayerEngagementMetrics, engagement_metrics.engagement_metrics(parts, daily, DAYS)
    yield counted.CampaignMetrics, campaign_metrics.campaign_metrics(clean, *no_changes, DAYS)
    yield windows.EventWindows, event_windows.event_windows(clean)
    yield counted.DailyMetrics, daily_metrics.daily_metrics(daily, whole, nobody, DAYS)
    yield features.PlayerEngagementFeatures, known.engagement_features(parts, daily, nobody, DAYS)


def from_players(raw: pl.DataFrame) -> Judged:
    log = clean_changes(raw.lazy(), registry.PlayerChanges)
    nothing = counted.PlayerSessionDays.empty().lazy(), counted.PlayerDailyActivity.empty().lazy()
    yield registry.PlayerChanges, log
    yield registry.Players, history(log, registry.Players)
    yield counted.PlayerRetention, retention.player_retention(log, nothing[1], DAYS, NOW.date())
    yield features.PlayerEngagementFeatures, known.engagement_features(*nothing, log, DAYS)


def from_campaigns(raw: pl.DataFrame) -> Judged:
    log = clean_changes(raw.lazy(), registry.CampaignChanges)
    took_part = pl.DataFrame(
        [
            dict.fromkeys(registry.ParticipantChanges.columns) | row | {"player_id": "p", "operation": "insert"}
            for row in raw.select("change_date", "changed_at", "campaign_id", last_active="changed_at").to_dicts()
        ],
        schema=registry.ParticipantChanges.schema(),
    ).lazy()
    yield registry.CampaignChanges, log
    yield registry.Campaigns, history(log, registry.Campaigns)
    yield features.PlayerCampaignFeatures, known.campaign_features(took_part.unique(["campaign_id"]), log, DAYS)


def from_participants(raw: pl.DataFrame) -> Judged:
    log = clean_changes(raw.lazy(), registry.ParticipantChanges)
    no_campaigns = registry.CampaignChanges.empty().lazy()
    yield registry.ParticipantChanges, log
    yield registry.CampaignParticipants, history(log, registry.CampaignParticipants)
    yield features.PlayerCampaignFeatures, known.campaign_features(log, no_campaigns, DAYS)


def from_totals(raw: pl.DataFrame) -> Judged:
    yield events.PlayerEventTotals, control_totals.event_totals(events.PlayerEvents.empty().lazy(), raw.lazy())


@pytest.mark.parametrize(
    ("source", "reached"),
    [
        (sources.PLAYER_EVENTS, from_events),
        (sources.PLAYERS, from_players),
        (sources.CAMPAIGNS, from_campaigns),
        (sources.CAMPAIGN_PARTICIPANTS, from_participants),
        (sources.EVENT_TOTALS, from_totals),
    ],
    ids=lambda value: value.name if isinstance(value, LandingSource) else "",
)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_line_blocks_a_day(
    source: LandingSource, reached: Callable[[pl.DataFrame], Judged], data: st.DataObject
) -> None:
    raw = taken_in(source, data.draw(rows_of(source)))
    assert not judge(source.table, raw, []).blocked(), "what ingestion takes in keeps the raw contract"
    for table, frame in reached(raw):
        rows = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
        broken = [verdict for verdict in judge(table, rows, []).failures if verdict.severity == Severity.ERROR]
        assert not broken, table.key


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**63 - 1, -(2**63)]), min_size=1, max_size=5))
@example([2**63 - 1, 2**63 - 1])
@example([2**63 - 1, -(2**63), 1])
def test_experience_is_added_up_as_python_does_or_not_at_all(experience: list[int]) -> None:
    when = dt.datetime(2024, 1, 2, 10, tzinfo=dt.UTC)
    base = dict.fromkeys(registry.ParticipantChanges.columns) | {"player_id": "p", "operation": "insert"}
    base |= {"change_date": when.date(), "changed_at": when, "last_active": when}
    rows = [base | {"campaign_id": f"c{n}", "experience": points} for n, points in enumerate(experience)]
    log = pl.LazyFrame(rows, schema=registry.ParticipantChanges.schema())
    features = known.campaign_features(log, registry.CampaignChanges.empty().lazy(), [when.date()])
    if -(2**63) <= sum(experience) < 2**63:
        assert features.collect()["total_experience"].to_list() == [sum(experience)]
    else:
        with pytest.raises(pl.exceptions.InvalidOperationError, match="total_experience"):
            features.collect()


def test_difficulties_off_the_scale_have_a_mean() -> None:
    when = dt.datetime(2024, 1, 2, 10, tzinfo=dt.UTC)
    at = {"operation": "insert", "change_date": when.date(), "changed_at": when}
    campaigns = [dict.fromkeys(registry.CampaignChanges.columns) | at | {"campaign_id": f"c{n}", "difficulty": 9e12}
                 for n in range(3)]  # fmt: skip
    people = [dict.fromkeys(registry.ParticipantChanges.columns) | at | {"campaign_id": f"c{n}", "player_id": "p",
              "last_active": when} for n in range(3)]  # fmt: skip
    features = known.campaign_features(
        pl.LazyFrame(people, schema=registry.ParticipantChanges.schema()),
        pl.LazyFrame(campaigns, schema=registry.CampaignChanges.schema()),
        [when.date()],
    )
    assert features.collect()["avg_difficulty"].to_list() == [9e12]


def test_who_came_before_the_first_day_is_not_new_on_it() -> None:
    joined = ["2019-03-01T00:00:00Z", "2023-12-31T23:59:59.999999Z", "2024-01-01T12:00:00Z"]
    rows = [{"player_id": f"p{n}", "operation": "insert", "changed_at": at} for n, at in enumerate(joined)]
    log = clean_changes(taken_in(sources.PLAYERS, rows).lazy(), registry.PlayerChanges)
    activity_of = counted.PlayerDailyActivity.empty().lazy()
    cohorts = retention.player_retention(log, activity_of, DAYS, NOW.date()).collect()
    assert cohorts.select("cohort_date", "cohort_size").rows() == [(FIRST_DAY, 1)]
    day = daily_metrics.daily_metrics(activity_of, counted.PlayerSessions.empty().lazy(), log, DAYS).collect()
    assert day.sort("metric_date")["new_players"].to_list() == [1, 0, 0]
