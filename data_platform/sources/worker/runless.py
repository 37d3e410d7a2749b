"""What happens outside of any run, reported to Dagster: what the worker took in, what it found.
Belongs here: reporting it, and keeping it while Dagster cannot be reached. Not here: what is reported (ingestion,
worker)."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import dagster as dg

from data_platform.core.durable import write_durably
from data_platform.core.faults import in_words

logger = logging.getLogger(__name__)

Event: TypeAlias = dg.AssetMaterialization | dg.AssetCheckEvaluation
MOST_KEPT = 100_000
"""Events kept while Dagster is away; older ones go first. What they say of rows is in the lake anyway."""


class RunlessEvents:
    """Reports events, in order. Those that cannot be reported are kept on the disk and reported first the next time,
    by whichever process comes first."""

    def __init__(self, folder: Path, opened: Callable[[], dg.DagsterInstance]) -> None:
        self._folder = folder
        self._opened = opened
        self._instance: dg.DagsterInstance | None = None
        self.problem: str | None = None
        """Why Dagster could not be told the last time."""

    def report(self, events: Iterable[Event]) -> None:
        """Returns when all of them are with Dagster, or on the disk."""
        waiting = list(events)
        try:
            self._report_kept()
            while waiting:
                self._tell(waiting[0])
                waiting.pop(0)
            self.problem = None
        except Exception as error:
            self._away(error)
            self._keep(waiting)

    def retry(self) -> None:
        """Report what was kept, if Dagster can be reached by now."""
        if self.problem is not None or any(self._folder.glob("*.json")):
            self.report(())

    def _tell(self, event: Event) -> None:
        if self._instance is None:
            self._instance = self._opened()
        self._instance.report_runless_asset_event(event)

    def _away(self, error: Exception) -> None:
        if self.problem is None:
            logger.warning("Dagster cannot be told; events are kept until it can: %s", in_words(error))
        self.problem = in_words(error)
        with contextlib.suppress(Exception):
            if self._instance is not None:
                self._instance.dispose()
        self._instance = None

    def _keep(self, events: list[Event]) -> None:
        if not events:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = self._kept()
        number = int(kept[-1].name.partition("-")[0]) + 1 if kept else 0
        for event in events:
            name = f"{number:012d}-{uuid.uuid4().hex[:8]}.json"
            write_durably(self._folder / name, dg.serialize_value(event).encode())
            number += 1
        for old in self._kept()[:-MOST_KEPT]:
            old.unlink(missing_ok=True)

    def _kept(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*.json"))

    def _report_kept(self) -> None:
        for path, event in self._read():
            self._tell(event)
            path.unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[Path, Event]]:
        for path in self._kept():
            with contextlib.suppress(FileNotFoundError):  # another process reported it
                yield path, dg.deserialize_value(path.read_text(), (dg.AssetMaterialization, dg.AssetCheckEvaluation))
