"""Segments of a landing folder as they appear, whoever writes them: each once, none left out.
Belongs here: which are new, and finding those that ingestion put away meanwhile. Not here: what their lines say.

Ingestion takes a segment in about a second after it appeared, so nearly all are seen where they appear: a look costs a
scan of the few files that wait there. One that was put away between two looks is found among the ingested files by its
name. That folder holds hundreds of thousands of files after a year, so it is listed only when something was moved into
it, and for a fiftieth of the time (100,000 names: 60 ms, so every 3 s), at once only when a stretch is missing."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_platform.sources.landing_files import INGESTED, changed_at, visible_files
from data_platform.sources.segments import is_segment

PUT_AWAY = re.compile(r"^\d{8}-[0-9a-f]{12}-(?P<name>.+)$")
STRETCH = re.compile(r"^(?P<stream>.+)~(?P<generation>\d+)~(?P<begin>\d+)-(?P<end>\d+)\.ndjson\.zst$")
SHARE_OF_LISTING = 50
GAP_SECONDS = 5.0
"""So long a missing stretch is waited for, while what follows it is held back."""
CLOCK_TICK_NS = 20_000_000
"""Two moves within one tick of the file system's clock leave a folder with one time of change."""


@dataclass(frozen=True, order=True)
class Stretch:
    """A segment by its name: of one generation of a stream, from `begin` to `end`."""

    stream: str
    generation: int
    begin: int
    end: int
    name: str = field(compare=False)

    @staticmethod
    def named(name: str) -> Stretch | None:
        """None for a name that is no segment's."""
        found = STRETCH.match(name) if is_segment(name) else None
        if found is None:
            return None
        return Stretch(found["stream"], int(found["generation"]), int(found["begin"]), int(found["end"]), name)


@dataclass
class _Stream:
    """One generation of a stream: up to where it was handed out, and what before that was never seen."""

    end: int
    missing: list[tuple[int, int]] = field(default_factory=list)
    waiting_since: float | None = None

    def knows(self, stretch: Stretch) -> bool:
        return stretch.end <= self.end and self.gap_around(stretch) is None

    def gap_around(self, stretch: Stretch) -> tuple[int, int] | None:
        return next((gap for gap in self.missing if gap[0] <= stretch.begin < stretch.end <= gap[1]), None)

    def fill(self, gap: tuple[int, int], stretch: Stretch) -> None:
        self.missing.remove(gap)
        left = [(gap[0], stretch.begin), (stretch.end, gap[1])]
        self.missing += [(begin, end) for begin, end in left if begin < end]


class Tail:
    """The new segments of one landing folder, look by look. Not safe to use from several threads.

    The first look also hands out what was put away since `since` (seconds since 1970); `skipped` says from then on
    whether older segments lie there.
    """

    def __init__(self, folder: Path, since: float) -> None:
        self.folder, self.ingested, self.since = folder, folder / INGESTED, since
        self.skipped = False
        self._streams: dict[tuple[str, int], _Stream] = {}
        self._away: dict[Stretch, Path] = {}
        """Put away and not handed out yet."""
        self._listed_at = -1
        self._next_listing = 0.0

    def look(self) -> list[Path]:
        """Where new segments lie, those of each stream in order. Whoever opens one may find that it was put away since:
        `moved` says where to."""
        now = time.monotonic()
        files = ((path, Stretch.named(path.name)) for path, why in visible_files(self.folder) if why is None)
        waiting = {stretch: path for path, stretch in files if stretch}
        # Landing first: what is put away between the two is seen twice rather than never.
        if now >= self._next_listing or any(self._follows_nothing(stretch) for stretch in waiting):
            self._list_ingested(now)
        found = waiting | self._away
        chosen = list(self._new(sorted(found), now))
        paths = [found[stretch] for stretch in chosen]
        self._away = {stretch: path for stretch, path in self._away.items() if not self._knows(stretch)}
        return paths

    def moved(self, path: Path) -> Path | None:
        """Where a segment lies that was put away after it was handed out; None where it is nowhere."""
        return next((self.ingested / name for name in _names(self.ingested) if name.endswith(f"-{path.name}")), None)

    def missing(self) -> int:
        """Stretches of all streams that were never seen."""
        return sum(len(stream.missing) for stream in self._streams.values())

    def _new(self, found: Iterable[Stretch], now: float) -> Iterator[Stretch]:
        for stretch in found:
            stream = self._streams.setdefault((stretch.stream, stretch.generation), _Stream(stretch.begin))
            if (gap := stream.gap_around(stretch)) is not None:
                stream.fill(gap, stretch)
                yield stretch
            elif stretch.end > stream.end and (stretch.begin <= stream.end or _gives_up(stream, stretch, now)):
                stream.end, stream.waiting_since = stretch.end, None
                yield stretch

    def _knows(self, stretch: Stretch) -> bool:
        stream = self._streams.get((stretch.stream, stretch.generation))
        return stream is not None and stream.knows(stretch)

    def _follows_nothing(self, stretch: Stretch) -> bool:
        """The stretch before this one was not seen."""
        stream = self._streams.get((stretch.stream, stretch.generation))
        return stretch.begin > (stream.end if stream else 0)

    def _list_ingested(self, now: float) -> None:
        """Remember what was put away and not handed out, if anything was moved there since the last time."""
        try:
            changed = self.ingested.stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        first, self._next_listing = self._listed_at < 0, now
        if changed == self._listed_at:
            return
        self._listed_at = 0 if time.time_ns() - changed < CLOCK_TICK_NS else changed
        for name in _names(self.ingested):
            found = PUT_AWAY.match(name)
            stretch = Stretch.named(found["name"]) if found else None
            if stretch and not self._knows(stretch):
                if first and changed_at(self.ingested / name) < self.since:
                    self._begin_behind(stretch)
                else:
                    self._away[stretch] = self.ingested / name
        self._next_listing = time.monotonic() + (time.monotonic() - now) * SHARE_OF_LISTING

    def _begin_behind(self, stretch: Stretch) -> None:
        """This one is older than what is asked for: its stream is handed out from its end on."""
        self.skipped = True
        stream = self._streams.setdefault((stretch.stream, stretch.generation), _Stream(stretch.end))
        stream.end = max(stream.end, stretch.end)


def _gives_up(stream: _Stream, stretch: Stretch, now: float) -> bool:
    """A stretch before this one is missing: whether it was waited for long enough. Then it is noted."""
    if stream.waiting_since is None:
        stream.waiting_since = now
    if now - stream.waiting_since < GAP_SECONDS:
        return False
    stream.missing.append((stream.end, stretch.begin))
    return True


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(folder)
    return []
