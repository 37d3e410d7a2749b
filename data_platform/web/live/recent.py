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
"""A player with an event in so many seconds is active; as long are the charts and what is told of campaigns."""
STEP_SECONDS = 5
"""Of a chart: a second of a busy game is noise, and producers send what waits every five."""
LEADING_MINUTES = 15
SHOWN = 10


@dataclass
class _Minute:
    """One minute of event time."""

    points: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    actors: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


@dataclass
class _Stay:
    """Seconds of an actor's first and last event between which he was always active, and when he no longer was
    after the stay before."""

    first: int
    last: int
    after: int


class Recent:
    """Sums over the last seconds and minutes before the newest event."""

    def __init__(self) -> None:
        self._seconds: Counter[int] = Counter()
        self._stays: dict[str, _Stay] = {}
        self._coming: Counter[int] = Counter()
        """By second: how many more actors are active in it than in the second before."""
        self._active_before = 0
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
            self._see(actor, second)
            minute = self._minutes[second // MINUTE_SECONDS]
            minute.points[actor] += points
            self._points[actor] += points
            if place is not None:
                minute.events[place] += 1
                minute.actors[place].add(actor)

    def _see(self, actor: str, second: int) -> None:
        """Whoever does something is active from then on for ACTIVE_SECONDS. Left out is what comes so late
        that it is of a stay before the one that is known: it says nothing of now."""
        stay = self._stays.get(actor)
        if stay is None or second >= stay.last + ACTIVE_SECONDS:
            self._coming[second] += 1
            self._coming[second + ACTIVE_SECONDS] -= 1
            self._stays[actor] = _Stay(second, second, stay.last + ACTIVE_SECONDS if stay else 0)
        elif second > stay.last:
            self._coming[stay.last + ACTIVE_SECONDS] += 1
            self._coming[second + ACTIVE_SECONDS] -= 1
            stay.last = second
        elif stay.first - ACTIVE_SECONDS <= second < stay.first:
            self._coming[stay.first] -= 1
            stay.first = max(second, stay.after)
            self._coming[stay.first] += 1

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
        for old in [at for at in self._coming if at < oldest]:
            self._active_before += self._coming.pop(old)
        if len(self._stays) > 2 * len(self._points) + 1000:
            self._stays = {actor: stay for actor, stay in self._stays.items() if stay.last >= oldest}

    def per_second(self, second: int) -> list[int]:
        """Events in each of the 300 seconds up to this one."""
        return [self._seconds.get(at, 0) for at in range(second - ACTIVE_SECONDS + 1, second + 1)]

    def active(self, second: int) -> int:
        """Different actors in these seconds."""
        return self._active_before + sum(more for at, more in self._coming.items() if at <= second)

    def steps(self, second: int) -> list[tuple[int, float, int]]:
        """(first second, events per second, actors active at its end) of each step of the last ACTIVE_SECONDS that was
        over before this second; oldest first."""
        end = second // STEP_SECONDS * STEP_SECONDS
        told, active, known = [], self._active_before, sorted(self._coming.items())
        place = 0
        for start in range(end - ACTIVE_SECONDS, end, STEP_SECONDS):
            while place < len(known) and known[place][0] < start + STEP_SECONDS:
                active += known[place][1]
                place += 1
            events = sum(self._seconds.get(at, 0) for at in range(start, start + STEP_SECONDS))
            told.append((start, events / STEP_SECONDS, active))
        return told

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
