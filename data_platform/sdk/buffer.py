"""Events of the moment, between the game's threads and the one that sends. Not here: batches to be sent again."""

from __future__ import annotations

import threading
import time
from collections import deque

MOST_BATCH_EVENTS, MOST_BATCH_BYTES = 1_000, 1_000_000
"""Of one request, where more wait than make it due."""


class Buffer:
    """Bounded; putting never waits for anything but another thread's few microseconds."""

    def __init__(self, most_events: int, flush_at: int, flush_seconds: float) -> None:
        self._most, self._flush_at, self._flush_seconds = most_events, flush_at, flush_seconds
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._due_at: float | None = None
        self._at_once = self._closed = False

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, line: bytes, at_once: bool) -> bool:
        """False if it is full or closed: then the line is not in it."""
        with self._changed:
            if len(self._lines) >= self._most or self._closed:
                return False
            self._lines.append(line)
            if self._due_at is None:
                self._due_at = time.monotonic() + self._flush_seconds
                self._changed.notify()  # it knows now how long to wait
            if at_once or len(self._lines) == self._flush_at:
                self._at_once |= at_once
                self._changed.notify()
            return True

    def flush(self) -> None:
        """What is in it is due."""
        with self._changed:
            self._at_once = True
            self._changed.notify()

    def close(self) -> None:
        """What is in it is due, and nothing more is taken."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def wait(self, most_seconds: float | None) -> None:
        """Until something is due, or so long (None: for ever)."""
        until = None if most_seconds is None else time.monotonic() + most_seconds
        with self._changed:
            while not self._due():
                ends = [moment for moment in (until, self._due_at) if moment is not None]
                left = min(ends) - time.monotonic() if ends else None
                if until is not None and until <= time.monotonic():
                    return
                self._changed.wait(left)

    def _due(self) -> bool:
        due = self._due_at is not None and time.monotonic() >= self._due_at
        return due or self._at_once or self._closed or len(self._lines) >= self._flush_at

    def take(self) -> bytes:
        """A batch of lines if they are due; empty if not."""
        with self._changed:
            if not self._due():
                return b""
            batch: list[bytes] = []
            size = 0
            while self._lines and len(batch) < MOST_BATCH_EVENTS and size + len(self._lines[0]) <= MOST_BATCH_BYTES:
                batch.append(self._lines.popleft())
                size += len(batch[-1])
            if not self._lines:
                self._due_at, self._at_once = None, False
            return b"".join(batch)
