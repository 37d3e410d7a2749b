"""Engagement, campaign, retention and daily metrics, against plain-Python oracles that loop over players and days."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.contract.frames import require_schema
from data_platform.core.contract.table import Table
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

Row = dict[str, Any]
START = dt.date(2024, 2, 1)
FAR = 75
"""Days of activity in a drawn history: more than any window here."""


def day(n: int) -> dt.date:
    return START + dt.timedelta(n)


def at(n: int, minutes: float) -> dt.datetime:
    return dt.datetime.combine(day(n), dt.time(), dt.UTC) + dt.timedelta(minutes=minutes)


def frame(contract: type[Table], rows: Iterable[Row]) -> pl.LazyFrame:
    """A frame of the contract; text columns the rows do not name are null, numbers are zero."""
    fill = {name: 0 if dtype.is_numeric() else None for name, dtype in contract.schema().items()}
    return pl.LazyFrame([fill | row for row in rows], schema=contract.schema())


def found(contract: type[Table], lazy: pl.LazyFrame) -> list[tuple[Any, ...]]:
    require_schema(contract, lazy)
    assert lazy.collect_schema().names() == list(contract.columns)
    return sorted(lazy.collect().rows(), key=repr)


def in_words(contract: type[Table], rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[name] for name in contract.columns) for row in rows), key=repr)


def agree(
    contract: type[Table], compute: Callable[[Sequence[dt.date]], pl.LazyFrame], days: set[int], expected: list[Row]
) -> None:
    """The same rows from one call for all days, from a call per day, and from the oracle."""
    wanted = [day(n) for n in days]
    together = found(contract, compute(wanted))
    assert together == in_words(contract, expected)
    one_by_one = [row for each in wanted for row in found(contract, compute([each]))]
    assert together == sorted(one_by_one, key=repr)


players = st.sampled_from(["p", "q", "r"])
some_days = st.sets(st.integers(0, 45), min_size=1, max_size=4) | st.integers(0, 40).map(lambda n: set(range(n, n + 5)))


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


# ---------------------------------------------------------------------------------------------------------- campaigns
campaigns = st.sampled_from(["c", "d", "e"])
TYPES = ["combat_start", "party_join", "message_sent", "trade_completed", "level_up", "login"]


def events_of_campaigns() -> st.SearchStrategy[list[Row]]:
    one = st.fixed_dictionaries(
        {
            "event_date": st.integers(0, 45).map(day),
            "player_id": players,
            "campaign_id": st.none() | st.just("") | campaigns,
            "event_type": st.sampled_from(TYPES),
            "session_id": st.sampled_from([None, "", "s", "t"]),
            "minute": st.integers(0, 3),
        }
    )

    def timed(rows: list[Row]) -> list[Row]:
        named = [({**row, "event_id": str(n)}, row["minute"]) for n, row in enumerate(rows)]
        return [
            {name: value for name, value in row.items() if name != "minute"}
            | {"timestamp": dt.datetime.combine(row["event_date"], dt.time(1, minute), dt.UTC)}
            for row, minute in named
        ]

    return st.lists(one, max_size=25).map(timed)


def change_log(
    fields: dict[str, st.SearchStrategy[Any]], key: Sequence[str], last: int = 45
) -> st.SearchStrategy[list[Row]]:
    """One row per entity and instant; several changes a day."""
    one = st.fixed_dictionaries(
        fields
        | {
            "changed_at": st.builds(at, st.integers(0, last), st.sampled_from([0, 600, 1439])),
            "operation": st.sampled_from(["insert", "update", "update", "delete"]),
        }
    ).map(lambda row: {**row, "change_date": row["changed_at"].date()})
    return st.lists(one, max_size=12, unique_by=lambda row: tuple(row[name] for name in [*key, "changed_at"]))


campaign_logs = change_log(
    {"campaign_id": campaigns, "status": st.sampled_from(["active", "active", "paused", None])}, ["campaign_id"]
)
participant_logs = change_log(
    {
        "campaign_id": campaigns,
        "player_id": players,
        "character_level": st.sampled_from([None, 1, 2, 7]),
        "last_active": st.none() | st.builds(at, st.integers(0, 45), st.sampled_from([0, 1439])),
    },
    ["campaign_id", "player_id"],
)


def known(log: list[Row], on: dt.date, key: Sequence[str], window: int = 10_000) -> list[Row]:
    latest: dict[tuple[Any, ...], Row] = {}
    for row in sorted(log, key=lambda row: row["changed_at"]):
        if on - dt.timedelta(window) < row["change_date"] <= on:
            latest[tuple(row[name] for name in key)] = row
    return [row for row in latest.values() if row["operation"] != "delete"]


def campaign_oracle(events: list[Row], log: list[Row], participation: list[Row], days: set[int]) -> list[Row]:
    rows = []
    for n in days:
        status = {row["campaign_id"]: row["status"] for row in known(log, day(n), ["campaign_id"])}
        played = defaultdict(list)
        for event in events:
            if event["event_date"] == day(n) and event["campaign_id"]:
                played[event["campaign_id"]].append(event)
        for campaign in {c for c in status if status[c] == "active"} | set(played):
            here = played[campaign]
            taking_part = [
                row
                for row in known(participation, day(n), ["campaign_id", "player_id"], window=30)
                if row["campaign_id"] == campaign
                and row["last_active"] is not None
                and day(n - 29) <= row["last_active"].date() <= day(n)
            ]
            levels = [row["character_level"] for row in taking_part if row["character_level"] is not None]
            rows.append(
                {
                    "metric_date": day(n),
                    "campaign_id": campaign,
                    "status": status.get(campaign) or "unknown",
                    "events": len(here),
                    "active_players": len({event["player_id"] for event in here}),
                    "sessions": len({event["session_id"] for event in here if event["session_id"]}),
                    "combats": sum(event["event_type"] == "combat_start" for event in here),
                    "social_interactions": sum(
                        event["event_type"] in ("party_join", "message_sent", "trade_completed") for event in here
                    ),
                    "level_ups": sum(event["event_type"] == "level_up" for event in here),
                    "participants_30d": len(taking_part),
                    "avg_character_level": sum(levels) / len(levels) if levels else None,
                    "last_event_at": max((event["timestamp"] for event in here), default=None),
                }
            )
    return rows


@settings(max_examples=100, deadline=None)
@given(events_of_campaigns(), campaign_logs, participant_logs, some_days)
def test_campaign_metrics(events: list[Row], log: list[Row], participation: list[Row], days: set[int]) -> None:
    played, announced = frame(PlayerEvents, events), frame(CampaignChanges, log)
    taking_part = frame(ParticipantChanges, ({"experience": None} | row for row in participation))
    agree(
        CampaignMetrics,
        lambda wanted: campaign_metrics(played, announced, taking_part, wanted),
        days,
        campaign_oracle(events, log, participation, days),
    )


@pytest.mark.parametrize("last_active", [10, 39])
@pytest.mark.parametrize(("n", "counts"), [(9, False), (10, True), (39, True), (40, False)])
def test_a_participant_counts_for_30_days(n: int, counts: bool, last_active: int) -> None:
    """From the day of being active, as long as both that day and the change that told of it are in the window."""
    counts = counts and last_active <= n
    joined = {
        "campaign_id": "c",
        "player_id": "p",
        "operation": "insert",
        "changed_at": at(10, 0),
        "change_date": day(10),
    }
    taking_part = frame(ParticipantChanges, [joined | {"last_active": at(last_active, 0), "character_level": 3}])
    running = {
        "campaign_id": "c",
        "operation": "insert",
        "status": "active",
        "changed_at": at(0, 0),
        "change_date": day(0),
    }
    log = frame(CampaignChanges, [running])
    row = campaign_metrics(PlayerEvents.empty().lazy(), log, taking_part, [day(n)]).collect().row(0, named=True)
    assert (row["participants_30d"], row["avg_character_level"]) == ((1, 3.0) if counts else (0, None))


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
