"""What the worker tells Dagster: what it took in and where each stream stands as materialisations, what it found as
checks. Not here: how that reaches Dagster (runless), the checks themselves (ingestion_checks)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence

import dagster as dg

from data_platform.core.lake.store import Lake
from data_platform.sources.connectors import ExternalTable, Section
from data_platform.sources.ingestion import materializations
from data_platform.sources.ingestion_checks import judged
from data_platform.sources.landing import BatchResult
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.streams import TOLERATED, keeping_up_evaluation, stream_materializations
from data_platform.sources.worker.runless import RunlessEvents
from data_platform.sources.worker_state import SectionState, WorkerState, now

CHECK_SECONDS = 60.0
"""Between two judgements of what came in: each reads the ledger of all files."""
STREAM_SECONDS = 30.0
"""Between two reports of where the streams stand."""
AGAIN_SECONDS = 3600.0
"""A check that says the same as before is reported again after so long."""


class Reports:
    """What was taken in is reported at once, since tables are computed from there; all else now and then."""

    def __init__(
        self, lake: Lake, sources: Sequence[LandingSource], sections: Sequence[Section], events: RunlessEvents
    ) -> None:
        self._lake, self._sources, self._events = lake, sources, events
        self._external = {one.title: one.external_tables() for one in sections}
        self._worker = f"worker-{uuid.uuid4()}"
        self._taken_in: dict[str, LandingSource] = {}
        self._files = 0
        self._judged_at = self._reported_at = time.monotonic()
        self._positions: dict[str, int] = {}
        self._reported: dict[tuple[str, ...], tuple[bool, float]] = {}

    @property
    def problem(self) -> str | None:
        return self._events.problem

    def batch(self, result: BatchResult) -> None:
        """Call it before the batch's files are put away: what is not reported then is reported by the next process."""
        self._events.report(materializations(self._lake, result))
        self._taken_in[result.source.name] = result.source
        self._files += len(result.plan.files)

    def look(self, state: WorkerState) -> None:
        """Report what is due."""
        moment = time.monotonic()
        if moment - self._reported_at >= STREAM_SECONDS:
            self._reported_at = moment
            self._events.retry()
            self._of_streams(state)
        if self._taken_in and moment - self._judged_at >= CHECK_SECONDS:
            self._judged_at = moment
            self._judge()

    def _judge(self) -> None:
        taken_in, files = list(self._taken_in.values()), self._files
        self._taken_in, self._files = {}, 0
        found = judged(self._lake, taken_in, self._sources, files, self._worker)
        self._events.report(finding.evaluation() for finding in found)

    def _of_streams(self, state: WorkerState) -> None:
        events: list[dg.AssetMaterialization | dg.AssetCheckEvaluation] = []
        for title, tables in self._external.items():
            section = state.sections[title]
            moved = {one.stream: one.position for one in section.streams}
            if any(self._positions.get(stream) != position for stream, position in moved.items()):
                self._positions |= moved
                events += stream_materializations(tables, section.streams)
            events += self._checks(tables, section)
        self._events.report(events)

    def _checks(self, tables: Sequence[ExternalTable], section: SectionState) -> Iterator[dg.AssetCheckEvaluation]:
        """Of those that do otherwise than when they were reported last, and of each once an hour."""
        away = section.problem_since is not None and now() - section.problem_since > TOLERATED
        problem = section.problem if away else None
        if section.looked_at is None and problem is None:
            return  # nothing is known yet
        for table in tables:
            found = keeping_up_evaluation(table, section.streams, problem)
            before = self._reported.get(table.key)
            if before is None or before[0] != found.passed or time.monotonic() - before[1] > AGAIN_SECONDS:
                self._reported[table.key] = found.passed, time.monotonic()
                yield found
