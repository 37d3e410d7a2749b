"""Contracts of discussions: their immutable events as received, rejected and clean, their state, and its snapshots.
Not here: what an event does to the state (transforms/discussion_state)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.received import ReceivedLines, RejectedLines, RejectedRows
from data_platform.core.contract.table import JsonObject, Personal, Rule, Severity, column, within
from data_platform.domains.research.contracts.registry import (
    LINE_KEY,
    OWNER,
    OfTenant,
    RawPersonaChanges,
    RawResearchProjectChanges,
)

EVENT_TYPES = ("discussion_started", "response", "followup", "discussion_ended")
EVENTS_FRESH = within(hours=26, warn=dt.timedelta(hours=3))


class EventFields(OfTenant):
    """What every event of a discussion has, whatever its type."""

    discussion_id: str = column("The discussion: the stream that the event is part of.", min_length=1)
    sequence: int = column("Place of the event in its discussion, from 1, without gaps.", ge=1)
    event_id: str = column("The event, by the store's own id.", min_length=1)
    occurred_at: dt.datetime = column("When the store recorded it (UTC).")
    causation_id: str | None = column("Event that this one answers or follows from.")
    correlation_id: str | None = column("What a chain of events, calls and messages has in common.")
    project_id: str = column(
        "Project of the discussion.", min_length=1, references=RawResearchProjectChanges.project_id
    )
    persona_id: str | None = column(
        "Persona who speaks, or is asked; null where the moderator speaks to all.",
        references=RawPersonaChanges.persona_id,
    )
    user_id: str | None = column("Person who speaks, if one does: the moderator.", personal=Personal.PSEUDONYM)


class RawDiscussionEvents(EventFields, ReceivedLines):
    """Events of discussions as received, duplicates included, in whatever order they came."""

    key = "raw/discussion_events"
    partition = "event_date"
    primary_key = ("event_date", *LINE_KEY)
    fresh = EVENTS_FRESH

    event_date: dt.date = column("UTC day of `occurred_at`.")
    event_type: str = column("What happened, for example `response`.", min_length=1)
    event_version: int = column("Version of the shape of `event_data`, by event type, from 1.", ge=1)
    event_data: JsonObject = column("What happened in detail.", personal=Personal.CONTENT)


class RawDiscussionEventsRejected(RejectedLines):
    """Lines of event files that cannot be events of a discussion."""

    key = "raw/discussion_events_rejected"
    owner = OWNER


class DiscussionEvents(EventFields):
    """Events of discussions, each once, their data in the newest version. Of several told for one place in a discussion
    the earliest counts, whatever came first; an event is never changed."""

    key = "research/discussion_events"
    partition = "event_date"
    primary_key = ("tenant_id", "discussion_id", "sequence")
    fresh = EVENTS_FRESH
    # A warning: which of the two places is the right one, nobody here can know.
    row_rules = (
        Rule("event_id_has_one_place", "no event of the day has two places in its discussion",
             pl.struct("event_date", "tenant_id", "discussion_id", "event_id").is_unique(), Severity.WARNING),
    )  # fmt: skip

    event_date: dt.date = column("UTC day of `occurred_at`.")
    event_type: str = column("What happened.", isin=EVENT_TYPES)
    event_version: int = column("Version that the event was recorded in.", ge=1)
    event_data: JsonObject = column("What happened in detail, in the newest version.", personal=Personal.CONTENT)
    text: str | None = column(
        "The words that were said.", personal=Personal.CONTENT, derived_from=[RawDiscussionEvents.event_data]
    )
    question_id: str | None = column(
        "Question of the guide that is asked or answered.", derived_from=[RawDiscussionEvents.event_data]
    )


class DiscussionEventsRejected(RejectedRows):
    """Received events that are not clean: unknown type or version, data that is none of the type, another event told
    for a place that is taken (`conflicting_duplicate`)."""

    key = "research/discussion_events_rejected"
    owner = OWNER


class Discussions(OfTenant):
    """Discussions as they stand: one row each, the fold of its events in the order of their sequence."""

    key = "research/discussions"
    primary_key = ("tenant_id", "discussion_id")
    # Warnings: what did arrive is right, and an event that is on its way must not hold back every other discussion.
    row_rules = (
        Rule("sequence_is_gapless", "no event is missing before the last", pl.col("missing_events") == 0,
             Severity.WARNING),
        Rule("time_follows_sequence", "no event was recorded before the one it follows",
             pl.col("clock_went_back") == 0, Severity.WARNING),
        Rule("starts_and_ends_once", "it was started once, and nothing happened after its end",
             (pl.col("starts") == 1) & (pl.col("events_after_end") == 0), Severity.WARNING),
    )  # fmt: skip

    discussion_id: str = column("The discussion.", min_length=1)
    project_id: str = column("Its project, as its first event says.", min_length=1)
    focus_group_id: str | None = column("Focus group it is held for.", derived_from=[DiscussionEvents.event_data])
    status: str = column("`open`, or `ended`.", isin=("open", "ended"), derived_from=[DiscussionEvents.event_type])
    first_event_at: dt.datetime = column(
        "Time of its earliest event, whatever that is.", derived_from=[DiscussionEvents.occurred_at]
    )
    started_at: dt.datetime | None = column("When it was started.", derived_from=[DiscussionEvents.occurred_at])
    ended_at: dt.datetime | None = column("When it was first ended.", derived_from=[DiscussionEvents.occurred_at])
    events: int = column("Events.", unit="events", ge=1, derived_from=[DiscussionEvents.event_id])
    responses: int = column("Responses.", unit="events", ge=0, derived_from=[DiscussionEvents.event_type])
    followups: int = column("Follow-up questions.", unit="events", ge=0, derived_from=[DiscussionEvents.event_type])
    turns: int = column("Responses and follow-ups.", unit="events", ge=0, derived_from=[DiscussionEvents.event_type])
    participants: int = column(
        "Personas who responded.", unit="personas", ge=0, derived_from=[DiscussionEvents.persona_id]
    )
    participant_ids: list[str] = column("Who they are, in order of id.", derived_from=[DiscussionEvents.persona_id])
    questions: int = column(
        "Questions that were asked or answered.", unit="questions", ge=0, derived_from=[DiscussionEvents.question_id]
    )
    starts: int = column("Events that start it.", unit="events", ge=0, derived_from=[DiscussionEvents.event_type])
    events_after_end: int = column(
        "Events after its end.", unit="events", ge=0, derived_from=[DiscussionEvents.event_type]
    )
    clock_went_back: int = column(
        "Events recorded before the one they follow.", unit="events", ge=0, derived_from=[DiscussionEvents.occurred_at]
    )
    missing_events: int = column(
        "Places before the last without an event.", unit="events", ge=0, derived_from=[DiscussionEvents.sequence]
    )
    last_sequence: int = column("Place of its last event.", ge=1, derived_from=[DiscussionEvents.sequence])
    last_event_id: str = column("Its last event.", derived_from=[DiscussionEvents.event_id])
    last_event_type: str = column("What that was.", isin=EVENT_TYPES, derived_from=[DiscussionEvents.event_type])
    last_event_at: dt.datetime = column(
        "When that, or one before it, was recorded last.", derived_from=[DiscussionEvents.occurred_at]
    )


class DiscussionSnapshots(OfTenant):
    """States of long discussions after every hundredth event, so that a replay begins near its end. A snapshot can be
    left out or made anew at any time: it says nothing that the events do not."""

    key = "research/discussion_snapshots"
    partition = "snapshot_date"
    primary_key = ("tenant_id", "discussion_id", "sequence")
    profiled = False

    snapshot_date: dt.date = column("UTC day of the last event in it.", derived_from=[DiscussionEvents.event_date])
    discussion_id: str = column("The discussion.", min_length=1)
    project_id: str = column("Its project.", min_length=1)
    sequence: int = column("The last event in it.", ge=1)
    reached_at: dt.datetime = column(
        "From when the discussion stood like this: the latest time of its events so far.",
        derived_from=[DiscussionEvents.occurred_at],
    )
    fold_version: int = column("Version of the fold that made it; another fold ignores it.", ge=1)
    state: JsonObject = column("The state.", derived_from=[DiscussionEvents.event_type])


class CompactedDiscussions(OfTenant):
    """Discussions that ended long ago, compacted: one row each, its events merged into one text without the words,
    which are with all else in the archived originals. The fold of the merged events is the fold of the originals, at
    each of them; a replay reads them once the events themselves are gone from the lake."""

    key = "research/compacted_discussions"
    partition = "ended_date"
    primary_key = ("tenant_id", "discussion_id")
    journal = True
    profiled = False

    ended_date: dt.date = column("UTC day of its last event.", derived_from=[Discussions.last_event_at])
    discussion_id: str = column("The discussion.", min_length=1)
    project_id: str = column("Its project.", min_length=1)
    first_event_at: dt.datetime = column("Time of its earliest event.", derived_from=[Discussions.first_event_at])
    last_event_at: dt.datetime = column("Latest time of its events.", derived_from=[Discussions.last_event_at])
    events: int = column("Events merged.", unit="events", ge=1, derived_from=[Discussions.events])
    merged: JsonObject = column(
        "What the fold looks at of each event, in order.", derived_from=[DiscussionEvents.event_type]
    )
    originals_file: str = column("Parquet file with the original events, on the cold path.", min_length=1)
    originals_digest: str = column("BLAKE2b digest of that file.", min_length=1)
    compacted_at: dt.datetime = column("When it was compacted.")
