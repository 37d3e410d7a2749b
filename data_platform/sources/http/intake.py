"""From requests that wait to one append for all of them, and from journals to segments, a few times a second.
Belongs here: group commit, sealing in time, saying when it is behind. Not here: files (journal), HTTP (collector)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.sources.http.journal import FOLDER, Journal, JournalFile, files_of
from data_platform.sources.positions import held

logger = logging.getLogger(__name__)
SEAL_BYTES = 1 << 20
MOST_UNSEALED = 64 << 20
"""Bytes of journals that are not segments yet: what sealing holds in memory, and what a start has to recover."""
BEHIND_SECONDS = 2.0
"""A disk that takes longer for one append is behind: who comes now would wait at least as long."""
RETRY_SECONDS = 1.0
LOOK_SECONDS = 0.05
"""How often it is looked whether a journal is large enough."""
CLOSE_SECONDS = 5.0


class Behind(Exception):
    """Events come faster than the disk takes them: nothing of this request was taken."""


class SourceIntake:
    """What is posted for one landing source."""

    def __init__(self, journal: Journal, folder: Path, seal_seconds: float) -> None:
        self._journal, self._seal_seconds = journal, seal_seconds
        self._closing = False
        self._waiting: list[tuple[bytes, int, asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._began: float | None = None
        self._sealing: asyncio.Task[None] | None = None
        self._unsealed = 0
        self._disk = ThreadPoolExecutor(1, "journal")
        self._sealer = ThreadPoolExecutor(1, "seal")
        self._append_faults = _Faults(f"{folder} takes no events")
        self._seal_faults = _Faults(f"Journals of {folder} cannot be sealed")

    async def put(self, lines: bytes, events: int) -> None:
        """Returns when the lines are on the disk. Raises Behind, and OSError where the disk takes nothing."""
        late = self._began is not None and time.monotonic() - self._began > BEHIND_SECONDS
        if late or self._unsealed + self._journal.bytes > MOST_UNSEALED:
            raise Behind
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((lines, events, done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())
        await done

    async def _commit(self) -> None:
        """Append what waits, all of it at once, until nothing does."""
        run = asyncio.get_running_loop().run_in_executor
        while self._waiting:
            group, self._waiting = self._waiting, []
            text, events = b"".join(lines for lines, _, _ in group), sum(count for _, count, _ in group)
            self._began = time.monotonic()
            try:
                await run(self._disk, self._journal.append, text, events)
            except Exception as error:  # whatever it is, nobody may wait for ever
                self._append_faults.note(error)
                _finish(group, error)
            else:
                self._append_faults.note(None)
                _finish(group, None)
                if self._sealing is None:
                    self._sealing = asyncio.create_task(self._seal_in_time())
        self._committing = self._began = None

    async def _seal_in_time(self) -> None:
        """Seal what the journal holds when it is old or large enough, until it holds nothing."""
        while self._journal.bytes:
            begun = time.monotonic()
            while self._journal.bytes < SEAL_BYTES and time.monotonic() - begun < self._seal_seconds:
                await asyncio.sleep(min(LOOK_SECONDS, self._seal_seconds))
                if self._closing:
                    break
            await self._seal()
        self._sealing = None

    async def _seal(self) -> None:
        """Turn the journal and seal what is closed, as often as that takes."""
        run = asyncio.get_running_loop().run_in_executor
        closed: JournalFile | None = None
        while True:
            try:
                if closed is None:
                    size = self._journal.bytes
                    closed = await run(self._disk, self._journal.turn)
                    self._unsealed = size if closed else 0
                if closed:
                    await run(self._sealer, closed.seal)
                self._unsealed = 0
                self._seal_faults.note(None)
                return
            except Exception as error:  # whatever it is, it is tried again
                self._seal_faults.note(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Seal everything, if the disk takes it within a few seconds; else the next start does."""
        self._closing = True
        if self._sealing:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sealing, CLOSE_SECONDS)
        self._disk.shutdown()
        self._sealer.shutdown()


class _Faults:
    """Told once when something begins to fail, and once when it works again."""

    def __init__(self, told: str) -> None:
        self._told, self._failing = told, False

    def note(self, error: Exception | None) -> None:
        if error and not self._failing:
            reason = error.strerror if isinstance(error, OSError) else repr(error)
            logger.error("%s: %s. It is tried again and again.", self._told, reason)
        elif not error and self._failing:
            logger.warning("No longer true: %s.", self._told)
        self._failing = error is not None


def _finish(group: list[tuple[bytes, int, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, _, done in group:
        if done.cancelled():  # the client went away
            continue
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)


class Intake:
    """All sources of one collector. But for those of `recover`, each is opened at its first event."""

    def __init__(self, lake: Lake, landing: Path, stream: str, seal_seconds: float) -> None:
        self._lake, self._landing, self._stream, self._seal_seconds = lake, landing, stream, seal_seconds
        self._open: dict[str, SourceIntake] = {}
        self._lock = asyncio.Lock()
        self._holding = contextlib.ExitStack()

    def recover(self, source: str) -> None:
        """Seal what a crash left, before any request, and open the source that most events will be of. Raises
        PlatformError where another collector of this name runs, and OSError."""
        left = [path.parent for path in self._landing.glob(f"*/{FOLDER}") if files_of(path.parent, self._stream)]
        for folder in {*left, self._landing / source}:
            self._open[folder.name] = self._opened(folder)

    async def of(self, source: str) -> SourceIntake:
        """Of a landing source. Raises PlatformError where another collector writes its stream, and OSError."""
        found = self._open.get(source)
        if found:
            return found
        async with self._lock:
            if source not in self._open:
                self._open[source] = await asyncio.to_thread(self._opened, self._landing / source)
            return self._open[source]

    def _opened(self, folder: Path) -> SourceIntake:
        with contextlib.ExitStack() as holding:
            if not holding.enter_context(held(folder, self._stream)):
                raise PlatformError(
                    f"Another collector writes {self._stream} in {folder}.",
                    "Stop it, or give this one another --name.",
                )
            journal = Journal.recover(self._lake, folder, self._stream)
            self._holding.push(holding.pop_all())
        return SourceIntake(journal, folder, self._seal_seconds)

    async def close(self) -> None:
        for source in self._open.values():
            await source.close()
        self._holding.close()
