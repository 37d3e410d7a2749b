"""Events counted in windows of event time, each once, whatever order they come in; windows close behind the watermark.
Belongs here: the rules of counting, which are those of the tables. Not here: reading segments (feed), what is shown
besides windows (recent), writing closed windows (record).

Copies of an event are one as in clean tables: among rows of one id on one day the earliest counts. An event of an open
window takes some 200 bytes: 380 MB at 2,000 events a second where windows stay open for 16 minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import polars as pl

from data_platform.core.contract.windows import Windows
from data_platform.web.live.known_ids import NOWHERE, KnownIds

MOST_EVENTS = 2_000_000
"""Held in open windows. Past that the oldest is closed before its time."""

MOST_EMPTY = 288
"""Windows in a row that are recorded though nothing came in them: a day. Longer silence is not compared with anything.
"""
T = TypeVar("T", bound=Hashable)
Place = tuple[str | None, str | None]
"""Type and place of events; (None, None) is all of a window."""
EVERYTHING: Place = (None, None)


class Counted(NamedTuple):
    """An event as it was counted."""

    at: int
    place: Place
    actor: str
    session: int | None

    @property
    def content(self) -> int:
        """A digest of it, of 32 bits, for this process."""
        return hash(self) & 0xFFFF_FFFF


@dataclass
class Group:
    """Events of one type and place in one window: how many, and how often each actor and session is among them."""

    events: int = 0
    actors: Counter[str] = field(default_factory=Counter)
    sessions: Counter[int] = field(default_factory=Counter)

    def add(self, event: Counted, times: int) -> None:
        """Count an event, or with -1 take one out again."""
        self.events += times
        _add(self.actors, event.actor, times)
        if event.session is not None:
            _add(self.sessions, event.session, times)


def _add(counter: Counter[T], one: T, times: int) -> None:
    counter[one] += times
    if not counter[one]:
        del counter[one]


@dataclass
class Window:
    """One open window. `events` knows what was counted in it by id."""

    events: dict[int, Counted] = field(default_factory=dict)
    groups: dict[Place, Group] = field(default_factory=dict)

    def add(self, identity: int, event: Counted) -> None:
        self.events[identity] = event
        for place in (event.place, EVERYTHING):
            self.groups.setdefault(place, Group()).add(event, 1)

    def remove(self, identity: int) -> Counted:
        event = self.events.pop(identity)
        for place in (event.place, EVERYTHING):
            self.groups[place].add(event, -1)
            if not self.groups[place].events:
                del self.groups[place]
        return event


@dataclass(frozen=True)
class Line:
    """What is recorded of a window: a type and place when it closed, or what is known of one that is closed already."""

    window: int
    place: Place
    events: int = 0
    actors: int = 0
    sessions: int = 0
    late: int = 0
    """Events that came after it was closed."""
    moved: int = 0
    """Of all of a window: events counted in it that another copy may have taken away since."""

    @property
    def is_count(self) -> bool:
        """What a window held when it closed, rather than a note of what came since."""
        return not (self.late or self.moved)


class WindowCounts:
    """The open windows of one view, and what is to be recorded of closed ones. Not safe to use from several threads."""

    def __init__(self, windows: Windows, first_open: int | None = None, most_events: int = MOST_EVENTS) -> None:
        self.windows = windows
        self.open: dict[int, Window] = {}
        self.first_open = first_open
        """Windows before it are closed; None while nothing is."""
        self.newest: int | None = None
        """Newest event time, in microseconds since 1970; the clock bounds it."""
        self.duplicates = self.late = 0
        self.most_events = most_events
        self._again = False
        self._known = KnownIds()
        self._notes: dict[tuple[int, Place], list[int]] = {}

    def count(self, facts: pl.DataFrame, now: int, again: bool = False) -> list[bool]:
        """Count FACTS; `now` (microseconds since 1970) bounds the watermark: an event from the future closes nothing.
        `again`: a server before this one counted them, so those of closed windows are in there.

        Returns of each whether it is the first of its id that was seen."""
        self._again = again
        closed = self._known.look_up(facts["id"].to_numpy())
        rows = facts.select("id", "at", "kind", "place", "actor", "session").iter_rows()
        new = [
            self._count(identity, Counted(at, (kind, place), actor, session), known)
            for (identity, at, kind, place, actor, session), known in zip(rows, closed, strict=True)
        ]
        if len(facts):
            self.newest = max(self.newest or 0, min(int(facts["at"].max()), now))  # type: ignore[arg-type]
        return new

    def _count(self, identity: int, event: Counted, closed: tuple[int, int]) -> bool:
        number = self.windows.number_of(event.at)
        closed = self._known.came_late(identity) or closed
        if self.first_open is not None and number < self.first_open:
            return self._count_late(identity, event, number, closed)
        if closed[0] != NOWHERE:  # counted in a closed window of the day, which is earlier
            self.duplicates += 1
            return False
        for other, window in self.open.items():
            before = window.events.get(identity)
            if before is None:
                continue
            self.duplicates += 1
            if event.at < before.at:
                window.remove(identity)
                self._window(number).add(identity, event)
            elif event.at == before.at and event != before:
                # Which of two at one moment is the event, their whole content says, which is not kept here.
                self._note_doubt(number, event.place, other)
            return False
        self._window(number).add(identity, event)
        return True

    def _count_late(self, identity: int, event: Counted, number: int, closed: tuple[int, int]) -> bool:
        """An event of a closed window: what was recorded stays, and this is noted beside it."""
        known_in = closed[0]
        if NOWHERE < known_in < number or closed == (number, event.content):
            self.duplicates += 1
            return False
        if known_in != NOWHERE:  # an earlier copy than the one that counts, or another one of this window
            self.duplicates += 1
            self._note_doubt(number, event.place, known_in)
            self._known.add_late(identity, number, event.content)
            return False
        for window in self.open.values():
            if identity in window.events:
                window.remove(identity)
                break
        self._known.add_late(identity, number, event.content)
        if self._again:
            return True
        self.late += 1
        self._note(number, event.place, late=1)
        return True

    def _window(self, number: int) -> Window:
        return self.open.setdefault(number, Window())

    def _note(self, number: int, place: Place, late: int = 0, moved: int = 0) -> None:
        note = self._notes.setdefault((number, place), [0, 0])
        note[0] += late
        note[1] += moved

    def _note_doubt(self, number: int, place: Place, counted_in: int) -> None:
        """A copy may be the event, here, instead of the one that is counted there, whatever its type and place were."""
        self._note(number, place, late=1)
        self._note(counted_in, EVERYTHING, moved=1)

    def close(self, up_to: int | None = None) -> list[Line]:
        """Close the windows that the watermark has left behind, or those before `up_to`; what is to be recorded.

        Windows of which nothing came are closed too: `first_open` moves on without a line."""
        if up_to is None:
            up_to = self.windows.first_open(self.newest) if self.newest is not None else 0
            if sum(len(window.events) for window in self.open.values()) > self.most_events:
                up_to = max(up_to, min(self.open) + 1)
        first = self.first_open if self.first_open is not None else min(self.open, default=up_to)
        if up_to <= first:
            return []
        lines = list(self.notes_told())
        for number in range(first, up_to) if up_to - first <= MOST_EMPTY else sorted(self.open):
            if number < up_to:
                lines += self._closed(number)
        self.first_open = up_to
        return lines

    def _closed(self, number: int) -> Iterator[Line]:
        window = self.open.pop(number, Window())
        self._known.add(number, {identity: event.content for identity, event in window.events.items()})
        for place, group in (window.groups or {EVERYTHING: Group()}).items():
            yield Line(number, place, group.events, len(group.actors), len(group.sessions))

    def notes_told(self) -> Iterator[Line]:
        """What came since for windows that are closed; told once."""
        for (number, place), (late, moved) in self._notes.items():
            yield Line(number, place, late=late, moved=moved)
        self._notes.clear()
