"""Sessions and daily activity equal the plain-Python oracle on random histories, whatever the order of the rows."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from data_platform.core.contract.table import Table
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity, PlayerSessionDays, PlayerSessions
from data_platform.domains.gameplay.transforms.activity import daily_activity
from data_platform.domains.gameplay.transforms.engagement import EVENT_WEIGHTS
from data_platform.domains.gameplay.transforms.sessions import session_days, whole_sessions
from data_platform_tests.support import oracles

LEAP_DAY = dt.date(2024, 2, 29)
MIDNIGHT = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
DAYS = [LEAP_DAY + dt.timedelta(days=n) for n in range(-2, 4)]
EVENT_SCHEMA = {
    "player_id": pl.String(),
    "event_type": pl.String(),
    "session_id": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
}


def event_frame(events: list[dict[str, Any]]) -> pl.LazyFrame:
    """Events as the clean table gives them, of the columns that sessions and activity read."""
    return pl.DataFrame(events, schema=EVENT_SCHEMA).with_columns(event_date=pl.col("timestamp").dt.date()).lazy()


def by_key(table: type[Table], frame: pl.LazyFrame) -> pl.DataFrame:
    """The result in key order, after checking columns and types against the contract."""
    collected = frame.collect()
    assert dict(collected.schema) == table.schema()
    assert collected.columns == list(table.columns)
    assert not collected.select(table.primary_key).is_duplicated().any()
    return collected.sort(table.primary_key)


def expected(table: type[Table], rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{name: row[name] for name in table.columns} for row in rows], schema=table.schema()).sort(
        table.primary_key
    )


# Moments on a grid around midnight, so that ties, pauses of exactly 30 minutes and crossings are common.
moments = st.one_of(
    st.integers(-10, 10).map(lambda n: MIDNIGHT + n * dt.timedelta(minutes=15)),
    st.builds(
        lambda day, tick, off: MIDNIGHT + dt.timedelta(days=day, minutes=15 * tick, microseconds=off),
        st.integers(-3, 4),
        st.one_of(st.integers(0, 95), st.sampled_from([0, 1, 94, 95])),
        st.sampled_from([0, 0, 1, -1, 499_999]),
    ),
)
events_of = st.lists(
    st.fixed_dictionaries(
        {
            "player_id": st.sampled_from(["ann", "bob"]),
            "event_type": st.sampled_from([*EVENT_WEIGHTS, "logout", "emote"]),
            "session_id": st.sampled_from([None, None, "", "s1", "s2", "derived-1"]),
            "timestamp": moments,
        }
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(events=events_of, seed=st.integers(0, 99))
def test_session_days_equal_the_oracle_in_any_row_order(events: list[dict[str, Any]], seed: int) -> None:
    shuffled = random.Random(seed).sample(events, len(events))
    found = by_key(PlayerSessionDays, session_days(event_frame(events)))
    assert_frame_equal(found, expected(PlayerSessionDays, oracles.session_days(events)))
    assert_frame_equal(found, by_key(PlayerSessionDays, session_days(event_frame(shuffled))))


@settings(max_examples=80, deadline=None)
@given(events=events_of, seed=st.integers(0, 99))
def test_daily_activity_equals_the_oracle_in_any_row_order(events: list[dict[str, Any]], seed: int) -> None:
    shuffled = random.Random(seed).sample(events, len(events))
    found = by_key(PlayerDailyActivity, daily_activity(event_frame(events)))
    assert_frame_equal(found, expected(PlayerDailyActivity, oracles.daily_activity(events)), check_exact=True)
    assert_frame_equal(found, by_key(PlayerDailyActivity, daily_activity(event_frame(shuffled))), check_exact=True)


@settings(max_examples=100, deadline=None)
@given(events=events_of, seed=st.integers(0, 99))
def test_whole_sessions_equal_the_oracle(events: list[dict[str, Any]], seed: int) -> None:
    parts = session_days(event_frame(events)).collect()
    shuffled = parts.sample(fraction=1, shuffle=True, seed=seed)
    found = by_key(PlayerSessions, whole_sessions(shuffled.lazy(), DAYS))
    assert_frame_equal(found, expected(PlayerSessions, oracles.whole_sessions(events, DAYS)))


@settings(max_examples=30, deadline=None)
@given(events=events_of)
def test_one_call_for_many_days_equals_one_call_per_day_with_its_neighbours_alone(events: list[dict[str, Any]]) -> None:
    parts = session_days(event_frame(events)).collect()
    one_by_one = [
        whole_sessions(parts.lazy().filter(abs(pl.col("activity_date") - day) <= dt.timedelta(days=1)), [day])
        for day in DAYS
    ]
    together = by_key(PlayerSessions, whole_sessions(parts.lazy(), DAYS))
    assert_frame_equal(together, by_key(PlayerSessions, pl.concat(one_by_one)), check_exact=True)
    some = [DAYS[0], DAYS[3]]
    apart = by_key(PlayerSessions, whole_sessions(parts.lazy(), some))
    assert_frame_equal(apart, together.filter(pl.col("session_date").is_in(some)), check_exact=True)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def events_at(session_id: str | None, *texts: str) -> list[dict[str, Any]]:
    return [{"player_id": "ann", "event_type": "login", "session_id": session_id, "timestamp": at(t)} for t in texts]


def test_a_pause_of_exactly_thirty_minutes_does_not_cut_a_derived_session() -> None:
    parts = session_days(
        event_frame(events_at(None, "2024-02-29 10:00", "2024-02-29 10:30", "2024-02-29 11:00:00.000001"))
    )
    assert parts.sort("started_at").select("session_id", "events").collect().rows() == [
        ("derived-1709200800000000", 2),
        ("derived-1709204400000001", 1),
    ]


def test_a_client_session_over_three_days_starts_once_and_is_cut_after_the_second() -> None:
    events = events_at("s", "2024-02-28 23:00", "2024-02-29 12:00", "2024-03-01 01:00")
    found = whole_sessions(session_days(event_frame(events)), DAYS).collect()
    assert found.select("session_date", "ended_at", "events").rows() == [
        (dt.date(2024, 2, 28), at("2024-02-29 12:00"), 2)
    ]


def test_a_derived_session_through_a_whole_day_is_cut_the_same_way() -> None:
    steps = [at("2024-02-28 23:45") + n * dt.timedelta(minutes=30) for n in range(60)]
    events = [{"player_id": "ann", "event_type": "login", "session_id": "", "timestamp": t} for t in steps]
    found = whole_sessions(session_days(event_frame(events)), DAYS).collect()
    assert found.select("session_date", "ended_at", "events").rows() == [
        (dt.date(2024, 2, 28), at("2024-02-29 23:45"), 49)
    ]


def test_no_days_and_no_events_give_empty_frames_of_the_contract() -> None:
    parts = session_days(event_frame([]))
    for days in ([], DAYS):
        assert by_key(PlayerSessions, whole_sessions(parts, days)).is_empty()
    assert by_key(PlayerDailyActivity, daily_activity(event_frame([]))).is_empty()
