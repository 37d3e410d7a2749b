"""Churn features equal the plain-Python oracle on random histories, and know nothing of what comes after their day."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.transforms.features import churn_features
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.gameplay.contracts.features import PlayerCampaignFeatures, PlayerEngagementFeatures
from data_platform.domains.gameplay.contracts.registry import CampaignChanges, ParticipantChanges, PlayerChanges
from data_platform.domains.gameplay.transforms.activity import daily_activity
from data_platform.domains.gameplay.transforms.engagement import EVENT_WEIGHTS
from data_platform.domains.gameplay.transforms.features import campaign_features, engagement_features
from data_platform.domains.gameplay.transforms.sessions import session_days
from data_platform_tests.domains.gameplay.test_sessions import by_key, event_frame, expected
from data_platform_tests.support import oracles

LEAP_DAY = dt.date(2024, 2, 29)
FIRST_DAY = LEAP_DAY - dt.timedelta(days=40)
"""Histories run from here to 10 days after the leap day: longer than a window on both sides of it."""
HISTORY_DAYS = 50
PLAYERS = ["ann", "bob", "cid"]
NO_SHOP = PlayerCommerceFeatures.empty().lazy()


@dataclass(frozen=True)
class History:
    """Everything that happened, as raw dicts."""

    events: list[dict[str, Any]]
    players: list[dict[str, Any]]
    participants: list[dict[str, Any]]
    campaigns: list[dict[str, Any]]

    def until(self, last: dt.date) -> History:
        return History(
            [e for e in self.events if e["timestamp"].date() <= last],
            *(
                [c for c in log if c["change_date"] <= last]
                for log in (self.players, self.participants, self.campaigns)
            ),
        )

    def after(self, last: dt.date) -> History:
        return History(
            [e for e in self.events if e["timestamp"].date() > last],
            *([c for c in log if c["change_date"] > last] for log in (self.players, self.participants, self.campaigns)),
        )

    def __add__(self, other: History) -> History:
        return History(
            self.events + other.events,
            _once(self.players + other.players, "player_id"),
            _once(self.participants + other.participants, "campaign_id", "player_id"),
            _once(self.campaigns + other.campaigns, "campaign_id"),
        )


def _once(log: list[dict[str, Any]], *key: str) -> list[dict[str, Any]]:
    """Clean change logs hold one change per entity and moment."""
    return list({(*(c[k] for k in key), c["changed_at"]): c for c in log}.values())


def moment(day: int, minute: int, microsecond: int) -> dt.datetime:
    midnight = dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC)
    return midnight + dt.timedelta(days=day, minutes=minute, microseconds=microsecond)


# Half of all days are near the leap day or at the edges of its window; minutes crowd around midnight and on a grid.
days = st.one_of(st.integers(0, HISTORY_DAYS - 1), st.sampled_from([9, 10, 11, 12, 38, 39, 40, 41]))
minutes = st.one_of(st.integers(0, 1439), st.sampled_from([0, 15, 1410, 1425, 1439]))
moments = st.builds(moment, days, minutes, st.sampled_from([0, 0, 1, 999_999]))
events = st.fixed_dictionaries(
    {
        "player_id": st.sampled_from(PLAYERS),
        "event_type": st.sampled_from([*EVENT_WEIGHTS, "logout"]),
        "session_id": st.sampled_from([None, None, "", "s1", "s2", "s3"]),
        "timestamp": moments,
    }
)


def bursts(event: dict[str, Any], steps: list[int]) -> list[dict[str, Any]]:
    """Some events of one session in a row, so that sessions have a length and cross midnight."""
    found = [event]
    for step in steps:
        found.append({**event, "timestamp": found[-1]["timestamp"] + dt.timedelta(minutes=step)})
    return found


def change(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "change_date": row["changed_at"].date()}


operations = st.sampled_from(["insert", "update", "update", "delete"])
player_changes = st.fixed_dictionaries(
    {"player_id": st.sampled_from([*PLAYERS, "dee"]), "operation": operations, "changed_at": moments}
).map(change)
campaign_changes = st.fixed_dictionaries(
    {
        "campaign_id": st.sampled_from(["c1", "c2", "c3"]),
        "operation": operations,
        "changed_at": moments,
        "theme": st.sampled_from([None, "horror", "heist", "noir"]),
        "difficulty": st.sampled_from([None, 1.0, 2.5, 3.3, 7.1, 0.1]),
    }
).map(change)
participant_changes = st.builds(
    lambda row, ago: change(
        {**row, "last_active": None if ago is None else row["changed_at"] - dt.timedelta(minutes=ago)}
    ),
    st.fixed_dictionaries(
        {
            "campaign_id": st.sampled_from(["c1", "c2", "c3", "c4"]),
            "player_id": st.sampled_from(PLAYERS),
            "operation": operations,
            "changed_at": moments,
            "role": st.sampled_from([None, "tank", "healer", "bard"]),
            "character_level": st.one_of(st.none(), st.integers(1, 60)),
            "experience": st.one_of(st.none(), st.integers(0, 10**6)),
        }
    ),
    st.sampled_from([None, 0, 1, 1440, 1440 * 28, 1440 * 29, 1440 * 30]),
)
histories = st.builds(
    lambda groups, players, participants, campaigns: (
        History([e for group in groups for e in group], [], [], []) + History([], players, participants, campaigns)
    ),
    st.lists(st.builds(bursts, events, st.lists(st.sampled_from([0, 1, 29, 30, 31]), max_size=5)), max_size=12),
    st.lists(player_changes, max_size=6),
    st.lists(participant_changes, max_size=12),
    st.lists(campaign_changes, max_size=6),
)
snapshots = st.sampled_from([LEAP_DAY + dt.timedelta(days=n) for n in (-30, -1, 0, 0, 1, 5, 8)])


def engagement_of(history: History, days: list[dt.date], seed: int | None = None) -> pl.LazyFrame:
    clean = event_frame(history.events)
    parts, activity = session_days(clean).collect(), daily_activity(clean).collect()
    changes = pl.DataFrame(history.players, schema=PlayerChanges.schema())
    if seed is not None:
        parts, activity, changes = (f.sample(fraction=1, shuffle=True, seed=seed) for f in (parts, activity, changes))
    return engagement_features(parts.lazy(), activity.lazy(), changes.lazy(), days)


def campaigns_of(history: History, days: list[dt.date], seed: int | None = None) -> pl.LazyFrame:
    participants = pl.DataFrame(history.participants, schema=ParticipantChanges.schema())
    campaigns = pl.DataFrame(history.campaigns, schema=CampaignChanges.schema())
    if seed is not None:
        participants, campaigns = (f.sample(fraction=1, shuffle=True, seed=seed) for f in (participants, campaigns))
    return campaign_features(participants.lazy(), campaigns.lazy(), days)


def features_of(history: History, days: list[dt.date], seed: int | None = None) -> pl.DataFrame:
    """Churn features by the way the platform takes: daily parts, then both feature tables, then their join."""
    engagement = by_key(PlayerEngagementFeatures, engagement_of(history, days, seed))
    campaigns = by_key(PlayerCampaignFeatures, campaigns_of(history, days, seed))
    return by_key(PlayerChurnFeatures, churn_features(engagement.lazy(), campaigns.lazy(), NO_SHOP))


def oracle_of(history: History, days: list[dt.date]) -> pl.DataFrame:
    rows = oracles.churn_rows(history.events, history.players, history.participants, history.campaigns, days)
    return expected(PlayerChurnFeatures, rows)


@settings(max_examples=100, deadline=None)
@given(history=histories, day=snapshots)
def test_features_of_a_day_equal_the_oracle(history: History, day: dt.date) -> None:
    assert_frame_equal(features_of(history, [day]), oracle_of(history, [day]), rel_tol=1e-9, abs_tol=0)


@settings(max_examples=25, deadline=None)
@given(history=histories, start=snapshots, length=st.integers(2, 4), skip=st.integers(0, 8))
def test_features_of_many_days_equal_the_oracle_and_one_call_per_day(
    history: History, start: dt.date, length: int, skip: int
) -> None:
    days = [start + dt.timedelta(days=n) for n in range(length) if n != skip]
    found = features_of(history, days)
    assert_frame_equal(found, oracle_of(history, days), rel_tol=1e-9, abs_tol=0)
    assert_frame_equal(found, pl.concat(features_of(history, [day]) for day in days), check_exact=True)


@settings(max_examples=30, deadline=None)
@given(history=histories, day=snapshots, seed=st.integers(0, 99))
def test_row_order_does_not_change_a_bit(history: History, day: dt.date, seed: int) -> None:
    days = [day, day + dt.timedelta(days=1)]
    assert_frame_equal(features_of(history, days), features_of(history, days, seed), check_exact=True)


@settings(max_examples=30, deadline=None)
@given(history=histories, other=histories, day=snapshots)
def test_nothing_after_the_day_leaks_into_its_features(history: History, other: History, day: dt.date) -> None:
    truth = features_of(history, [day])
    for future in (other.after(day), history.after(day) + other.after(day)):
        assert_frame_equal(features_of(history.until(day) + future, [day]), truth, check_exact=True)
    assert_frame_equal(features_of(history.until(day), [day]), truth, check_exact=True)


@settings(max_examples=30, deadline=None)
@given(history=histories, day=snapshots)
def test_days_before_the_window_are_not_needed(history: History, day: dt.date) -> None:
    """Event tables and participation of D-29..D suffice, so that the lake need not be read further back."""
    earlier = day - dt.timedelta(days=30)
    recent = History(
        history.after(earlier).events, history.players, history.after(earlier).participants, history.campaigns
    )
    assert_frame_equal(features_of(recent, [day]), features_of(history, [day]), check_exact=True)


def test_many_players_give_the_same_bits_in_any_order_engine_and_number_of_days() -> None:
    """Small frames never show an order-dependent float sum: engines split the work only when there is some."""
    dice = random.Random(7)
    parts, log = [], []
    for player in map(str, range(2_000)):
        for n in range(dice.randrange(1, 9)):
            moment = at("2024-01-28") + dt.timedelta(
                days=dice.randrange(33), microseconds=dice.randrange(86_400_000_000)
            )
            for session_id in (f"s{n}", None)[: 1 + n % 2]:
                later = moment + dt.timedelta(microseconds=dice.randrange(1_800_000_000))
                event = {"player_id": player, "event_type": "login", "session_id": session_id}
                parts += [{**event, "timestamp": moment}, {**event, "timestamp": later}]
            row = {"campaign_id": f"c{dice.randrange(200)}", "player_id": player, "operation": "update"}
            log.append(change({**row, "last_active": moment, "changed_at": moment}))
    created = {"operation": "insert", "changed_at": at("2024-01-01")}
    campaigns = [change({"campaign_id": f"c{n}", **created, "difficulty": dice.random() * 10}) for n in range(200)]
    history = History(parts, [], _once(log, "campaign_id", "player_id"), campaigns)
    days = [LEAP_DAY - dt.timedelta(days=n) for n in range(3)]
    truth = pl.concat(features_of(history, [day]) for day in sorted(days))
    for seed in range(3):
        shuffled = engagement_of(history, days, seed), campaigns_of(history, days, seed)
        for engine in ("streaming", "in-memory"):
            engagement, campaign = (frame.collect(engine=engine) for frame in shuffled)
            found = by_key(PlayerChurnFeatures, churn_features(engagement.lazy(), campaign.lazy(), NO_SHOP))
            assert_frame_equal(found, truth, check_exact=True)


# ------------------------------------------------------------------ one by one
def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def played(session_id: str | None, *texts: str, event_type: str = "login") -> list[dict[str, Any]]:
    return [{"player_id": "ann", "event_type": event_type, "session_id": session_id, "timestamp": at(t)} for t in texts]


def only_row(frame: pl.DataFrame) -> dict[str, Any]:
    assert len(frame) == 1
    return frame.row(0, named=True)


def test_the_window_of_the_leap_day_begins_on_the_last_but_one_day_of_january() -> None:
    events = played(
        "a", "2024-01-30 23:59:59.999999", "2024-01-31 00:00", "2024-02-29 23:59:59.999999", "2024-03-01 00:00"
    )
    row = only_row(features_of(History(events, [], [], []), [LEAP_DAY]))
    assert (row["total_events"], row["unique_days_active"], row["unique_sessions"]) == (2, 2, 1)
    assert row["max_session_duration_minutes"] == pytest.approx(30 * 1440, rel=1e-9)


def test_hours_and_weekend_of_known_days() -> None:
    """2024-02-24 is a Saturday, the 25th a Sunday, the 26th a Monday; hours 3 and 9 tie."""
    events = played("a", "2024-02-24 09:00", "2024-02-25 03:10", "2024-02-26 03:00", "2024-02-26 09:30")
    row = only_row(features_of(History(events, [], [], []), [LEAP_DAY]))
    assert (row["weekend_ratio"], row["most_active_hour"]) == (0.5, 3)


def test_a_known_player_without_events_has_zeros_and_nulls_until_deleted() -> None:
    log = [
        change({"player_id": "ann", "operation": "insert", "changed_at": at("2024-02-01 12:00")}),
        change({"player_id": "ann", "operation": "delete", "changed_at": at("2024-02-29 12:00")}),
        change({"player_id": "ann", "operation": "insert", "changed_at": at("2024-03-02 12:00")}),
    ]
    days = [
        dt.date(2024, 1, 31),
        dt.date(2024, 2, 1),
        dt.date(2024, 2, 28),
        LEAP_DAY,
        dt.date(2024, 3, 1),
        dt.date(2024, 3, 2),
    ]
    found = features_of(History([], log, [], []), days)
    assert found["snapshot_date"].to_list() == [days[1], days[2], days[5]]
    row = found.row(0, named=True)
    assert {name for name, value in row.items() if value is None} == {
        "avg_events_per_session",
        "most_active_hour",
        "avg_session_duration_minutes",
        "max_session_duration_minutes",
        "session_duration_std",
        "days_since_last_order",
        "refund_share",
        "email_open_rate",
        "email_click_rate",
    }
    assert (row["weekend_ratio"], row["preferred_themes"], row["avg_difficulty"]) == (0, "unknown", 0)


def test_a_derived_session_that_begins_before_the_window_is_cut_at_its_start() -> None:
    events = played(None, "2024-01-30 23:40", "2024-01-31 00:05", "2024-01-31 00:25", "2024-01-31 02:00")
    row = only_row(features_of(History(events, [], [], []), [LEAP_DAY]))
    assert (row["unique_sessions"], row["max_session_duration_minutes"]) == (2, 20)
    assert row["session_duration_std"] == pytest.approx(10 * 2**0.5, rel=1e-12)


def test_nearly_equal_sessions_keep_their_tiny_standard_deviation() -> None:
    """Lengths of two days that differ by two microseconds: float sums of squares would lose the difference."""
    events = played("a", "2024-02-10 00:00", "2024-02-12 00:00:00.000002") + played("b", "2024-02-14", "2024-02-16")
    row = only_row(features_of(History(events, [], [], []), [LEAP_DAY]))
    assert row["session_duration_std"] == pytest.approx(2**0.5 / 60_000_000, rel=1e-9)


def test_a_row_has_the_same_bits_alone_and_among_others() -> None:
    """Polars divides one row by a constant in another way than many rows."""
    for n in range(1, 40):
        mine = played("a", "2024-02-10 00:00:00", f"2024-02-10 00:{n:02}:{n:02}.100") + played("b", "2024-02-11 00:00")
        alone = only_row(features_of(History(mine, [], [], []), [LEAP_DAY]))
        others = [{**e, "player_id": "bob"} for e in mine]
        assert features_of(History(mine + others, [], [], []), [LEAP_DAY]).row(0, named=True) == alone


def participation(changed_at: str, last_active: str, campaign_id: str = "c1") -> dict[str, Any]:
    moments = {"changed_at": at(changed_at), "last_active": at(last_active)}
    return change({"campaign_id": campaign_id, "player_id": "ann", "operation": "insert", "role": "bard", **moments})


def version(changed_at: str, operation: str, difficulty: float | None, campaign_id: str = "c1") -> dict[str, Any]:
    moment = {"changed_at": at(changed_at), "operation": operation}
    return change({"campaign_id": campaign_id, "theme": "noir", "difficulty": difficulty, **moment})


def test_a_deleted_campaign_keeps_its_last_difficulty_and_theme() -> None:
    campaigns = [
        version("2024-02-01", "insert", 2.5),
        version("2024-02-02", "update", 3.5),
        version("2024-02-03", "delete", 9.0),
    ]
    history = History([], [], [participation("2024-02-10", "2024-02-10")], campaigns)
    row = only_row(campaigns_of(history, [LEAP_DAY]).collect())
    assert (row["avg_difficulty"], row["preferred_themes"]) == (3.5, "noir")


def test_a_participation_last_active_after_the_day_does_not_count_yet() -> None:
    """A wrong clock may write it; the day must not know."""
    history = History([], [], [participation("2024-02-29", "2024-03-01")], [])
    days = [LEAP_DAY, dt.date(2024, 3, 1)]
    assert campaigns_of(history, days).collect()["snapshot_date"].to_list() == days[1:]


def test_a_difficulty_that_is_no_number_is_left_out_of_the_mean() -> None:
    difficulties = [float("nan"), 1e300, None, 4.0]
    campaigns = [version("2024-02-01", "insert", value, f"c{n}") for n, value in enumerate(difficulties)]
    participants = [participation("2024-02-10", "2024-02-10", f"c{n}") for n in range(4)]
    row = only_row(campaigns_of(History([], [], participants, campaigns), [LEAP_DAY]).collect())
    assert (row["active_campaigns"], row["avg_difficulty"]) == (4, 4)


def test_no_days_give_empty_frames_of_the_contract() -> None:
    history = History(played("a", "2024-02-10 00:00"), [], [], [])
    assert features_of(history, []).is_empty()
    assert features_of(History([], [], [], []), [LEAP_DAY]).is_empty()
