"""An endpoint as a stream of segments: one window of time is one segment, written when all of the window was read.
Belongs here: which window comes next, reading it whole, writing it. Not here: requests (client), several endpoints
(connector).

Lists are newest first, so that a window that was read in part says nothing of where to go on: what is not whole is
dropped, and read anew."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from data_platform.core.errors import PlatformError
from data_platform.sources.connectors import StreamState, Ways
from data_platform.sources.positions import held, positions
from data_platform.sources.rest.client import ApiClient
from data_platform.sources.rest.declarations import CursorLost, Endpoint
from data_platform.sources.rest.windows import Pace, Window, floored, halved, microseconds, moment_at, next_window
from data_platform.sources.segments import write_segment

MOST_OBJECTS = 10_000
"""Of a window, unless it cannot be divided: 100 requests, 4 s at Stripe's pace, about 30 MB."""
READINGS = 5
"""Of one window, when its cursors are lost on the way."""
MARGIN = dt.timedelta(days=1)
"""A stream of what an API forgets begins so long after what it forgets next."""
COARSE = dt.timedelta(seconds=5)
"""Servers tell the time in whole seconds, and some a moment late."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Beginning:
    """Where a stream begins: `since` what is wanted at all, `first` where this generation of it begins."""

    since: dt.datetime
    first: dt.datetime
    generation: int


class EndpointStream:
    """One endpoint of one section, read up to the present."""

    def __init__(
        self,
        stream: str,
        endpoint: Endpoint,
        beginning: Beginning,
        pace: Pace,
        ways: Ways,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self.stream = stream
        self.endpoint = endpoint
        self._beginning = beginning
        self._pace = pace
        self._ways = ways
        self._folder = ways.folder(endpoint.source)
        self._clock = clock
        self._span = pace.longest
        self._position: dt.datetime | None = None
        self._read_at: dt.datetime | None = None
        """When this object last read a window: all that follows it was read later, by whomever."""

    def advance(self, api: ApiClient) -> bool:
        """Read the next window that is closed, unless another process holds the stream; whether there may be more.

        Raises PlatformError, ApiUnusable and Stopped; OSError where the segment cannot be written.
        """
        if self._position is not None and self._next(self._position) is None:
            return False
        with held(self._folder, self.stream) as ours:
            if not ours:
                return False
            self._position = self._stands_at()
            window = self._next(self._position)
            if window is None:
                return False
            read_at = self._clock()
            lines = self._read(api, window)
            if lines is None:
                self._span = halved(window, self._pace.step)
                return True
            self._refuse_a_clock_ahead(api, window)
            begin, end = microseconds(window.begin), microseconds(window.end)
            generation = self._beginning.generation
            write_segment(self._folder, self.stream, begin, end, b"".join(lines), generation=generation)
            self._position, self._read_at = window.end, read_at
            if len(lines) < MOST_OBJECTS // 4:
                self._span = min(self._span * 2, self._pace.longest)
        return True

    def state(self) -> StreamState:
        position = self._position or self._received_until()
        behind = max(0, microseconds(self._clock()) - microseconds(position))
        return StreamState(self.endpoint.source, self.stream, microseconds(position), behind, position)

    def _next(self, position: dt.datetime) -> Window | None:
        pace = self._pace
        if self._read_at and self._read_at - position > pace.overlap:
            pace = replace(pace, overlap=dt.timedelta(0))  # what an API shows late was there when that was read
        return next_window(position, self._beginning.since, self._clock(), pace, self._span)

    def _received_until(self) -> dt.datetime:
        """Up to where everything is received, by landing and ledger. Raises PlatformError for a generation to come."""
        found = positions(self._ways.lake, self._folder).get(self.stream)
        generation = self._beginning.generation
        if found is None or found.generation < generation:
            kept = self.endpoint.kept
            known_from = self._clock() - kept + MARGIN if kept else self._beginning.since
            return floored(max(self._beginning.first, known_from), self._pace.step)
        if found.generation > generation:
            raise PlatformError(
                f"{self.stream} was begun anew {found.generation} times, and `reread` has {generation} dates.",
                "Dates are added to `reread`, and never taken out.",
            )
        return moment_at(found.end)

    def _stands_at(self) -> dt.datetime:
        """The same. Raises PlatformError where what follows cannot be had any more."""
        position, kept = self._received_until(), self.endpoint.kept
        if kept and position < self._clock() - kept:
            raise PlatformError(
                f"{self.stream} stands at {position:%Y-%m-%d %H:%M}, and the API tells nothing that is older than "
                f"{kept.days} days.",
                "Add a day to `reread`: what was made since then is read again as it is now. Changes of older objects "
                "are missed, so choose one that is early enough.",
            )
        return position

    def _read(self, api: ApiClient, window: Window) -> list[bytes] | None:
        """The lines of a window, oldest first; None when it holds too much for one segment and can be divided."""
        for _ in range(READINGS):
            try:
                return self._lines(api, window)
            except CursorLost as lost:
                log.warning("%s: %s; the window is read anew", self.stream, lost)
        raise PlatformError(
            f"{self.stream}: the list was lost {READINGS} times while {window.begin:%Y-%m-%d %H:%M} to "
            f"{window.end:%Y-%m-%d %H:%M} was read.",
            "It is tried again. Are objects being deleted in great numbers?",
        )

    def _lines(self, api: ApiClient, window: Window) -> list[bytes] | None:
        # What is read twice for the sake of late objects does not shrink with the window.
        divisible = window.end - window.begin > max(self._pace.step, window.overlap)
        found: dict[object, bytes] = {}
        for one in self.endpoint.read(api, window):
            # An object that is shown twice counts as it was seen last; one without an id is a line of its own.
            found[str(one.object_id) if one.object_id else len(found)] = one.line
            if divisible and len(found) > MOST_OBJECTS:
                return None
        return list(reversed(found.values()))

    def _refuse_a_clock_ahead(self, api: ApiClient, window: Window) -> None:
        """A window that is not over by the API's clock is not closed: what is yet to be made in it would be missed."""
        told = api.told_time
        if told and told + COARSE < window.end + window.settle * 3 / 4:
            raise PlatformError(
                f"{self.stream}: this machine's clock says {self._clock():%Y-%m-%d %H:%M:%S}, the API's "
                f"{told:%Y-%m-%d %H:%M:%S}.",
                "Set the machine's clock; nothing is read until then.",
            )
