"""A discussion as it stands, or stood at any moment: the newest snapshot before that, and the events after it.
Belongs here: reading one discussion from the lake. Not here: the fold (transforms/discussion_state), its tables."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.moments import in_utc, read_moment
from data_platform.domains.research.archive import compacted, originals
from data_platform.domains.research.contracts.discussions import (
    CompactedDiscussions,
    DiscussionEvents,
    Discussions,
    DiscussionSnapshots,
)
from data_platform.domains.research.transforms.discussion_state import FOLD_VERSION, State, events_of, fold
from data_platform.domains.research.transforms.merged_events import unmerged

Until = dt.datetime | int | None
"""A moment (UTC where it names no zone), a sequence number, or all there is."""


@dataclass(frozen=True)
class Replay:
    """A discussion up to a point."""

    state: State
    events: pl.DataFrame
    """The events that were read, DiscussionEvents in the order of their sequence: those after the snapshot."""
    from_snapshot: int
    """Sequence of the snapshot it began with; 0 for the start."""


def replay(
    lake: Lake, discussion_id: str, until: Until = None, tenant: str | None = None, snapshots: bool = True
) -> Replay:
    """The state of a discussion after the event with sequence `until`, at the moment `until`, or now.

    At a moment it has the events before the first one recorded after it: an event that claims to be older than one
    before it was recorded after that. Raises PlatformError for a discussion that is not there, or not yet begun then,
    and for an id that several tenants use, unless `tenant` names one.
    """
    until = in_utc(until) if isinstance(until, dt.datetime) else until
    known = _discussion(lake, discussion_id, tenant)
    stream = _stream(lake, known)
    start = State(discussion_id, known.tenant_id)
    if snapshots and (found := _snapshot(lake, known, stream, until)):
        start = found
    events = _until(stream.filter(pl.col("sequence") > start.last_sequence).sort("sequence").collect(), start, until)
    state = fold(events_of(events), start)
    if not state.events:
        raise PlatformError(
            f"The discussion {discussion_id} had not begun by {until}.",
            f"Its first event is of {known.first_event_at}; ask for a later moment, or leave out --until.",
        )
    return Replay(state, events, start.last_sequence)


def last_turns(lake: Lake, replayed: Replay, count: int) -> pl.DataFrame:
    """The last `count` events up to the replay's point, in order, with their words: also those that are in its
    snapshot, or in the archive alone."""
    state = replayed.state
    known = _discussion(lake, state.discussion_id, state.tenant_id)
    last = pl.col("sequence") <= state.last_sequence
    of_it = _of_it(known.tenant_id, known.discussion_id)
    found = lake.scan(DiscussionEvents, *known.days).filter(of_it, last).sort("sequence").tail(count).collect()
    if len(found) == min(count, state.events) and found["sequence"].max() in (state.last_sequence, None):
        return found
    return originals(lake, known.tenant_id, known.discussion_id).filter(last).tail(count)


def parse_until(text: str) -> dt.datetime | int:
    """`17` as a sequence number, `2024-03-01T10:00` as a moment (UTC where it names no zone). Raises PlatformError."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return read_moment(text)
    except ValueError:
        raise PlatformError(
            f"“{text}” is neither a sequence number nor a moment.", "Write 17, 2024-03-01 or 2024-03-01T10:00:00Z."
        ) from None


class _Known(NamedTuple):
    """Whose a discussion is, and between which moments its events lie."""

    tenant_id: str
    discussion_id: str
    first_event_at: dt.datetime
    last_event_at: dt.datetime

    @property
    def days(self) -> tuple[dt.date, dt.date]:
        """First and last day that its events are filed under."""
        return self.first_event_at.date(), self.last_event_at.date()


def _discussion(lake: Lake, discussion_id: str, tenant: str | None) -> _Known:
    """The discussion, as research/discussions knows it since the last build, or as it was compacted."""
    if not lake.exists(Discussions):
        raise PlatformError("There are no discussions yet.", "Run `data-platform build research`.")
    named = pl.col("discussion_id") == discussion_id
    named &= pl.col("tenant_id") == tenant if tenant is not None else pl.lit(True)
    found = lake.scan(Discussions).filter(named).select(_Known._fields).collect()
    if found.is_empty() and lake.exists(CompactedDiscussions):
        found = lake.scan(CompactedDiscussions).filter(named).select(_Known._fields).collect()
    if len(found) > 1:
        tenants = ", ".join(found["tenant_id"].sort())
        raise PlatformError(f"Several tenants have a discussion {discussion_id}: {tenants}.", "Say which: --tenant.")
    if found.is_empty():
        raise PlatformError(
            f"There is no discussion {discussion_id}.",
            "`data-platform table research/discussions` shows which there are; what arrived since the last build is "
            "not in it.",
        )
    return _Known(*found.row(0))


def _stream(lake: Lake, known: _Known) -> pl.LazyFrame:
    """All events of the discussion: from the lake, or where some are gone from it, as merged, without words."""
    of_it = _of_it(known.tenant_id, known.discussion_id)
    stream = lake.scan(DiscussionEvents, *known.days).filter(of_it)
    row = compacted(lake, known.tenant_id, known.discussion_id)
    if row.is_empty() or stream.select(pl.len()).collect().item() >= row.item(0, "events"):
        return stream
    return unmerged(row.item(0, "merged"), known.tenant_id, known.discussion_id).lazy()


def _of_it(tenant_id: str, discussion_id: str) -> pl.Expr:
    return (pl.col("tenant_id") == tenant_id) & (pl.col("discussion_id") == discussion_id)


def _snapshot(lake: Lake, known: _Known, stream: pl.LazyFrame, until: Until) -> State | None:
    """The newest snapshot that is not beyond `until` and still says what the events say; None without one."""
    if not lake.exists(DiscussionSnapshots):
        return None
    usable = _of_it(known.tenant_id, known.discussion_id) & (pl.col("fold_version") == FOLD_VERSION)
    if isinstance(until, int):
        usable &= pl.col("sequence") <= until
    elif until is not None:
        usable &= pl.col("reached_at") <= until
    rows = lake.scan(DiscussionSnapshots, *known.days).filter(usable).select("sequence", "state").collect()
    if rows.is_empty():
        return None
    state = State.from_json(rows.sort("sequence").item(-1, "state"))
    # An event that came late lies before snapshots that were made without it, until these are computed again.
    before = stream.filter(pl.col("sequence") <= state.last_sequence).select(pl.len()).collect().item()
    return state if before == state.events else None


def _until(events: pl.DataFrame, start: State, until: Until) -> pl.DataFrame:
    if until is None:
        return events
    if isinstance(until, int):
        return events.filter(pl.col("sequence") <= until)
    recorded = pl.col("occurred_at").cum_max()
    if start.last_event_at is not None:
        recorded = pl.max_horizontal(recorded, pl.lit(start.last_event_at))
    return events.filter(recorded <= until)
