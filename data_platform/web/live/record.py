"""Closed windows on the disk: each as a segment of a landing source, so that they reach a table as all else does.
Belongs here: what is written of a window, up to which window that is done. Not here: counting (counting).

The stream counts windows: where it stands is the first window that is not recorded, read like the position of every
stream from landing and the ledger. Two servers never record the same windows: whoever holds the stream does."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from data_platform.core.lake.store import Lake
from data_platform.sources.live_view import LiveView
from data_platform.sources.positions import held, positions
from data_platform.sources.segments import write_segment
from data_platform.web.live.counting import Line

log = logging.getLogger(__name__)


RECORDED = "_recorded"
"""A file of this name in the folder says by its time of change when windows were recorded last."""
KEPT_WITHOUT_HOLD = 12
"""Closed windows that are kept while another server holds the stream, should it die: an hour of them."""


class Record:
    """Where one view's closed windows go. As a context manager it holds the stream, as soon as nobody else does."""

    def __init__(self, view: LiveView, landing: Path, lake: Lake) -> None:
        self.windows = view.windows
        self.folder = landing / view.recorded.name
        self.stream = f"live:{view.source.name}"
        self.holds = False
        self.failure: str | None = None
        self.end: int | None = None
        """The first window that is not recorded; None before any is."""
        self.whole_from = 0
        """Windows before it were not seen whole: they are left out, which begins the stream anew."""
        self.written_at = 0.0
        """When windows were last recorded, by any server, in seconds since 1970."""
        self._generation = 0
        self._lake = lake
        self._waiting: list[Line] = []
        self._held = ExitStack()

    def __enter__(self) -> Record:
        self._hold()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        self.holds = False

    def _hold(self) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self.holds = stack.enter_context(held(self.folder, self.stream))
            self._held = stack.pop_all() if self.holds else self._held
        if found := positions(self._lake, self.folder).get(self.stream):
            self._generation, self.end = found.generation, found.end
        with suppress(FileNotFoundError):
            self.written_at = (self.folder / RECORDED).stat().st_mtime
        return self.holds

    def write(self, lines: Sequence[Line], first_open: int) -> None:
        """Record lines, all of windows before `first_open`. What cannot be written now is written with the next."""
        self._waiting += lines
        if not self.holds and not self._hold():
            self._waiting = [line for line in self._waiting if line.window >= first_open - KEPT_WITHOUT_HOLD]
            return
        counted = [line.window for line in self._waiting if line.is_count]
        begin = max(self.end if self.end is not None else min([first_open, *counted]), self.whole_from)
        if first_open <= begin:
            return
        generation = self._generation + (self.end is not None and begin > self.end)
        kept = [line for line in self._waiting if line.window >= begin or not line.is_count]
        text = "".join(map(self._text, kept)).encode()
        try:
            write_segment(self.folder, self.stream, begin, first_open, text, generation=generation)
            (self.folder / RECORDED).touch()
        except OSError as error:
            self.failure = error.strerror or str(error)
            log.warning("closed windows cannot be written to %s: %s", self.folder, self.failure)
            return
        self._waiting, self.end, self._generation, self.failure = [], first_open, generation, None

    def _text(self, line: Line) -> str:
        start = dt.datetime.fromtimestamp(line.window * self.windows.microseconds / 1e6, dt.UTC)
        kind, place = line.place
        told = {
            "window_start": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "event_type": kind,
            "place": place,
            "events": line.events,
            "actors": line.actors,
            "sessions": line.sessions,
            "late_events": line.late,
            "moved_events": line.moved,
        }
        return json.dumps(told, ensure_ascii=False) + "\n"
