"""Events of one asset or check a millisecond apart: Dagster's pages tell them apart by run and millisecond, and of
sixty days that one run wrote they showed four. Not here: where events are stored (the event logs)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import dagster as dg

# Storage classes are not exported publicly.
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

ASSET_EVENTS = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}


class DistinctTimes(SqlEventLogStorage):
    """An event log that moves an event on to the next free millisecond of its asset or check. What is out of date is
    told by the order of storing, so a year of days may be dated 0.4 s ahead without harm."""

    @cached_property
    def _newest(self) -> dict[object, int]:
        return {}

    @cached_property
    def _in_batch(self) -> threading.local:
        return threading.local()

    def store_event(self, event: dg.EventLogEntry) -> None:
        super().store_event(event if self._moved_already() else self._moved(event))

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        moved = list(events) if self._moved_already() else [self._moved(event) for event in events]
        with self._moving():
            super().store_event_batch(moved)

    def _moved(self, event: dg.EventLogEntry) -> dg.EventLogEntry:
        dagster_event = event.dagster_event
        if dagster_event is None:
            return event
        if dagster_event.event_type in ASSET_EVENTS:
            key: object = dagster_event.asset_key
        elif dagster_event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            key = dagster_event.asset_check_evaluation_data.asset_check_key
        else:
            return event
        stated = int(event.timestamp * 1000)
        free = max(stated, self._newest.get(key, 0) + 1)
        self._newest[key] = free
        # Half a millisecond on: a float of seconds must not fall back into the one before.
        return event if free == stated else event._replace(timestamp=(free + 0.5) / 1000)

    def _moved_already(self) -> bool:
        """A batch hands single events to `store_event`."""
        return getattr(self._in_batch, "on", False)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        before = self._moved_already()
        self._in_batch.on = True
        try:
            yield
        finally:
            self._in_batch.on = before
