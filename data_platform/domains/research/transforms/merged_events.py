"""Many events of a discussion merged into one text, and back: what the fold looks at, without the words.
Not here: where texts and originals are kept (archive)."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl

from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.transforms.discussion_state import EPOCH, Event, events_of

MICROSECOND = dt.timedelta(microseconds=1)


def merged(rows: pl.DataFrame) -> str:
    """DiscussionEvents of one discussion as one JSON object: an array per event, times in microseconds since 1970."""
    events = [event._replace(occurred_at=(event.occurred_at - EPOCH) // MICROSECOND) for event in events_of(rows)]  # type: ignore[arg-type]
    return json.dumps({"fields": Event._fields, "events": events}, separators=(",", ":"))


def unmerged(text: str, tenant_id: str, discussion_id: str) -> pl.DataFrame:
    """A merged text as DiscussionEvents without words: `events_of` it is what it was of the originals."""
    found = json.loads(text)
    rows = [dict(zip(found["fields"], event, strict=True)) for event in found["events"]]
    for row in rows:
        at = EPOCH + row["occurred_at"] * MICROSECOND
        group = row["focus_group_id"]
        row |= {
            "occurred_at": at,
            "event_date": at.date(),
            "event_version": 1,
            "event_data": "{}" if group is None else json.dumps({"focus_group_id": group}),
            "tenant_id": tenant_id,
            "discussion_id": discussion_id,
        }
    given = [[row.get(name) for name in DiscussionEvents.columns] for row in rows]
    return pl.DataFrame(given, schema=DiscussionEvents.schema(), orient="row")
