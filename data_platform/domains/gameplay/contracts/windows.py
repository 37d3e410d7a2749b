"""Contracts of what happens in five minutes: by the tables, by the live view, and where the two differ.
Not here: anything by day (activity)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.received import ReceivedLines, RejectedLines
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


class RawLiveWindows(ReceivedLines):
    """What the live view said of each window when it closed it: a line per event type and campaign with an event, and
    one for all of the window. Further lines note what it saw of the window after that."""

    key = "raw/live_windows"
    partition = "window_date"
    primary_key = ("window_date", "source_file", "source_line", "received_at")
    owner = OWNER
    optional = True
    profiled = False

    window_date: dt.date = column("UTC day of the window.")
    window_start: dt.datetime = column("Where the window begins (UTC).")
    event_type: str | None = column("Event type; null is all of the window.")
    place: str | None = column("Campaign; null outside of any.")
    events: int = column("Events, each once.", unit="events", ge=0)
    actors: int = column("Different players.", unit="players", ge=0)
    sessions: int = column("Different client session ids.", unit="sessions", ge=0)
    late_events: int = column("Of a note: events that came after the window was closed.", unit="events", ge=0)
    moved_events: int = column(
        "Of a note on all of the window: events counted in it of which another copy, which may be the one that counts, "
        "came since.",
        unit="events",
        ge=0,
    )


class RawLiveWindowsRejected(RejectedLines):
    """Lines of live windows that cannot be such."""

    key = "raw/live_windows_rejected"
    owner = OWNER


class LiveComparison(Table):
    """Live equals batch: one row per window that the live view closed, held against gameplay/event_windows once the
    tables' own watermark has passed it. Numbers may differ by the late events that the view noted, and by nothing
    else."""

    key = "gameplay/live_comparison"
    partition = "window_date"
    primary_key = ("window_start",)
    owner = OWNER
    profiled = False
    # A warning: an error would keep the very rows that show the difference from being published.
    row_rules = (
        Rule(
            "live_equals_batch",
            "what the live view showed of the window is what the tables say, but for late events",
            pl.col("differences") == 0,
            Severity.WARNING,
        ),
    )

    window_date: dt.date = column("UTC day of the window.")
    window_start: dt.datetime = column("Where the window begins (UTC).")
    live_events: int = column(
        "Events when the view closed it.", unit="events", ge=0, derived_from=[RawLiveWindows.events]
    )
    table_events: int = column("Events in the tables.", unit="events", ge=0, derived_from=[EventWindows.events])
    late_events: int = column(
        "Events the view saw after it had closed it.", unit="events", ge=0, derived_from=[RawLiveWindows.late_events]
    )
    compared: int = column(
        "Pairs of event type and campaign in either.",
        ge=0,
        derived_from=[RawLiveWindows.event_type, EventWindows.event_type],
    )
    differences: int = column(
        "Pairs whose events, players or sessions differ by more than late events explain.",
        ge=0,
        derived_from=[RawLiveWindows.actors, EventWindows.players, RawLiveWindows.sessions, EventWindows.sessions],
    )
    example: str | None = column(
        "One of these: event type, campaign, events live and in the tables.",
        derived_from=[RawLiveWindows.event_type, RawLiveWindows.place, EventWindows.campaign_id],
    )
