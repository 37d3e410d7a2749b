"""What a discussion is after its events: a state, and the pure fold that makes it. Replay, time travel and snapshots
are this one function. Not here: reading events, tables of many states (discussions).

The state holds no words and names no user: erasing what a person said changes no state."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import polars as pl

FOLD_VERSION = 1
"""Raise it whenever `fold` or `State` changes: snapshots of another version are ignored."""
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# Looked for where it can be: parsing the data of all events takes 0.5 s a million, as long as the rest of the fold.
FOCUS_GROUP = (
    pl.when(pl.col("event_type") == "discussion_started")
    .then(pl.col("event_data"))
    .str.json_path_match("$.focus_group_id")
)


class Event(NamedTuple):
    """Of a discussion's event, what the fold looks at."""

    sequence: int
    event_id: str
    event_type: str
    occurred_at: dt.datetime
    project_id: str
    persona_id: str | None
    question_id: str | None
    focus_group_id: str | None


@dataclass(frozen=True, slots=True)
class State:
    """A discussion as it stands after some of its events. Times are UTC."""

    discussion_id: str
    tenant_id: str
    project_id: str = ""
    focus_group_id: str | None = None
    starts: int = 0
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    events: int = 0
    responses: int = 0
    followups: int = 0
    events_after_end: int = 0
    clock_went_back: int = 0
    responses_by_persona: Mapping[str, int] = field(default_factory=dict)
    """In order of id."""
    questions: tuple[str, ...] = ()
    """Asked or answered, in order of id."""
    last_sequence: int = 0
    last_event_id: str = ""
    last_event_type: str = ""
    last_event_at: dt.datetime | None = None
    """The latest time so far: an event that claims to be older than one before it was recorded after that."""

    @property
    def status(self) -> str:
        return "open" if self.ended_at is None else "ended"

    @property
    def missing_events(self) -> int:
        return self.last_sequence - self.events

    def to_json(self) -> str:
        """The state as JSON: times as microseconds since 1970, the same text for the same state."""
        return json.dumps(asdict(self), default=_microseconds, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> State:
        found = json.loads(text)
        for name in ("started_at", "ended_at", "last_event_at"):
            if found[name] is not None:
                found[name] = EPOCH + dt.timedelta(microseconds=found[name])
        return cls(**found | {"questions": tuple(found["questions"])})


def fold(events: Iterable[Event], state: State) -> State:
    """The state after these events: in ascending order of sequence, all beyond the state's own last one.

    Pure: `fold(b, fold(a, s))` is `fold(a + b, s)`, wherever a stream is cut. Raises ValueError for an event at or
    before the last one folded. About 0.5 µs an event: nothing is copied in between.
    """
    kinds: Counter[str] = Counter()
    by_persona, questions = Counter(state.responses_by_persona), set(state.questions)
    project, focus_group = state.project_id, state.focus_group_id
    started_at, ended_at, latest = state.started_at, state.ended_at, state.last_event_at
    folded = after_end = went_back = 0
    last, last_id, kind = state.last_sequence, state.last_event_id, state.last_event_type
    for event in events:
        if event.sequence <= last:
            raise ValueError(f"event {event.sequence} of {state.discussion_id} comes after {last}")
        last, last_id, kind, at = event.sequence, event.event_id, event.event_type, event.occurred_at
        folded += 1
        after_end += ended_at is not None
        kinds[kind] += 1
        project = project or event.project_id
        if focus_group is None:
            focus_group = event.focus_group_id
        if kind == "response" and event.persona_id is not None:
            by_persona[event.persona_id] += 1
        elif kind == "discussion_started" and started_at is None:
            started_at = at
        elif kind == "discussion_ended" and ended_at is None:
            ended_at = at
        if event.question_id is not None:
            questions.add(event.question_id)
        if latest is not None and at < latest:
            went_back += 1
        else:
            latest = at
    return State(
        discussion_id=state.discussion_id,
        tenant_id=state.tenant_id,
        project_id=project,
        focus_group_id=focus_group,
        starts=state.starts + kinds["discussion_started"],
        started_at=started_at,
        ended_at=ended_at,
        events=state.events + folded,
        responses=state.responses + kinds["response"],
        followups=state.followups + kinds["followup"],
        events_after_end=state.events_after_end + after_end,
        clock_went_back=state.clock_went_back + went_back,
        responses_by_persona=dict(sorted(by_persona.items())),
        questions=tuple(sorted(questions)),
        last_sequence=last,
        last_event_id=last_id,
        last_event_type=kind,
        last_event_at=latest,
    )


def events_of(rows: pl.DataFrame) -> list[Event]:
    """Rows of DiscussionEvents of one discussion as events, in the order of their sequence."""
    fields = rows.with_columns(focus_group_id=FOCUS_GROUP).sort("sequence").select(Event._fields)
    return [Event(*row) for row in fields.iter_rows()]


def _microseconds(value: Any) -> int:
    assert isinstance(value, dt.datetime)
    return (value - EPOCH) // dt.timedelta(microseconds=1)
