"""How events become sessions: the daily parts of each session, and whole sessions merged from the parts over midnight.
Not here: sessions seen through a feature window (`churn.py`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.core.text import says_something
from data_platform.domains.gameplay.contracts.activity import PlayerSessionDays, PlayerSessions

SESSION_PAUSE = dt.timedelta(minutes=30)
"""Without a session id, a longer pause than this between two events of a player starts a new session."""

MICROSECONDS_PER_MINUTE = 60_000_000


def session_days(events: pl.LazyFrame) -> pl.LazyFrame:
    """PlayerSessionDays from clean PlayerEvents: one row per day, player and session; each day for itself.

    Reads `event_date`, `player_id`, `session_id` and `timestamp`. Events with a null or blank `session_id` are cut at
    pauses of more than 30 minutes within the player's day; such a part is named after the microsecond of its first
    event, which no other part of that player can share.
    """
    events = events.select("event_date", "player_id", "session_id", "timestamp")
    has_id = says_something("session_id")
    day, player, at = pl.col("event_date"), pl.col("player_id"), pl.col("timestamp")
    starts = (at - at.shift() > SESSION_PAUSE) | (player != player.shift()) | (day != day.shift())
    named_by_first_event = (
        events.filter(~has_id)
        .sort("player_id", "timestamp")
        .with_columns(started=pl.when(starts.fill_null(True)).then(at.to_physical()).forward_fill())
        .with_columns(session_id=pl.format("derived-{}", "started"))
    )
    parts = [
        kind.group_by("event_date", "player_id", "session_id")
        .agg(started_at=at.min(), ended_at=at.max(), events=pl.len())
        .with_columns(is_derived=pl.lit(is_derived))
        for kind, is_derived in ((events.filter(has_id), False), (named_by_first_event, True))
    ]
    return conform(PlayerSessionDays, pl.concat(parts).rename({"event_date": "activity_date"}))


def whole_sessions(session_days: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    """PlayerSessions that started on `days`, from PlayerSessionDays of D-1, D and D+1: one row per session.

    A client's part starts a session unless the same id has a part on the day before; a derived part unless the
    player's previous derived part ended at most 30 minutes earlier. A session is its first part and the one that
    follows it on the next day; what follows that is cut. `duration_minutes` is last minus first event.
    """
    if not days:
        return PlayerSessions.empty().lazy()
    needed = pl.col("activity_date").is_between(min(days) - dt.timedelta(days=1), max(days) + dt.timedelta(days=1))
    parts = linked_parts(session_days.filter(needed))
    goes_on = pl.col("follows").shift(-1).fill_null(False)
    ended_at = pl.when(goes_on).then(pl.col("ended_at").shift(-1)).otherwise("ended_at")
    sessions = (
        parts.with_columns(
            session_date="activity_date",
            ended_at=ended_at,
            events=pl.col("events") + pl.when(goes_on).then(pl.col("events").shift(-1)).otherwise(0),
        )
        .filter(~pl.col("follows") & pl.col("session_date").is_in(sorted(set(days))))
        .with_columns(duration_minutes=minutes(microseconds("started_at", "ended_at")))
    )
    return conform(PlayerSessions, sessions)


def linked_parts(session_days: pl.LazyFrame) -> pl.LazyFrame:
    """The parts in the order they were played, per player and session, with `follows`: this part carries on the
    previous row's session from the day before.
    """
    # Parts that may belong together stand next to each other: a client's by id, a player's derived ones by time.
    thread = pl.when("is_derived").then(pl.lit("")).otherwise("session_id")
    ordered = session_days.with_columns(thread=thread).sort("player_id", "is_derived", "thread", "started_at")
    same_thread = pl.all_horizontal(pl.col(c) == pl.col(c).shift() for c in ("player_id", "is_derived", "thread"))
    # Derived parts of one day lie more than a pause apart, so a shorter pause is always one over midnight.
    in_time = (
        pl.when("is_derived")
        .then(pl.col("started_at") - pl.col("ended_at").shift() <= SESSION_PAUSE)
        .otherwise(pl.col("activity_date") - pl.col("activity_date").shift() == dt.timedelta(days=1))
    )
    return ordered.with_columns(follows=(same_thread & in_time).fill_null(False)).drop("thread")


def microseconds(start: str, end: str) -> pl.Expr:
    """Microseconds from column `start` to column `end`, as an integer: sums of integers do not depend on row order."""
    return pl.col(end).to_physical() - pl.col(start).to_physical()


def minutes(microseconds: pl.Expr) -> pl.Expr:
    """Integer microseconds as minutes; whole minutes come out whole."""
    # Not a plain division: Polars divides a column by a constant as a product with the inverse, unless there is only
    # one row. The last bit would depend on what else is in the frame; a day rebuilt alone would not equal itself.
    whole, rest = microseconds // MICROSECONDS_PER_MINUTE, microseconds % MICROSECONDS_PER_MINUTE
    return whole + rest * (1 / MICROSECONDS_PER_MINUTE)
