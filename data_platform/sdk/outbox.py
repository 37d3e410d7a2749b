"""Batches that could not be sent yet, oldest first: on the disk, where they outlive the process, or in memory.
Not here: events that nobody tried to send (buffer), sending."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import deque
from pathlib import Path
from typing import Protocol

ENDING = ".ndjson"
LINE_BREAK = b"\n"


class Outbox(Protocol):
    def put(self, lines: bytes) -> bool:
        """False if there is no room (or the disk takes nothing): then the batch is not in it."""
        ...

    def oldest(self) -> tuple[object, bytes] | None:
        """(what to remove it by, its lines)."""
        ...

    def remove(self, key: object) -> None: ...

    def events(self) -> int: ...


class Memory:
    """Gone with the process."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._bytes, self._events = most_bytes, 0, 0
        self._batches: deque[bytes] = deque()

    def put(self, lines: bytes) -> bool:
        if self._bytes + len(lines) > self._most:
            return False
        self._batches.append(lines)
        self._bytes += len(lines)
        self._events += lines.count(LINE_BREAK)
        return True

    def oldest(self) -> tuple[object, bytes] | None:
        return (None, self._batches[0]) if self._batches else None

    def remove(self, key: object) -> None:
        gone = self._batches.popleft()
        self._bytes -= len(gone)
        self._events -= gone.count(LINE_BREAK)

    def events(self) -> int:
        return self._events


class Spool:
    """A folder with a file for each batch. Several processes may share it: then a batch may be sent twice, which the
    ids of its events make harmless."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder, most_bytes
        self._numbers = itertools.count()

    def put(self, lines: bytes) -> bool:
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers)}-{lines.count(LINE_BREAK)}{ENDING}"
        unfinished = self._folder / f".{name}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if sum(path.stat().st_size for path in self._files()) + len(lines) > self._most:
                return False
            with open(unfinished, "xb", opener=_for_owner_alone) as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._folder / name)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            return False
        return True

    def oldest(self) -> tuple[object, bytes] | None:
        for path in self._files():
            with contextlib.suppress(OSError):  # another process was faster
                return path, path.read_bytes()
        return None

    def remove(self, key: object) -> None:
        if isinstance(key, Path):
            with contextlib.suppress(OSError):
                key.unlink()

    def events(self) -> int:
        """As the names say: the last number of each."""
        counts = [path.stem.rpartition("-")[2] for path in self._files()]
        return sum(int(count) for count in counts if count.isdecimal())

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == ENDING and path.name[0] != ".")
        except OSError:
            return []


def _for_owner_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
