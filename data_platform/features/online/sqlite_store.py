"""Vectors in one SQLite file per feature set, built beside the served one and renamed over it.
Not here: what a vector holds (vectors), other stores."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from data_platform.core.durable import sync_one
from data_platform.core.errors import PlatformError
from data_platform.features.online.store import OnlineSnapshot, OnlineStore, require_newer

IDS_PER_QUERY = 1_000
LET_GO_SECONDS, WORTH_WAITING_BYTES = 1.0, 32 * 1024**2
"""How long a writer waits for readers to let go of a large file that it replaced."""
MAPPED_BYTES = 1 << 40
"""Files are read through memory, whatever their size: one copy in the page cache serves every process."""
_READ = [
    f"SELECT entity_id, vector FROM vectors WHERE entity_id IN ({','.join('?' * count)})"  # noqa: S608
    for count in range(IDS_PER_QUERY + 1)
]


class _OpenFile:
    """One file, for as long as somebody reads it: on disk it is gone once it was replaced and nobody does any more."""

    def __init__(self, path: Path, signature: tuple[int, int, int]) -> None:
        self.signature = signature
        # Immutable: nobody writes to a file that has its name, so SQLite takes no locks and looks for no journal.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False, cached_statements=256)
        self._connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        self.execute = self._connection.execute
        self.snapshot = OnlineSnapshot.from_json(self.execute("SELECT about FROM snapshot").fetchone()[0])

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self._connection.close()


class SqliteStore(OnlineStore):
    """A folder with `<feature_set>.sqlite` in it. Readers notice a new file by one look at its name, at every read."""

    in_process = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, _OpenFile] = {}

    def _fetch(self, feature_set: str, entity_ids: Sequence[str]) -> tuple[OnlineSnapshot, dict[str, bytes]] | None:
        file = self._newest(feature_set)
        if file is None:
            return None
        found: dict[str, bytes] = {}
        for start in range(0, len(entity_ids), IDS_PER_QUERY):
            part = entity_ids[start : start + IDS_PER_QUERY]
            found.update(file.execute(_READ[len(part)], part))
        return file.snapshot, found

    def current(self, feature_set: str) -> OnlineSnapshot | None:
        file = self._newest(feature_set)
        return file.snapshot if file else None

    def count(self, feature_set: str) -> int:
        file = self._newest(feature_set)
        return int(file.execute("SELECT count(*) FROM vectors").fetchone()[0]) if file else 0

    def close(self) -> None:
        self._open.clear()

    def _newest(self, feature_set: str) -> _OpenFile | None:
        path = f"{self.folder}/{feature_set}.sqlite"
        try:
            found = os.stat(path)
        except FileNotFoundError:
            self._open.pop(feature_set, None)
            return None
        signature = (found.st_ino, found.st_mtime_ns, found.st_size)
        file = self._open.get(feature_set)
        if file is None or file.signature != signature:
            # Should the file be replaced in between, its signature differs from this one: the next read opens it again.
            replaced = [file] if file else []
            try:
                file = self._open[feature_set] = _OpenFile(Path(path), signature)
            except (sqlite3.Error, TypeError, ValueError) as error:
                raise PlatformError(
                    f"{path} is not an online store's file ({error}).",
                    "Delete it and materialise features/online_player_features.",
                ) from None
            if replaced:  # unmapping a large file takes a while, and requests need not wait for it
                threading.Thread(target=replaced.clear, daemon=True).start()
        return file

    def _replace(self, snapshot: OnlineSnapshot, vectors: Iterable[pl.DataFrame]) -> OnlineSnapshot:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = snapshot.feature_set
        with self._locked(name):
            require_newer(self.current(name), snapshot)
            for left_behind in self.folder.glob(f".{name}.*.building"):  # by a process that was killed
                left_behind.unlink()
            building = self.folder / f".{name}.{uuid.uuid4().hex}.building"
            try:
                served = _write(building, snapshot, vectors)
                with _kept(self.folder / f"{name}.sqlite"):
                    building.replace(self.folder / f"{name}.sqlite")
                    sync_one(self.folder)
            finally:
                building.unlink(missing_ok=True)
        return served

    @contextlib.contextmanager
    def _locked(self, feature_set: str) -> Iterator[None]:
        """One writer at a time; the lock dies with its process."""
        with (self.folder / f".{feature_set}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _write(path: Path, snapshot: OnlineSnapshot, vectors: Iterable[pl.DataFrame]) -> OnlineSnapshot:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # Nobody reads the file before it is whole, and a file that is not is thrown away: no journal, no waiting.
        # Pages hold 30 vectors instead of 8: a quarter less time for a hundred lookups among a million.
        connection.execute("PRAGMA page_size = 16384")
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -65536"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE vectors (entity_id TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
        rows = 0
        for frame in vectors:
            connection.executemany("INSERT INTO vectors VALUES (?, ?)", frame.iter_rows())
            rows += len(frame)
        served = dataclasses.replace(snapshot, rows=rows)
        connection.execute("CREATE TABLE snapshot (about TEXT NOT NULL)")
        connection.execute("INSERT INTO snapshot VALUES (?)", [served.to_json()])
        connection.execute("COMMIT")
    finally:
        connection.close()
    sync_one(path)
    return served


@contextlib.contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Free a replaced file's place on the disk, 0.1 s for a million vectors, in this process and not where requests are
    answered: whoever lets go of a file last does it."""
    try:
        replaced = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield
        return
    try:
        yield
        if os.fstat(replaced).st_size > WORTH_WAITING_BYTES:
            time.sleep(LET_GO_SECONDS)
    finally:
        os.close(replaced)
