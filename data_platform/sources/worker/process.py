"""The worker: a thread for each configured system, and one that takes in what lands.
Belongs here: these threads, and what happens when one fails. Not here: reading a system (the rooms of sources), a batch
(landing), what Dagster is told of (reports), what a worker says of itself (worker_state).

Any number of workers and runs may work on one home: a stream is written by whoever holds it, a landing folder is taken
in by whoever has its lock. A worker that is killed leaves nothing that the next one would have to clear."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_platform.core.faults import in_words
from data_platform.sources.connectors import Connector, Section, Ways
from data_platform.sources.ingestion import carry_out, landing_of, summary, waiting_sources
from data_platform.sources.landing import BatchResult, is_being_ingested
from data_platform.sources.landing_source import HEARTBEAT, LandingSource
from data_platform.sources.worker.reports import Reports
from data_platform.sources.worker_state import SectionState, StateFile, WorkerState, living, now

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""Between two looks at landing while nothing waits."""
BATCH_SECONDS = 1.0
"""From one batch of a source to the next: a batch costs some 60 ms and three commits, of one event as of 10,000."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Before a system that failed is tried again: twice as long each time, with jitter."""
BEAT_SECONDS = 30.0
"""Between two signs that a source without new events is alive."""
STOP_SECONDS = 20.0
"""That threads have to come to an end; what they hold is read again by the next worker."""


class Worker:
    """Reads `sections` into landing and takes in the `sources`, until it is told to stop."""

    def __init__(self, ways: Ways, sections: Sequence[Section], reports: Reports, folder: Path) -> None:
        self._ways, self._sections, self._reports, self._folder = ways, sections, reports, folder
        self._state = WorkerState(now(), sections={one.title: SectionState(one.title) for one in sections})
        self._changing = threading.Lock()
        self._landings = {name: landing_of(one, ways.lake, ways.landing) for name, one in ways.sources.items()}
        self._batches_at: dict[str, float] = {}
        self._beaten_at: dict[str, float] = {}

    @property
    def state(self) -> WorkerState:
        return self._state

    def run(self, stop: threading.Event) -> None:
        """Returns when `stop` is set and every thread has ended."""
        with living(self._folder) as file:
            threads = [threading.Thread(target=self._read, args=(one, stop), name=one.title) for one in self._sections]
            threads.append(threading.Thread(target=self._say, args=(file, stop), name="state"))
            for thread in threads:
                thread.daemon = True
                thread.start()
            try:
                while not stop.is_set():
                    if not self._take_in():
                        stop.wait(LOOK_SECONDS)
                    self._reports.look(self._state)
            finally:
                stop.set()
                until = time.monotonic() + STOP_SECONDS
                for thread in threads:
                    thread.join(max(0.0, until - time.monotonic()))

    # ------------------------------------------------------------------ systems
    def _read(self, section: Section, stop: threading.Event) -> None:
        """Read one system; whatever goes wrong there is tried again for ever, and stops nothing else."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            connector: Connector | None = None
            try:
                connector = section.connect(self._ways)
                while not stop.is_set():
                    more = connector.advance(stop)
                    self._went_well(section, connector)
                    pause = FIRST_PAUSE
                    if not more:
                        self._beat(connector)
                        stop.wait(connector.idle_seconds)
            except Exception as error:
                self._failed(section, error)
                stop.wait(pause * random.uniform(0.5, 1.5))
                pause = min(LONGEST_PAUSE, 2 * pause)
            finally:
                if connector is not None:
                    _close(connector, section)

    def _went_well(self, section: Section, connector: Connector) -> None:
        with self._changing:
            if self._state.sections[section.title].problem:
                logger.info("[%s] reads again", section.title)
        self._of_section(SectionState(section.title, streams=tuple(connector.states()), looked_at=now()))

    def _beat(self, connector: Connector) -> None:
        """Everything there is was read: a source without new events is alive, and its tables are not stale."""
        for name in {one.source for one in connector.states()}:
            folder = self._ways.folder(name)
            if time.monotonic() - self._beaten_at.get(name, -BEAT_SECONDS) >= BEAT_SECONDS and folder.is_dir():
                self._beaten_at[name] = time.monotonic()
                (folder / HEARTBEAT).touch()

    def _failed(self, section: Section, error: Exception) -> None:
        before = self._state.sections[section.title]
        problem = " ".join(in_words(error).removeprefix(f"[{section.title}] ").split())  # a client's may have lines
        if problem != before.problem:
            logger.warning("[%s] %s", section.title, problem)
        self._of_section(replace(before, problem=problem, problem_since=before.problem_since or now()))

    def _of_section(self, state: SectionState) -> None:
        with self._changing:
            self._state = replace(self._state, sections={**self._state.sections, state.title: state})

    # ------------------------------------------------------------------ landing
    def _take_in(self) -> bool:
        """Take in one batch of each source where something waits; whether there was anything."""
        busy = False
        problem = None
        for source in waiting_sources(list(self._ways.sources.values()), self._ways.landing):
            since = time.monotonic() - self._batches_at.get(source.name, 0.0)
            if since < BATCH_SECONDS or is_being_ingested(self._ways.folder(source.name)):
                continue
            self._batches_at[source.name] = time.monotonic()
            try:
                busy |= self._take_in_of(source)
            except Exception as error:  # one source stops no other
                problem = f"{source.name}: {in_words(error)}"
                if problem != self._state.ingestion_problem:
                    logger.warning("%s", problem, exc_info=True)
                self._batches_at[source.name] += LONGEST_PAUSE / 2
        if busy or problem:
            self._state = replace(self._state, ingestion_problem=problem)
        return busy

    def _take_in_of(self, source: LandingSource) -> bool:
        landing = self._landings[source.name]
        with landing.locked():
            plan = next(landing.batches(settle=True), None)
            if plan is None:
                return False
            result = carry_out(landing, plan)
            for left_out in result.left_out:
                logger.warning("%s; it was left out", left_out)
            self._reports.batch(result)
            landing.finish(plan)
        self._count(result)
        return True

    def _count(self, result: BatchResult) -> None:
        logger.info("%s", summary(result))
        with self._changing:
            self._state = replace(
                self._state, batches=self._state.batches + 1, lines=self._state.lines + result.received
            )

    # -------------------------------------------------------------------- itself
    def _say(self, file: StateFile, stop: threading.Event) -> None:
        problem = None
        while True:
            try:
                file.write(replace(self._state, dagster_problem=self._reports.problem))
                problem = None
            except OSError as error:  # a full disk: what it says is worth less than what it does
                if problem is None:
                    logger.warning("what the worker does cannot be written down: %s", in_words(error))
                problem = error
            if stop.wait(1.0):
                return


def _close(connector: Connector, section: Section) -> None:
    try:
        connector.close()
    except Exception as error:
        logger.warning("[%s] did not close: %s", section.title, in_words(error))
