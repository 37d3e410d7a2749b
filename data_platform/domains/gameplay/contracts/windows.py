"""Contracts of what happens in five minutes.
Not here: anything by day (activity)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.table import Rule, Severity, Table, TableRule, column, within
from data_platform.core.contract.windows import Windows
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.rules import windows_that_miss_events

OWNER = "team:gameplay"
FIVE_MINUTES = Windows(
    length=dt.timedelta(minutes=5),
    out_of_order=dt.timedelta(minutes=1),
    allowed_lateness=dt.timedelta(minutes=10),
)
"""Servers send at the latest after 5 seconds, clients repeat for up to 10 minutes what was not answered."""


class EventWindows(Table):
    """What happened in five minutes (tumbling windows of event time): one row per window, event type and campaign with
    an event. A late event corrects its window whenever it comes."""

    key = "gameplay/event_windows"
    partition = "window_date"
    primary_key = ("window_start", "event_type", "campaign_id")
    owner = OWNER
    windows = FIVE_MINUTES
    fresh = within(hours=2, warn=dt.timedelta(hours=1))
    row_rules = (
        Rule(
            "begins_with_a_window",
            "window_start is the beginning of a window of window_date",
            (FIVE_MINUTES.start_of(pl.col("window_start")) == pl.col("window_start"))
            & (pl.col("window_start").dt.date() == pl.col("window_date")),
        ),
        Rule(
            "no_more_players_or_sessions_than_events",
            "players ≤ events and sessions ≤ events",
            (pl.col("players") <= pl.col("events")) & (pl.col("sessions") <= pl.col("events")),
        ),
    )
    table_rules = (
        TableRule(
            "windows_hold_every_event",
            "the windows of a day together hold its clean events, each once",
            windows_that_miss_events,
            {"events": PlayerEvents.days()},
            Severity.ERROR,
        ),
    )

    window_date: dt.date = column("UTC day of the window.", derived_from=[PlayerEvents.event_date])
    window_start: dt.datetime = column("Where the window begins (UTC).", derived_from=[PlayerEvents.timestamp])
    event_type: str = column("What happened.", min_length=1)
    campaign_id: str | None = column("Campaign it happened in; null outside of any.", min_length=1)
    events: int = column("Clean events.", unit="events", ge=1, derived_from=[PlayerEvents.event_id])
    players: int = column("Different players.", unit="players", ge=1, derived_from=[PlayerEvents.player_id])
    sessions: int = column(
        "Different client session ids.", unit="sessions", ge=0, derived_from=[PlayerEvents.session_id]
    )
    last_event_at: dt.datetime = column("Newest event.", derived_from=[PlayerEvents.timestamp])
