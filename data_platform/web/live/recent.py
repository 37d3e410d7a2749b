"""What happened just now: events a second, who is active, who leads, what happens where. Forgets after minutes.
Belongs here: sliding sums over event time. Not here: windows, which are compared with the tables (counting)."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import polars as pl

SECOND = 1_000_000
MINUTE_SECONDS = 60
ACTIVE_SECONDS = 300
"""A player with an event in so many seconds is active; as long are the plot and what is told of campaigns."""
LEADING_MINUTES = 15
SHOWN = 10


@dataclass
class _Minute:
    """One minute of event time."""

    points: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    actors: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


class Recent:
    """Sums over the last seconds and minutes before the newest event."""

    def __init__(self) -> None:
        self._seconds: Counter[int] = Counter()
        self._last_seen: dict[str, int] = {}
        self._seen_last_in: Counter[int] = Counter()
        self._minutes: defaultdict[int, _Minute] = defaultdict(_Minute)
        self._points: Counter[str] = Counter()

    def add(self, facts: pl.DataFrame, newest: int) -> None:
        """Count FACTS, each event once; what is older than is shown is left out. `newest`: microseconds since 1970."""
        first = newest // SECOND - LEADING_MINUTES * MINUTE_SECONDS
        latest = pl.col("at") // SECOND
        rows = facts.filter(latest.is_between(first, newest // SECOND)).select("at", "place", "actor", "points")
        for at, place, actor, points in rows.iter_rows():
            second = at // SECOND
            self._seconds[second] += 1
            before = self._last_seen.get(actor)
            if before is None or before < second:
                self._last_seen[actor] = second
                self._seen_last_in[second] += 1
                if before is not None:
                    self._seen_last_in[before] -= 1
            minute = self._minutes[second // MINUTE_SECONDS]
            minute.points[actor] += points
            self._points[actor] += points
            if place is not None:
                minute.events[place] += 1
                minute.actors[place].add(actor)

    def forget(self, second: int) -> None:
        """Drop what is older than is shown at this second."""
        oldest_minute = second // MINUTE_SECONDS - LEADING_MINUTES
        for minute in [minute for minute in self._minutes if minute <= oldest_minute]:
            self._points.subtract(gone := self._minutes.pop(minute).points)
            for actor in gone:
                if self._points[actor] <= 0:
                    del self._points[actor]
        oldest = second - LEADING_MINUTES * MINUTE_SECONDS
        for old in [at for at in self._seconds if at < oldest]:
            del self._seconds[old]
        for old in [at for at in self._seen_last_in if at < oldest]:
            del self._seen_last_in[old]
        if len(self._last_seen) > 2 * len(self._points) + 1000:
            self._last_seen = {actor: at for actor, at in self._last_seen.items() if at >= oldest}

    def per_second(self, second: int) -> list[int]:
        """Events in each of the 300 seconds up to this one."""
        return [self._seconds.get(at, 0) for at in range(second - ACTIVE_SECONDS + 1, second + 1)]

    def active(self, second: int) -> int:
        """Different actors in these seconds."""
        return sum(self._seen_last_in.get(at, 0) for at in range(second - ACTIVE_SECONDS + 1, second + 1))

    def leaders(self) -> list[tuple[str, float]]:
        """(actor, points) of the last 15 minutes, most first; of equals the first by name."""
        return heapq.nsmallest(SHOWN, self._points.items(), key=lambda one: (-one[1], one[0]))

    def places(self, second: int) -> list[tuple[str, int, int]]:
        """(place, events, different actors) of the last five whole minutes and the one that goes on, most first."""
        newest = second // MINUTE_SECONDS
        minutes = [self._minutes[at] for at in range(newest - 5, newest + 1) if at in self._minutes]
        events: Counter[str] = Counter()
        for minute in minutes:
            events.update(minute.events)
        most = heapq.nsmallest(SHOWN, events.items(), key=lambda one: (-one[1], one[0]))
        return [(place, n, len(set().union(*(m.actors.get(place, ()) for m in minutes)))) for place, n in most]
