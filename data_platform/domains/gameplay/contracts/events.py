"""Contracts of player events: as received, as rejected, and clean. Not here: anything computed from them."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.received import ReceivedLines, RejectedLines, RejectedRows
from data_platform.core.contract.table import JsonObject, Personal, Rule, Severity, Table, TableRule, column, within
from data_platform.domains.gameplay.contracts.registry import RawCampaignChanges, RawPlayerChanges
from data_platform.domains.gameplay.contracts.rules import events_that_lost_their_data

OWNER = "team:gameplay"
EVENTS_FRESH = within(hours=1, warn=dt.timedelta(minutes=5))


class RawPlayerEvents(ReceivedLines):
    """Player events as received, duplicates included: one row per line of a landing file that can be an event."""

    key = "raw/player_events"
    partition = "event_date"
    primary_key = ("event_date", "source_file", "source_line", "received_at")
    owner = OWNER
    fresh = EVENTS_FRESH
    profiled_by = {"event_data": "event_type"}

    event_date: dt.date = column("UTC day of `timestamp`.")
    event_id: str = column("The client's id of the event; a retry carries the same id.", min_length=1)
    player_id: str = column("Who acted.", personal=Personal.PSEUDONYM, min_length=1)
    campaign_id: str | None = column("Campaign the player was in, if any.")
    event_type: str | None = column("What happened, for example `combat_start`.")
    event_data: JsonObject | None = column("Details, by event type.", personal=Personal.CONTENT)
    session_id: str | None = column("The client's session id.")
    timestamp: dt.datetime = column("When the server saw the event (UTC).")
    client_timestamp: dt.datetime | None = column("When the client says it happened; its clock may be wrong.")
    device_info: JsonObject | None = column("Device, platform and app version.", personal=Personal.CONTENT)


class RawPlayerEventsRejected(RejectedLines):
    """Lines of player-event files that cannot be events, verbatim, with file, line number and reason."""

    key = "raw/player_events_rejected"
    owner = OWNER


class PlayerEvents(Table):
    """Valid player events, each once. Among rows with one `event_id` on one day the earliest wins, then the smallest
    payload digest, whatever the order of arrival."""

    key = "clean/player_events"
    partition = "event_date"
    primary_key = ("event_date", "event_id")
    owner = OWNER
    fresh = EVENTS_FRESH
    sorted = False
    # Single events are recorded only: some kinds have no details. A day that lost them fails the rule below.
    row_rules = (Rule("event_data_present", "event_data is there", pl.col("event_data").is_not_null(), Severity.INFO),)
    table_rules = (
        TableRule(
            "player_event_completeness",
            "nearly every event of the day has data",
            events_that_lost_their_data,
            severity=Severity.ERROR,
        ),
    )
    profiled_by = {"event_data": "event_type"}

    event_date: dt.date = column("UTC day of `timestamp`.")
    event_id: str = column("The client's id of the event.", min_length=1)
    player_id: str = column(
        "Who acted.", personal=Personal.PSEUDONYM, min_length=1, references=RawPlayerChanges.player_id
    )
    campaign_id: str | None = column("Campaign the player was in, if any.", references=RawCampaignChanges.campaign_id)
    event_type: str = column("What happened, for example `combat_start`.", min_length=1)
    event_data: JsonObject | None = column("Details, by event type.", personal=Personal.CONTENT)
    session_id: str | None = column("The client's session id; missing ones are derived downstream.")
    timestamp: dt.datetime = column("When the server saw the event (UTC).")
    client_timestamp: dt.datetime | None = column("When the client says it happened.")
    device_info: JsonObject | None = column("Device, platform and app version.", personal=Personal.CONTENT)
    extra_fields: JsonObject | None = column("Fields the contract does not know, kept.", personal=Personal.CONTENT)


class PlayerEventsRejected(RejectedRows):
    """Received events that are not clean: no event type, or an `event_id` reused for another payload on that day."""

    key = "clean/player_events_rejected"
    owner = OWNER


class RawEventTotals(ReceivedLines):
    """What the game servers say they sent: one row per line of a control-total file. A day's newest count holds."""

    key = "raw/event_totals"
    partition = "event_date"
    primary_key = ("event_date", "source_file", "source_line", "received_at")
    owner = OWNER

    event_date: dt.date = column("UTC day that was counted.")
    starts_at: dt.datetime = column("First moment of that day (UTC).")
    events: int = column("Different valid events that were sent.", unit="events", ge=0)
    counted_at: dt.datetime = column("When they were counted (UTC).")


class RawEventTotalsRejected(RejectedLines):
    """Lines of control-total files that cannot be totals."""

    key = "raw/event_totals_rejected"
    owner = OWNER


class PlayerEventTotals(Table):
    """Each day's clean events beside the source's own count of them: the accuracy of everything downstream."""

    key = "clean/player_event_totals"
    partition = "event_date"
    primary_key = ("event_date",)
    owner = OWNER
    row_rules = (
        # A warning: late events close the gap, and what did arrive is right.
        Rule(
            "equals_source_total",
            "as many clean events as the source counted, where it did",
            pl.col("source_events").is_null() | (pl.col("difference") == 0),
            Severity.WARNING,
        ),
    )

    event_date: dt.date = column("UTC day.")
    clean_events: int = column("Clean events of the day.", unit="events", ge=0, derived_from=[PlayerEvents.event_id])
    source_events: int | None = column(
        "What the source counted last; null where it sent no count.",
        unit="events",
        derived_from=[RawEventTotals.events],
    )
    difference: int | None = column(
        "Clean minus counted; below zero, events are missing.",
        unit="events",
        derived_from=[PlayerEvents.event_id, RawEventTotals.events],
    )
