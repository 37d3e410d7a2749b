"""Rows of research as lines and frames, and random streams of events. Not here: any assertion about the platform."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

import polars as pl
from hypothesis import strategies as st

from data_platform.core.contract.table import Table
from data_platform.domains.research.contracts.discussions import (
    EVENT_TYPES,
    DiscussionEvents,
    RawDiscussionEvents,
)

Row = dict[str, Any]
NOON = dt.datetime(2024, 1, 3, 12, tzinfo=dt.UTC)


def said(sequence: int, **changes: Any) -> Row:
    """An event of discussion d-1 as a line tells it: a response of p-1, a minute after the one before."""
    made: Row = {
        "discussion_id": "d-1",
        "sequence": sequence,
        "event_id": f"e-{sequence}",
        "event_type": "response",
        "occurred_at": (NOON + dt.timedelta(minutes=sequence)).isoformat(),
        "event_version": 2,
        "event_data": {"text": f"words {sequence}", "question_id": "q1"},
        "project_id": "project-1",
        "persona_id": "p-1",
        "tenant_id": "t-1",
    }
    return made | changes


def discussion_lines(events: int, **changes: Any) -> list[Row]:
    """A whole discussion: started, responses by turns, ended."""
    rows = [said(n, persona_id=f"p-{n % 3}", **changes) for n in range(1, events + 1)]
    rows[0] |= {"event_type": "discussion_started", "persona_id": None, "event_data": {"focus_group_id": "g-1"}}
    rows[-1] |= {"event_type": "discussion_ended", "persona_id": None, "event_version": 1, "event_data": {}}
    return rows


def raw_frame(lines: Iterable[Row]) -> pl.DataFrame:
    """Lines as RawDiscussionEvents, as if each were received by itself."""
    rows = []
    for number, line in enumerate(lines, 1):
        at = dt.datetime.fromisoformat(line["occurred_at"])
        bookkeeping = {"source_file": "f", "source_line": number, "received_at": NOON, "event_date": at.date()}
        rows.append(line | bookkeeping | {"occurred_at": at, "event_data": _minified(line["event_data"])})
    return frame(RawDiscussionEvents, rows)


def frame(table: type[Table], rows: Iterable[Row]) -> pl.DataFrame:
    """Rows as a frame of the table; what a row does not name is null."""
    given = [[row.get(name) for name in table.columns] for row in rows]
    return pl.DataFrame(given, schema=table.schema(), orient="row")


def _minified(data: Any) -> str:
    return data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))


@st.composite
def streams(draw: st.DrawFn, discussion_id: str = "d-1", most: int = 30) -> list[Row]:
    """Rows of DiscussionEvents of one discussion in order of sequence: any types in any order, gaps, clocks that go
    back."""
    sequences = sorted(draw(st.sets(st.integers(1, most + 5), min_size=1, max_size=most)))
    at = NOON
    rows: list[Row] = []
    for sequence in sequences:
        at += dt.timedelta(seconds=draw(st.sampled_from([0, 1, 60, 60, 50_000, -30])))
        kind = draw(st.sampled_from([*EVENT_TYPES, "response", "response", "followup"]))
        focus_group = draw(st.sampled_from([None, "g-1", "g-2"]))
        rows.append(
            {
                "event_date": at.date(),
                "discussion_id": discussion_id,
                "sequence": sequence,
                "event_id": f"{discussion_id}-{sequence}",
                "event_type": kind,
                "event_version": 1,
                "occurred_at": at,
                "project_id": draw(st.sampled_from(["project-1", "project-2"])),
                "persona_id": draw(st.sampled_from([None, "p-1", "p-2", "p-3"])) if kind != "response" else "p-2",
                "user_id": "u-1",
                "question_id": draw(st.sampled_from([None, "q1", "q2"])),
                "text": "words",
                "event_data": _minified({"focus_group_id": focus_group} if focus_group else {}),
                "tenant_id": "t-1",
            }
        )
        if kind == "response" and draw(st.booleans()):
            rows[-1]["persona_id"] = draw(st.sampled_from(["p-1", "p-3"]))
    return rows


def clean_frame(rows: Iterable[Row]) -> pl.DataFrame:
    return frame(DiscussionEvents, rows)
