"""Engagement, retention and daily metrics, against plain-Python oracles that loop over players and days.
Not here: campaigns (test_campaign_metrics), but that no metric depends on the order of rows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.domains.gameplay.contracts.activity import (
    CampaignMetrics,
    DailyMetrics,
    PlayerDailyActivity,
    PlayerEngagementMetrics,
    PlayerRetention,
    PlayerSessionDays,
    PlayerSessions,
)
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.registry import CampaignChanges, ParticipantChanges, PlayerChanges
from data_platform.domains.gameplay.transforms.campaign_metrics import campaign_metrics
from data_platform.domains.gameplay.transforms.daily_metrics import daily_metrics
from data_platform.domains.gameplay.transforms.engagement_metrics import engagement_metrics
from data_platform.domains.gameplay.transforms.retention import player_retention, signups
from data_platform_tests.support.metric_rows import (
    FAR,
    TYPES,
    Row,
    agree,
    at,
    change_log,
    day,
    found,
    frame,
    players,
)


# --------------------------------------------------------------------------------------------------------- engagement
@st.composite
def parts_of_sessions(draw: st.DrawFn) -> list[Row]:
    """Daily parts. Derived ones of a player never overlap, are over 30 minutes apart within a day and may, over
    midnight, be exactly 30 minutes apart or less."""
    rows: dict[tuple[Any, ...], Row] = {}
    for _ in range(draw(st.integers(0, 8))):
        n, player = draw(st.integers(0, 16)), draw(players)
        start, length = draw(st.sampled_from([0, 600, 700])), draw(st.sampled_from([0, 5, 50]))
        session = draw(st.sampled_from(["a", "b", "derived-x", "z"]))
        rows[n, player, session, False] = part(
            n, player, session, False, start, start + length, draw(st.integers(1, 5))
        )
    for player in ["p", "q", "r"]:
        for n in draw(st.sets(st.integers(0, 16), max_size=10)):
            for start, end in draw(
                st.sampled_from([[(0, 20), (60, 65)], [(10, 1430)], [(15, 30), (1380, 1425)], [(31, 700)]])
            ):
                name = f"derived-{n:02}-{start:04}"
                rows[n, player, name, True] = part(n, player, name, True, start, end, draw(st.integers(1, 5)))
    return draw(st.permutations(list(rows.values())))


def part(n: int, player: str, session: str, derived: bool, start: float, end: float, events: int) -> Row:
    return {
        "activity_date": day(n),
        "player_id": player,
        "session_id": session,
        "is_derived": derived,
        "started_at": at(n, start),
        "ended_at": at(n, end),
        "events": events,
    }


def activity_of(parts: list[Row]) -> list[Row]:
    rows: dict[tuple[Any, ...], Row] = {}
    for one in parts:
        key = one["activity_date"], one["player_id"]
        row = rows.setdefault(
            key, {"activity_date": key[0], "player_id": key[1], "hourly_events": [], "total_events": 0}
        )
        row["total_events"] += one["events"]
        row["engagement_points"] = float(3 * row["total_events"])
        row["last_event_at"] = max(row.get("last_event_at", one["ended_at"]), one["ended_at"])
        row["first_event_at"] = row["last_event_at"]
    return list(rows.values())


def engagement_oracle(parts: list[Row], activity: list[Row], days: set[int]) -> list[Row]:
    rows = []
    for n in days:
        window = [day(n - back) for back in range(7)]
        for player in sorted({row["player_id"] for row in activity if row["activity_date"] in window}):
            mine = [row for row in activity if row["activity_date"] in window and row["player_id"] == player]
            own = sorted(
                (one for one in parts if one["activity_date"] in window and one["player_id"] == player),
                key=lambda one: one["started_at"],
            )
            sessions: list[Row] = []
            for one in own:
                for session in sessions:
                    same = session["is_derived"] == one["is_derived"] and (
                        one["started_at"] - session["ended_at"] <= dt.timedelta(minutes=30)
                        if one["is_derived"]
                        else session["session_id"] == one["session_id"]
                    )
                    if same:
                        session["ended_at"] = max(session["ended_at"], one["ended_at"])
                        session["events"] += one["events"]
                        break
                else:
                    sessions.append(dict(one))
            latest = max(sessions, key=lambda session: (session["ended_at"], session["session_id"]))
            points = sum(int(row["engagement_points"]) for row in mine)
            rows.append(
                {
                    "metric_date": day(n),
                    "player_id": player,
                    "current_session_actions": latest["events"],
                    "engagement_score": 1000 * points / (points + 500),
                    "events_7d": sum(row["total_events"] for row in mine),
                    "days_active_7d": len(mine),
                    "last_activity_at": max(row["last_event_at"] for row in mine),
                }
            )
    return rows


@settings(max_examples=100, deadline=None)
@given(parts_of_sessions(), st.sets(st.integers(-1, 24), max_size=5) | st.just(set(range(4, 14))))
def test_engagement_metrics(parts: list[Row], days: set[int]) -> None:
    activity = activity_of(parts)
    sessions, active = frame(PlayerSessionDays, parts), frame(PlayerDailyActivity, activity)
    agree(
        PlayerEngagementMetrics,
        lambda wanted: engagement_metrics(sessions, active, wanted),
        days,
        engagement_oracle(parts, activity, days),
    )


def test_of_sessions_that_end_together_the_largest_id_is_latest() -> None:
    """A derived session goes by the id of its first part: here `derived-b`, smaller than the client's `derived-c`."""
    parts = [
        part(0, "p", "derived-b", True, 1400, 1430, 1),
        part(1, "p", "derived-d", True, 10, 50, 2),
        part(1, "p", "derived-c", False, 20, 50, 4),
        part(1, "p", "a", False, 0, 50, 9),
    ]
    metrics = engagement_metrics(
        frame(PlayerSessionDays, parts), frame(PlayerDailyActivity, activity_of(parts)), [day(1)]
    )
    assert metrics.collect()["current_session_actions"].to_list() == [4]


# ---------------------------------------------------------------------------------------------------------- retention
player_logs = change_log({"player_id": players}, ["player_id"], last=20)


@st.composite
def active_days(draw: st.DrawFn) -> list[Row]:
    """Players' days with events, around the edges of windows and horizons more often than elsewhere."""
    edge = st.builds(
        lambda n, step: n + step, st.integers(0, 20), st.sampled_from([0, 1, 6, 7, 29, 30, 31, 59, 60, 61])
    )
    days = draw(st.sets(st.tuples(players, edge | st.integers(0, FAR)), max_size=20))
    rows = [
        {"activity_date": day(n), "player_id": player, "total_events": draw(st.integers(1, 9))} for player, n in days
    ]
    return draw(st.permutations(rows))


def cohort_oracle(log: list[Row]) -> dict[str, dt.date]:
    first: dict[str, Row] = {}
    for row in log:
        known_first = first.get(row["player_id"])
        if row["operation"] == "insert" and (known_first is None or row["changed_at"] < known_first["changed_at"]):
            first[row["player_id"]] = row
    return {player: row["change_date"] for player, row in first.items()}


def retention_oracle(log: list[Row], activity: list[Row], days: set[int], today: dt.date) -> list[Row]:
    rows = []
    for n in days:
        cohort = {player for player, signed_up in cohort_oracle(log).items() if signed_up == day(n)}
        if not cohort:
            continue
        row: Row = {"cohort_date": day(n), "cohort_size": len(cohort)}
        for k in (1, 7, 30):
            on_day = {a["player_id"] for a in activity if a["activity_date"] == day(n + k)} & cohort
            later = {a["player_id"] for a in activity if day(n + k) <= a["activity_date"] <= day(n + 60)} & cohort
            over, all_over = day(n + k) < today, day(n + 60) < today
            row[f"d{k}_players"] = len(on_day) if over else None
            row[f"d{k}_retention"] = len(on_day) / len(cohort) if over else None
            row[f"d{k}_rolling_retention"] = len(later) / len(cohort) if all_over else None
        rows.append(row)
    return rows


@settings(max_examples=100, deadline=None)
@given(
    player_logs, active_days(), st.sets(st.integers(0, 20), min_size=1) | st.just(set(range(21))), st.integers(0, 90)
)
def test_player_retention(log: list[Row], activity: list[Row], days: set[int], today: int) -> None:
    changes, active = frame(PlayerChanges, log), frame(PlayerDailyActivity, activity)
    agree(
        PlayerRetention,
        lambda wanted: player_retention(changes, active, wanted, day(today)),
        days,
        retention_oracle(log, activity, days, day(today)),
    )


def test_a_day_counts_when_it_is_over() -> None:
    log = [{"player_id": "p", "operation": "insert", "changed_at": at(0, 5), "change_date": day(0)}]
    active = frame(PlayerDailyActivity, [{"activity_date": day(1), "player_id": "p"}])
    for today, expected in [(day(1), None), (day(2), 1)]:
        row = player_retention(frame(PlayerChanges, log), active, [day(0)], today).collect()
        assert row["d1_players"].to_list() == [expected]


@pytest.mark.parametrize(("n", "rolling"), [(29, [1, 1, 0]), (30, [1, 1, 1]), (60, [1, 1, 1]), (61, [0, 0, 0])])
def test_rolling_retention_ends_with_day_60(n: int, rolling: list[float]) -> None:
    log = [{"player_id": "p", "operation": "insert", "changed_at": at(0, 5), "change_date": day(0)}]
    active = frame(PlayerDailyActivity, [{"activity_date": day(n), "player_id": "p"}])
    row = player_retention(frame(PlayerChanges, log), active, [day(0)], day(61)).collect().row(0, named=True)
    assert [row[f"d{k}_rolling_retention"] for k in (1, 7, 30)] == rolling


# ------------------------------------------------------------------------------------------------------ daily metrics
session_rows = st.lists(
    st.builds(
        lambda n, player, name, length: {
            "session_date": day(n),
            "player_id": player,
            "session_id": str(name),
            "is_derived": False,
            "started_at": at(n, 0),
            "ended_at": at(n, 0) + dt.timedelta(microseconds=length),
        },
        st.integers(0, 45),
        players,
        st.integers(),
        st.integers(0, 10**11),
    ),
    max_size=12,
)


def daily_oracle(activity: list[Row], sessions: list[Row], log: list[Row], days: set[int]) -> list[Row]:
    rows = []
    for n in days:
        dau, wau, mau = (
            len({a["player_id"] for a in activity if day(n - window + 1) <= a["activity_date"] <= day(n)})
            for window in (1, 7, 30)
        )
        lengths = [
            (s["ended_at"] - s["started_at"]) // dt.timedelta(microseconds=1)
            for s in sessions
            if s["session_date"] == day(n)
        ]
        rows.append(
            {
                "metric_date": day(n),
                "dau": dau,
                "wau": wau,
                "mau": mau,
                "stickiness": dau / mau if mau else None,
                "events": sum(a["total_events"] for a in activity if a["activity_date"] == day(n)),
                "sessions": len(lengths),
                "avg_session_minutes": sum(lengths) / (len(lengths) * 60_000_000) if lengths else None,
                "new_players": sum(signed_up == day(n) for signed_up in cohort_oracle(log).values()),
            }
        )
    return rows


@settings(max_examples=100, deadline=None)
@given(active_days(), session_rows, player_logs, st.sets(st.integers(-2, 80), max_size=8) | st.just(set(range(8))))
def test_daily_metrics(activity: list[Row], sessions: list[Row], log: list[Row], days: set[int]) -> None:
    active, started = frame(PlayerDailyActivity, activity), frame(PlayerSessions, sessions)
    changes = frame(PlayerChanges, log)
    agree(
        DailyMetrics,
        lambda wanted: daily_metrics(active, started, changes, wanted),
        days,
        daily_oracle(activity, sessions, log, days),
    )


# -------------------------------------------------------------------------------------------------------- row order
@pytest.mark.parametrize("seed", range(3))
def test_row_order_does_not_matter(seed: int) -> None:
    """Bit for bit, floats included: long random inputs, shuffled, batches of another size."""
    import random

    source = random.Random(seed)
    parts = {
        (n, player, name): part(
            n, player, name, False, source.random() * 600, 600 + source.random() * 800, source.randint(1, 9)
        )
        for n in range(40)
        for player in "abcdefgh"
        for name in source.sample("stuv", 2)
    }
    rows = list(parts.values())
    events = [
        {
            "event_date": row["activity_date"],
            "event_id": str(n),
            "player_id": row["player_id"],
            "campaign_id": source.choice("cd"),
            "event_type": source.choice(TYPES),
            "session_id": row["session_id"],
            "timestamp": row["started_at"],
        }
        for n, row in enumerate(rows)
    ]
    sessions = [row | {"session_date": row["activity_date"], "duration_minutes": source.random()} for row in rows]
    joined = [
        {
            "player_id": player,
            "campaign_id": source.choice("cd"),
            "operation": "insert",
            "changed_at": at(n, 1),
            "change_date": day(n),
            "status": "active",
            "character_level": source.randint(1, 50),
            "last_active": at(n, 1),
        }
        for n, player in enumerate("abcdefgh")
    ]
    session_columns = list(PlayerSessions.columns)
    inputs = {
        "parts": frame(PlayerSessionDays, rows).collect(),
        "activity": frame(PlayerDailyActivity, activity_of(rows)).collect(),
        "events": frame(PlayerEvents, events).collect(),
        "sessions": frame(
            PlayerSessions, ({k: v for k, v in s.items() if k in session_columns} for s in sessions)
        ).collect(),
        "players": frame(
            PlayerChanges, ({k: v for k, v in j.items() if k in PlayerChanges.columns} for j in joined)
        ).collect(),
        "campaigns": frame(
            CampaignChanges, ({k: joined[0][k] for k in joined[0] if k in CampaignChanges.columns} for _ in "1")
        ).collect(),
        "participants": frame(
            ParticipantChanges, ({k: v for k, v in j.items() if k in ParticipantChanges.columns} for j in joined)
        ).collect(),
    }
    days = [day(n) for n in range(40)]

    def everything(of: dict[str, pl.DataFrame]) -> list[list[tuple[Any, ...]]]:
        lazy = {name: table.lazy() for name, table in of.items()}
        return [
            found(PlayerEngagementMetrics, engagement_metrics(lazy["parts"], lazy["activity"], days)),
            found(CampaignMetrics, campaign_metrics(lazy["events"], lazy["campaigns"], lazy["participants"], days)),
            found(PlayerRetention, player_retention(lazy["players"], lazy["activity"], days, day(200))),
            found(DailyMetrics, daily_metrics(lazy["activity"], lazy["sessions"], lazy["players"], days)),
            sorted(signups(lazy["players"]).collect().rows()),
        ]

    expected = everything(inputs)
    assert all(expected)
    shuffled = {name: table.sample(fraction=1, shuffle=True, seed=seed) for name, table in inputs.items()}
    assert everything(shuffled) == expected
