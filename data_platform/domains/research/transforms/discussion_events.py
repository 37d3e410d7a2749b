"""From events of discussions as received to the clean stream: each place of a discussion once, data in the newest
version. Belongs here: what is wrong with an event. Not here: what events add up to (discussion_state)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.research.contracts.discussions import DiscussionEvents, RawDiscussionEvents
from data_platform.domains.research.transforms.each_once import (
    EachOnce,
    content_of,
    each_once,
    of_days,
)
from data_platform.domains.research.transforms.json_fields import json_field
from data_platform.domains.research.transforms.upcasters import NEWEST, upcast

PLACE = DiscussionEvents.primary_key
CONTENT = tuple(content_of(RawDiscussionEvents))
KNOWN = pl.col("event_type").is_in(list(NEWEST))
NEWEST_VERSION = pl.col("event_type").replace_strict(NEWEST, default=None, return_dtype=pl.Int64)
FAULTS = {
    "unknown_event_type": ~KNOWN,
    "unknown_version": pl.col("event_version") > NEWEST_VERSION,
    "missing_persona_id": (pl.col("event_type") == "response") & pl.col("persona_id").is_null(),
}
"""Reason → what is true of an event that cannot be one."""


def clean_discussion_events(raw: pl.LazyFrame, days: Sequence[dt.date]) -> EachOnce:
    """Events of whole days → the clean ones (DiscussionEvents), the rejected, and copies by day.

    In: RawDiscussionEvents up to the last of `days`, all of them. A place is told once: of several events told for it,
    on whatever days, the earliest counts, then the one with the smallest digest. So a day depends on the days before it
    and on none after it.
    """
    of_the_days = raw.filter(pl.col("event_date").is_in(list(days))).select(CONTENT).collect()
    beside = _told_on_other_days(raw, of_the_days, days)
    found = each_once(pl.concat([of_the_days, beside]), RawDiscussionEvents, PLACE, "occurred_at", FAULTS)
    clean = conform(DiscussionEvents, _newest(of_days(found.clean, days, "event_date")))
    return EachOnce(clean, of_days(found.rejected, days, "event_date"), of_days(found.duplicates, days, "event_date"))


def _told_on_other_days(raw: pl.LazyFrame, rows: pl.DataFrame, days: Sequence[dt.date]) -> pl.DataFrame:
    """Earlier events for places that `rows` tell of. Nearly always none, so places are looked for first: they are two
    narrow columns, the data is nine tenths of the bytes."""
    earlier = raw.filter(~pl.col("event_date").is_in(list(days)), pl.col("event_date") < max(days))
    places = rows.lazy().select(PLACE).unique()
    told = earlier.select(PLACE).join(places, on=PLACE, how="semi").unique().collect()
    if told.is_empty():
        return rows.clear()
    return earlier.select(CONTENT).join(told.lazy(), on=PLACE, how="semi").collect()


def _newest(events: pl.DataFrame) -> pl.DataFrame:
    """The events with their data in the newest version, and what was said, and to which question, in columns."""
    old = pl.col("event_version") < NEWEST_VERSION
    upcast_data = [
        _upcast_text(kind, version, data)
        for kind, version, data in events.filter(old).select("event_type", "event_version", "event_data").iter_rows()
    ]
    newest = pl.concat(
        [events.filter(~old), events.filter(old).with_columns(event_data=pl.Series(upcast_data, dtype=pl.String))]
    )
    return newest.with_columns(
        json_field(newest["event_data"], "text"), json_field(newest["event_data"], "question_id")
    )


def _upcast_text(event_type: str, version: int, data: str) -> str:
    try:
        found = upcast(event_type, version, json.loads(data, parse_int=_Exact, parse_float=_Exact))
    except RecursionError:
        return data  # deeper than anything the platform writes: no field of ours is in it
    return _dumped(found)


class _Exact(str):
    """A JSON number as it was written."""


def _dumped(data: Any) -> str:
    """Minified JSON with numbers as they were written, and ASCII only: half of a surrogate pair stays an escape."""
    if isinstance(data, _Exact):
        return data
    if isinstance(data, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_dumped(value)}" for key, value in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ",".join(map(_dumped, data)) + "]"
    return json.dumps(data)
