"""What a game calls: `track` puts an event into a buffer, a thread sends it. Whatever goes wrong, the game goes on.
Not here: requests and pauses (sending), waiting events (buffer), batches to be sent again (outbox)."""

from __future__ import annotations

import atexit
import datetime as dt
import json
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_platform.sdk.buffer import Buffer
from data_platform.sdk.outbox import Memory, Outbox, Spool
from data_platform.sdk.sending import Sender, pause

logger = logging.getLogger("data_platform.sdk")
LONGEST_EVENT = 100_000
"""Bytes."""
MOST_IN_MEMORY = 8_000_000
"""Bytes of batches to be sent again, without a spool."""
REPORT_SECONDS = 60.0
"""Between two warnings of losses."""


@dataclass(frozen=True)
class Stats:
    """What became of the events since the client was made: `tracked` are sent, rejected, dropped or still waiting."""

    tracked: int = 0
    sent: int = 0
    rejected: int = 0
    """The collector says what is wrong with them (a warning tells it): sending them again has no use."""
    dropped: int = 0
    """No JSON, too long, or no room: buffer and spool were full."""
    waiting: int = 0
    """In memory and in the spool, there also from before."""
    failures: int = 0
    """Requests that failed in a row; 0 while the collector answers."""


class Client:
    """Sends events to a collector. Make one for the whole process and keep it.

    `url` is the collector's address (`http://127.0.0.1:3003`), `token` what `data-platform collector-token` made,
    `source` a landing source other than the collector's own. Events leave when `flush_at` of them wait or the oldest
    has waited for `flush_seconds`; those of a `critical` type at once. While the collector does not answer, batches
    wait in the folder `spool` (up to `spool_bytes`, across restarts) or, without one, in 8 MB of memory. What finds no
    room is dropped, counted in `stats()` and logged.

    `track`, `flush` and `close` never raise, and `track` never waits. A process that is killed loses what its buffer
    holds: the events of the last `flush_seconds`. Raises ValueError for an address that is none.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        source: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        spool_bytes: int = 64_000_000,
        critical: Collection[str] = (),
        flush_at: int = 100,
        flush_seconds: float = 5.0,
        most_waiting: int = 10_000,
    ) -> None:
        self._sender = Sender(url, token, source)
        self._outbox: Outbox = Spool(Path(spool), spool_bytes) if spool is not None else Memory(MOST_IN_MEMORY)
        self._critical = frozenset(critical)
        self._bounds = most_waiting, flush_at, flush_seconds
        self._stats = Stats()
        self._begin()
        atexit.register(self.close)
        if sys.platform != "win32":  # which knows no fork
            os.register_at_fork(after_in_child=self._after_fork)

    def _begin(self) -> None:
        self._counting = threading.Lock()
        self._keeping = threading.Lock()
        self._buffer = Buffer(*self._bounds)
        self._in_hand = b""
        self._retry_at = 0.0
        self._reported = (0, time.monotonic() - REPORT_SECONDS)
        self._thread = threading.Thread(target=self._run, name="data-platform-sdk", daemon=True)
        self._thread.start()

    def _after_fork(self) -> None:
        """Threads do not survive a fork, and what the parent's buffer holds is the parent's to send."""
        self._stats = Stats()
        self._begin()

    # --------------------------------------------------------------------- for the game
    def track(
        self,
        event_type: str,
        player_id: str,
        data: Mapping[str, Any] | None = None,
        *,
        session_id: str | None = None,
        campaign_id: str | None = None,
        device: Mapping[str, Any] | None = None,
        timestamp: dt.datetime | None = None,
        client_timestamp: dt.datetime | None = None,
        event_id: str | None = None,
        **fields: Any,
    ) -> str | None:
        """Note that something happened (`timestamp`, by default now; a naive one is UTC). Returns the event's id, or
        None if it was dropped. `event_id` is for a caller who may track the same event twice; `fields` are any further
        ones."""
        try:
            known = {
                "event_id": event_id or uuid.uuid4().hex,
                "player_id": player_id,
                "event_type": event_type,
                "timestamp": _written(timestamp or dt.datetime.now(dt.UTC)),
                "session_id": session_id,
                "campaign_id": campaign_id,
                "client_timestamp": _written(client_timestamp) if client_timestamp else None,
                "event_data": data,
                "device_info": device,
            }
            event = {name: value for name, value in known.items() if value is not None} | fields
            line = json.dumps(event, separators=(",", ":"), allow_nan=False, default=str).encode()
            taken = len(line) < LONGEST_EVENT and self._buffer.put(line + b"\n", event_type in self._critical)
            self._count(tracked=1, dropped=0 if taken else 1)
            return str(event["event_id"]) if taken else None
        except Exception as error:
            logger.debug("An event was dropped: %r", error)
            self._count(tracked=1, dropped=1)
            return None

    def stats(self) -> Stats:
        waiting = len(self._buffer) + self._in_hand.count(b"\n") + self._outbox.events()
        return replace(self._stats, waiting=waiting)

    def flush(self, seconds: float = 5.0) -> bool:
        """Send what waits now; whether nothing waits any more within so many seconds."""
        until = time.monotonic() + seconds
        self._retry_at = 0.0
        self._buffer.flush()
        while (waiting := self.stats().waiting) and time.monotonic() < until:
            time.sleep(0.01)
        return not waiting

    def close(self, seconds: float = 5.0) -> None:
        """Send what waits; what cannot be sent within so many seconds goes to the spool. Also done at exit."""
        if self._buffer.closed:
            return
        atexit.unregister(self.close)
        self._retry_at = 0.0
        self._buffer.close()
        self._thread.join(seconds)
        if self._thread.is_alive():  # it waits for an answer: what it has in hand may arrive twice rather than never
            self._keep_in_hand()
        while lines := self._buffer.take():
            self._keep(lines)
        if isinstance(self._outbox, Memory):
            self._count(dropped=self._outbox.events())
        self._report(at_last=True)

    # ----------------------------------------------------------------- the sending thread
    def _run(self) -> None:
        while True:
            try:
                self._buffer.wait(self._until_next_attempt())
                closing = self._buffer.closed
                self._send_waiting()
                while lines := self._buffer.take():
                    self._deliver(lines)
                self._report()
                if closing:
                    return
            except Exception:  # a defect of this library is none of the game
                logger.exception("Events could not be sent.")
                time.sleep(1)

    def _until_next_attempt(self) -> float | None:
        """Seconds; None where nothing waits for one."""
        return max(0.01, self._retry_at - time.monotonic()) if self._outbox.oldest() else None

    def _send_waiting(self) -> None:
        while oldest := self._outbox.oldest():
            key, lines = oldest
            if not self._sent(lines):
                return
            self._outbox.remove(key)

    def _deliver(self, lines: bytes) -> None:
        """Send a batch, unless older ones wait: then behind them."""
        self._in_hand = lines
        if self._outbox.oldest() or not self._sent(lines):
            self._keep_in_hand()
        self._in_hand = b""

    def _keep_in_hand(self) -> None:
        """Once: `close` may have kept what the thread, whose request failed later, would keep again."""
        with self._keeping:
            self._keep(self._in_hand)
            self._in_hand = b""

    def _keep(self, lines: bytes) -> None:
        if lines and not self._outbox.put(lines):
            self._count(dropped=lines.count(b"\n"))

    def _sent(self, lines: bytes) -> bool:
        """Whether a batch is done with; not even tried during a pause."""
        if time.monotonic() < self._retry_at:
            return False
        outcome = self._sender.send(lines)
        if outcome.done:
            self._count(sent=outcome.sent, rejected=outcome.rejected, failures=-self._stats.failures)
            if outcome.rejected:
                logger.warning("%s events were rejected: %s", outcome.rejected, outcome.reason)
            return True
        self._count(failures=1)
        seconds = pause(self._stats.failures, outcome.retry_after)
        self._retry_at = time.monotonic() + seconds
        if self._stats.failures == 1:
            logger.warning("Events wait, the collector does not take them: %s", outcome.reason)
        return False

    def _report(self, at_last: bool = False) -> None:
        told, moment = self._reported
        dropped = self._stats.dropped
        if dropped > told and (at_last or time.monotonic() - moment >= REPORT_SECONDS):
            logger.warning("%s events were dropped since the last report.", dropped - told)
            self._reported = dropped, time.monotonic()

    def _count(self, **more: int) -> None:
        with self._counting:
            self._stats = replace(self._stats, **{name: getattr(self._stats, name) + n for name, n in more.items()})


def _written(moment: dt.datetime) -> str:
    known = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return known.astimezone(dt.UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
