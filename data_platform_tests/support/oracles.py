"""What the tables must hold, said a second time: naive, one player at a time, plain Python and DESIGN §10.
Not here: polars, speed, or anything imported from the transforms that these functions judge."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_platform_tests.support.commerce_oracle import NO_PURCHASES

Event = Mapping[str, Any]
"""{player_id, event_type, session_id, timestamp}"""
Change = Mapping[str, Any]
"""The fields of a change log's row; only `change_date`, `changed_at`, `operation` and the entity's fields are read."""
Row = dict[str, Any]

PAUSE = dt.timedelta(minutes=30)
WINDOW = 30
DAY = dt.timedelta(days=1)
WEIGHTS = {
    "login": 1, "combat_start": 3, "combat_end": 2, "spell_cast": 2, "dialogue_choice": 2, "item_acquired": 2,
    "level_up": 10, "party_join": 5, "message_sent": 3, "trade_completed": 6, "quest_started": 4, "quest_completed": 8,
}  # fmt: skip


def minutes(length: dt.timedelta) -> float:
    return length / dt.timedelta(minutes=1)


def epoch_microseconds(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def cut_at_pauses(moments: Iterable[dt.datetime]) -> list[list[dt.datetime]]:
    """The moments in order, cut wherever two neighbours lie more than 30 minutes apart."""
    pieces: list[list[dt.datetime]] = []
    for moment in sorted(moments):
        if pieces and moment - pieces[-1][-1] <= PAUSE:
            pieces[-1].append(moment)
        else:
            pieces.append([moment])
    return pieces


def players_of(events: Iterable[Event]) -> list[str]:
    return sorted({e["player_id"] for e in events})


# --------------------------------------------------------------------- sessions
def session_days(events: Sequence[Event]) -> list[Row]:
    rows = []
    for player in players_of(events):
        mine = [e for e in events if e["player_id"] == player]
        for day in sorted({e["timestamp"].date() for e in mine}):
            today = [e for e in mine if e["timestamp"].date() == day]
            for session_id in sorted({e["session_id"] for e in today if e["session_id"]}):
                moments = [e["timestamp"] for e in today if e["session_id"] == session_id]
                rows.append(_part(day, player, session_id, False, moments))
            for piece in cut_at_pauses(e["timestamp"] for e in today if not e["session_id"]):
                rows.append(_part(day, player, f"derived-{epoch_microseconds(piece[0])}", True, piece))
    return rows


def _part(day: dt.date, player: str, session_id: str, is_derived: bool, moments: list[dt.datetime]) -> Row:
    return {
        "activity_date": day,
        "player_id": player,
        "session_id": session_id,
        "is_derived": is_derived,
        "started_at": min(moments),
        "ended_at": max(moments),
        "events": len(moments),
    }


def whole_sessions(events: Sequence[Event], days: Iterable[dt.date]) -> list[Row]:
    """Whole sessions straight from the events: every start is looked for by walking the days."""
    rows = []
    for player in players_of(events):
        mine = [e for e in events if e["player_id"] == player]
        for day in days:
            for session_id in sorted({e["session_id"] for e in mine if e["session_id"]}):
                on = {
                    d: [e["timestamp"] for e in mine if e["session_id"] == session_id and e["timestamp"].date() == d]
                    for d in (day - DAY, day, day + DAY)
                }
                if on[day] and not on[day - DAY]:
                    rows.append(_session(day, player, session_id, False, on[day] + on[day + DAY]))
            without_id = [e["timestamp"] for e in mine if not e["session_id"]]
            pieces = {d: cut_at_pauses(t for t in without_id if t.date() == d) for d in (day - DAY, day, day + DAY)}
            for number, piece in enumerate(pieces[day]):
                before = pieces[day - DAY]
                if number == 0 and before and piece[0] - before[-1][-1] <= PAUSE:
                    continue
                after = pieces[day + DAY]
                moments = list(piece)
                if number == len(pieces[day]) - 1 and after and after[0][0] - piece[-1] <= PAUSE:
                    moments += after[0]
                rows.append(_session(day, player, f"derived-{epoch_microseconds(piece[0])}", True, moments))
    return rows


def _session(day: dt.date, player: str, session_id: str, is_derived: bool, moments: list[dt.datetime]) -> Row:
    return {
        "session_date": day,
        "player_id": player,
        "session_id": session_id,
        "is_derived": is_derived,
        "started_at": min(moments),
        "ended_at": max(moments),
        "duration_minutes": minutes(max(moments) - min(moments)),
        "events": len(moments),
    }


# --------------------------------------------------------------------- activity
def daily_activity(events: Sequence[Event]) -> list[Row]:
    rows = []
    for player in players_of(events):
        mine = [e for e in events if e["player_id"] == player]
        for day in sorted({e["timestamp"].date() for e in mine}):
            today = [e for e in mine if e["timestamp"].date() == day]
            types = [e["event_type"] for e in today]
            hours = [e["timestamp"].hour for e in today]
            row = {"activity_date": day, "player_id": player, "total_events": len(today)}
            for counted in (
                "combat_start", "spell_cast", "dialogue_choice", "item_acquired",
                "level_up", "party_join", "message_sent", "trade_completed",
            ):  # fmt: skip
                row[f"{counted}_count"] = types.count(counted)
            row["engagement_points"] = float(sum(WEIGHTS.get(t, 1) for t in types))
            row["hourly_events"] = [hours.count(hour) for hour in range(24)]
            row["first_event_at"] = min(e["timestamp"] for e in today)
            row["last_event_at"] = max(e["timestamp"] for e in today)
            rows.append(row)
    return rows


# --------------------------------------------------------------------- features
def in_window(moment: dt.datetime, snapshot: dt.date) -> bool:
    return 0 <= (snapshot - moment.date()).days < WINDOW


def as_known(changes: Iterable[Change], snapshot: dt.date) -> Change | None:
    """The latest of one entity's changes by the end of the snapshot day."""
    by_then = [c for c in changes if c["change_date"] <= snapshot]
    return max(by_then, key=lambda c: c["changed_at"]) if by_then else None


def exists(changes: Iterable[Change], snapshot: dt.date) -> bool:
    latest = as_known(changes, snapshot)
    return latest is not None and latest["operation"] != "delete"


def smallest_mode(values: Iterable[Any]) -> Any:
    counts = Counter(values)
    return min(value for value, count in counts.items() if count == max(counts.values()))


def engagement_row(player: str, events: Sequence[Event], changes: Sequence[Change], snapshot: dt.date) -> Row | None:
    """One player's engagement features; None when the player has no row that day."""
    seen = [e for e in events if e["player_id"] == player and in_window(e["timestamp"], snapshot)]
    if not seen and not exists((c for c in changes if c["player_id"] == player), snapshot):
        return None
    lengths = window_session_minutes(seen)
    total, sessions = len(seen), len(lengths)
    mean = math.fsum(lengths) / sessions if sessions else None
    row: Row = {
        "snapshot_date": snapshot,
        "player_id": player,
        "total_events": total,
        "unique_days_active": len({e["timestamp"].date() for e in seen}),
        "unique_sessions": sessions,
        "avg_events_per_session": total / sessions if sessions else None,
    }
    for event_type in ("combat_start", "spell_cast", "dialogue_choice", "item_acquired"):
        count = sum(e["event_type"] == event_type for e in seen)
        row[f"{event_type}_count"] = count
        row[f"{event_type}_ratio"] = count / total if total else 0.0
    row["most_active_hour"] = smallest_mode(e["timestamp"].hour for e in seen) if seen else None
    weekend = sum(e["timestamp"].strftime("%A") in ("Saturday", "Sunday") for e in seen)
    row["weekend_ratio"] = weekend / total if total else 0.0
    row["avg_session_duration_minutes"] = mean
    row["max_session_duration_minutes"] = max(lengths) if lengths else None
    row["session_duration_std"] = sample_std(lengths)
    row["level_ups"] = sum(e["event_type"] == "level_up" for e in seen)
    social = sum(e["event_type"] in ("party_join", "message_sent", "trade_completed") for e in seen)
    row["social_interactions"] = social
    row["social_ratio"] = social / total if total else 0.0
    return row


def window_session_minutes(seen: Sequence[Event]) -> list[float]:
    """Lengths of the sessions of one player's events in the window."""
    moments_of: dict[str, list[dt.datetime]] = {}
    for event in seen:
        if event["session_id"]:
            moments_of.setdefault(event["session_id"], []).append(event["timestamp"])
    derived = cut_at_pauses(e["timestamp"] for e in seen if not e["session_id"])
    return [minutes(max(moments) - min(moments)) for moments in [*moments_of.values(), *derived]]


def sample_std(lengths: Sequence[float]) -> float | None:
    """Exact in fractions of a microsecond: the mean of equal lengths must not leave a rounding error behind."""
    if len(lengths) < 2:
        return None
    ticks = [round(length * 60_000_000) for length in lengths]
    n, total = len(ticks), sum(ticks)
    return math.sqrt((n * sum(t * t for t in ticks) - total * total) / (n * (n - 1))) / 60_000_000


def campaign_row(
    player: str, participants: Sequence[Change], campaigns: Sequence[Change], snapshot: dt.date
) -> Row | None:
    """One player's campaign features; None when no participation was last active in the window."""
    played = []
    for campaign in sorted({c["campaign_id"] for c in participants if c["player_id"] == player}):
        latest = as_known(
            (c for c in participants if c["player_id"] == player and c["campaign_id"] == campaign), snapshot
        )
        if latest is None or latest["operation"] == "delete" or latest["last_active"] is None:
            continue
        if in_window(latest["last_active"], snapshot):
            played.append(latest)
    if not played:
        return None
    difficulties, themes = [], []
    for participation in played:
        versions = [
            c for c in campaigns if c["campaign_id"] == participation["campaign_id"] and c["operation"] != "delete"
        ]
        campaign_then = as_known(versions, snapshot) or {"difficulty": None, "theme": None}
        if campaign_then["difficulty"] is not None:
            difficulties.append(campaign_then["difficulty"])
        themes.append(campaign_then["theme"] or "unknown")
    return {
        "snapshot_date": snapshot,
        "player_id": player,
        "active_campaigns": len(played),
        "avg_difficulty": math.fsum(difficulties) / len(difficulties) if difficulties else 0.0,
        "max_character_level": max(
            (p["character_level"] for p in played if p["character_level"] is not None), default=0
        ),
        "total_experience": sum(p["experience"] or 0 for p in played),
        "preferred_themes": smallest_mode(themes),
        "unique_roles": len({p["role"] for p in played if p["role"] is not None}),
        "most_played_role": smallest_mode(p["role"] if p["role"] is not None else "unknown" for p in played),
    }


NO_CAMPAIGNS: Row = {
    "active_campaigns": 0,
    "avg_difficulty": 0.0,
    "max_character_level": 0,
    "total_experience": 0,
    "preferred_themes": "unknown",
    "unique_roles": 0,
    "most_played_role": "unknown",
}


def churn_rows(
    events: Sequence[Event],
    players: Sequence[Change],
    participants: Sequence[Change],
    campaigns: Sequence[Change],
    days: Iterable[dt.date],
    purchases: Iterable[Row] = (),
) -> list[Row]:
    """Churn features of every player and day, from raw events and change logs, and rows of `commerce_oracle`."""
    bought = {(row["snapshot_date"], row["player_id"]): row for row in purchases}
    rows = []
    ids = sorted({e["player_id"] for e in events} | {c["player_id"] for c in players})
    for day in days:
        for player in ids:
            engagement = engagement_row(player, events, players, day)
            if engagement is not None:
                campaign = campaign_row(player, participants, campaigns, day) or {}
                rows.append({**NO_CAMPAIGNS, **campaign, **NO_PURCHASES, **bought.get((day, player), {}), **engagement})
    return rows
