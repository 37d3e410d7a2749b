"""One source as it arrives: its new segments read, parsed as ingestion does, counted, and told as one message.
Belongs here: the order of these acts, and what viewers are told. Not here: counting (counting, recent), connections
and pages."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.sources.compressed_lines import FileRefused, LineChunk, LineFile
from data_platform.sources.line_parser import LineParser, Received
from data_platform.sources.live_view import LiveView
from data_platform.sources.tail import Tail
from data_platform.web.live.counting import EVERYTHING, WindowCounts
from data_platform.web.live.recent import Recent
from data_platform.web.live.record import Record

READ_BACK = dt.timedelta(minutes=30)
"""A server that starts reads so much again of what was taken in before; windows that began earlier it does not show."""
TOGETHER_BYTES = 4 << 20
"""Segments are parsed together up to here: a query costs 8 ms however few lines it has."""
MOST_SEGMENTS = 100
"""Taken in between two looks: whoever reads half an hour back shows how far he is, and closes windows on the way."""
WINDOWS_SHOWN = 12
LIVE_SECONDS = 300
"""While the newest event is younger than this, "now" is the clock; else, as when old days are replayed, that event."""
MICROSECONDS = 1_000_000


class Feed:
    """One live view. `step` and `message` are called by one thread; entering it holds the record."""

    def __init__(self, view: LiveView, landing: Path, lake: Lake) -> None:
        self.view = view
        self.record = Record(view, landing, lake)
        self._folder = landing / view.source.name
        tolerance = dt.timedelta(minutes=settings().future_tolerance_minutes)
        self._parser = LineParser(view.source, settings().first_day, tolerance)
        self._rejected = Counter[str]()
        self._rejected_at = deque[tuple[float, int]]()
        self._events = self._segments = self._unreadable = 0
        self._written: list[float] = []
        self._delays = deque[float](maxlen=50)
        self._silent_since = time.monotonic()
        self._closed = deque[dict[str, Any]](maxlen=WINDOWS_SHOWN)

    def __enter__(self) -> Feed:
        self.record.__enter__()
        now, end = time.time(), self.record.end
        length = self.view.windows.length.total_seconds()
        since = now - READ_BACK.total_seconds()
        goes_on = end is not None and end * length >= since
        self._tail = Tail(self._folder, end * length if goes_on and end is not None else since)
        self._counts = WindowCounts(self.view.windows, end if goes_on else None)
        self._counted_until = self.record.written_at if goes_on else 0.0
        self._recent = Recent()
        self._found = deque(self._tail.look())
        if self._tail.skipped and not goes_on:
            self.record.whole_from = int(since // length) + 1
        return self

    def __exit__(self, *_: object) -> None:
        self.record.__exit__()

    @property
    def waiting(self) -> int:
        """Segments that arrived and are not read yet."""
        return len(self._found)

    def step(self) -> bool:
        """Take in what arrived since the last step and close windows; whether anything did."""
        self._found.extend(self._tail.look())
        found = [self._found.popleft() for _ in range(min(len(self._found), MOST_SEGMENTS))]
        self._take(found, time.time())
        # What no newer event will close is closed by silence.
        silent = time.monotonic() - self._silent_since > self.view.windows.closes_after.total_seconds()
        return self._close(everything=silent) or bool(found)

    def close_all(self) -> None:
        """Take in what arrived and close every window, as a long silence does."""
        while self.step():
            pass
        self._close(everything=True)

    def _close(self, everything: bool) -> bool:
        """Close windows and record them; whether there were any."""
        lines = self._counts.close(max(self._counts.open) + 1 if everything and self._counts.open else None)
        if not lines or self._counts.first_open is None:
            return False
        self._closed.extend(
            self._window(line.window, line.events, line.actors, line.sessions, "closed")
            for line in lines
            if line.place == EVERYTHING and line.is_count
        )
        self.record.write(lines, self._counts.first_open)
        return True

    # --------------------------------------------------------------------------------------------- taking in
    def _take(self, paths: Sequence[Path], now: float) -> None:
        if paths:
            self._silent_since = time.monotonic()
        for text, again in self._texts(paths):
            self._count(text, now, again)
        told, self._written = self._written, []
        self._delays.extend(time.time() - at for at in told)

    def _texts(self, paths: Sequence[Path]) -> Iterator[tuple[bytes, bool]]:
        """The lines of segments, small ones together, and whether a server before this one counted them."""
        gathered, size = list[bytes](), 0
        before = False
        for path in paths:
            for at, chunk in self._chunks(path):
                again = at < self._counted_until
                if gathered and (size > TOGETHER_BYTES or again != before):
                    yield b"".join(gathered), before
                    gathered, size = [], 0
                before = again
                gathered.append(chunk)
                size += len(chunk)
        if gathered:
            yield b"".join(gathered), before

    def _chunks(self, path: Path) -> Iterator[tuple[float, bytes]]:
        """When a segment was written, with some of its lines."""
        for place in (path, None):
            place = place or self._tail.moved(path)
            if place is None:
                break
            try:
                at = place.stat().st_mtime
                chunks = [chunk for chunk in LineFile(place).chunks() if isinstance(chunk, LineChunk)]
            except FileNotFoundError:  # put away meanwhile
                continue
            except (OSError, FileRefused):
                break
            self._written.append(at)
            self._segments += 1
            yield from ((at, chunk.text) for chunk in chunks)
            return
        self._unreadable += 1

    def _count(self, text: bytes, now: float, again: bool) -> None:
        parsed = self._parser.parse(LineChunk(1, text), Received("", "", dt.datetime.fromtimestamp(now, dt.UTC)))
        facts = self.view.facts(parsed.rows)
        reasons = Counter(parsed.rejected["reason"].to_list())
        if len(facts) < len(parsed.rows):
            reasons["not_counted"] = len(parsed.rows) - len(facts)
        self._rejected.update(reasons)
        if rejected := reasons.total():
            self._rejected_at.append((now, rejected))
        new = self._counts.count(facts, int(now * MICROSECONDS), again)
        self._events += sum(new)
        if self._counts.newest is not None:
            self._recent.add(facts.filter(pl.Series(new, dtype=pl.Boolean)), self._counts.newest)

    # --------------------------------------------------------------------------------------------- telling
    def message(self) -> dict[str, Any]:
        """What viewers are told: plain values, times in ISO (UTC), durations in seconds."""
        now = time.time()
        newest = self._counts.newest
        late = now - newest / MICROSECONDS if newest is not None else None
        second = int(now if late is None or late < LIVE_SECONDS else now - late)
        self._recent.forget(second)
        while self._rejected_at and self._rejected_at[0][0] < now - LIVE_SECONDS:
            self._rejected_at.popleft()
        seconds = self._recent.per_second(second)
        delays = sorted(self._delays)
        return {
            "source": self.view.source.name,
            "place": self.view.place,
            "as_of": _iso(now),
            "newest": _iso(newest / MICROSECONDS) if newest is not None else None,
            "behind": round(max(late, 0), 1) if late is not None else None,
            "second": second,
            "per_second": seconds,
            "rate": round(sum(seconds[-11:-1]) / 10, 1),
            "active": self._recent.active(second),
            "steps": [list(step) for step in self._recent.steps(second)],
            "leaders": [[actor, round(points)] for actor, points in self._recent.leaders()],
            "places": [list(place) for place in self._recent.places(second)],
            "windows": self._windows(),
            "events": self._events,
            "duplicates": self._counts.duplicates,
            "late": self._counts.late,
            "rejected": {
                "recent": sum(count for _, count in self._rejected_at),
                "all": self._rejected.total(),
                "reasons": [list(reason) for reason in self._rejected.most_common(5)],
            },
            "segments": self._segments,
            "waiting": self.waiting,
            "unreadable": self._unreadable,
            "missing": self._tail.missing(),
            "delay": round(delays[len(delays) // 2], 3) if delays else None,
            "records": self.record.holds,
            "failure": self.record.failure,
        }

    def _windows(self) -> list[dict[str, Any]]:
        """The newest first: open ones, then closed ones."""
        windows, newest = self.view.windows, self._counts.newest or 0
        watermark = newest - int(windows.out_of_order.total_seconds() * MICROSECONDS)
        told = []
        for number, window in sorted(self._counts.open.items(), reverse=True):
            whole = (number + 1) * windows.microseconds <= watermark
            with suppress(KeyError):  # all of it moved to another window
                group = window.groups[EVERYTHING]
                state = "whole" if whole else "filling"
                told.append(self._window(number, group.events, len(group.actors), len(group.sessions), state))
        return (told + list(reversed(self._closed)))[:WINDOWS_SHOWN]

    def _window(self, number: int, events: int, actors: int, sessions: int, state: str) -> dict[str, Any]:
        start = number * self.view.windows.microseconds / MICROSECONDS
        return {"start": _iso(start), "events": events, "actors": actors, "sessions": sessions, "state": state}


def _iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
