"""A sample of the vectors that were served, written to files beside the road of requests.
Belongs here: sampling, the bounded queue, the files. Not here: reading them (assets)."""

from __future__ import annotations

import datetime as dt
import logging
import os
import queue
import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS
from data_platform.features.online.store import OnlineSnapshot

logger = logging.getLogger(__name__)
QUEUED_ANSWERS = 2_000
FILE_SECONDS = 2.0
"""How long a vector may wait until it is in a file; a killed server loses these. Much at once would delay answers: a
hundredth of 100,000 vectors a second, over 10 s, takes the processor for 20 ms."""
MOST_FOLDER_BYTES = 2 * 1024**3
"""Of files that nobody has taken in; beyond that nothing is logged."""
FILE_SCHEMA: dict[str, pl.DataType] = {
    "served_at": UTC_MICROSECONDS,
    "feature_set": pl.String(),
    "player_id": pl.String(),
    "snapshot_date": pl.Date(),
    "table_version": pl.Int64(),
    "contract_version": pl.String(),
    "names": pl.String(),
    "values": pl.String(),
}
"""`names` separated by commas and `values` as a JSON array: as sent. The server has no time to say it more nicely."""


@dataclass(frozen=True)
class _Served:
    """One answer: ids, and the JSON array of the named features that each was given."""

    at: int
    """Microseconds since 1970: ten thousand of them become a column in no time, unlike as many datetimes."""
    snapshot: OnlineSnapshot
    names: Sequence[str]
    players: Sequence[str]
    vectors: Sequence[bytes | None]


class ServedLog:
    """Writes Parquet files of FILE_SCHEMA into a folder, by a thread of its own.

    `offer` never waits: when the writer does not keep up, or the folder is full, vectors are counted in `dropped`.
    """

    def __init__(self, folder: Path, share: float) -> None:
        self.folder, self.share = folder, share
        self.dropped = 0
        self._waiting: queue.Queue[_Served | None] = queue.Queue(QUEUED_ANSWERS)
        self._thread: threading.Thread | None = None

    def chosen(self) -> bool:
        """Whether this answer belongs to the sample."""
        return self.share > 0 and random.random() < self.share

    def offer(
        self, snapshot: OnlineSnapshot, names: Sequence[str], players: Sequence[str], vectors: Sequence[bytes | None]
    ) -> None:
        """Keep an answer's vectors (None: not found, nothing to keep)."""
        try:
            self._waiting.put_nowait(_Served(time.time_ns() // 1000, snapshot, names, players, vectors))
        except queue.Full:
            self.dropped += len(vectors)

    def start(self) -> None:
        if self.share > 0:
            self._thread = threading.Thread(target=self._write_for_ever, name="served-log", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Write what waits and end."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _write_for_ever(self) -> None:
        pending: list[_Served] = []
        reported = 0
        ended = False
        while not ended:
            until = time.monotonic() + FILE_SECONDS
            while not ended and len(pending) < QUEUED_ANSWERS and (left := until - time.monotonic()) > 0:
                try:
                    one = self._waiting.get(timeout=left)
                except queue.Empty:
                    break
                if one is None:
                    ended = True
                else:
                    pending.append(one)
            try:
                self._write(pending)
            except OSError as error:
                self.dropped += sum(len(one.vectors) for one in pending)
                logger.warning("Served vectors cannot be written to %s: %s", self.folder, error.strerror)
            pending = []
            if self.dropped > reported:
                reported = self.dropped
                logger.warning("%d served vectors were not logged since the start.", reported)

    def _write(self, served: Sequence[_Served]) -> None:
        found = [
            (one, player, vector)
            for one in served
            for player, vector in zip(one.players, one.vectors, strict=True)
            if vector is not None
        ]
        if not found:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if sum(path.stat().st_size for path in self.folder.glob("*.parquet")) > MOST_FOLDER_BYTES:
            self.dropped += len(found)
            return
        # Column by column, and no value is parsed: this thread takes the interpreter from whoever answers.
        names = {id(one): ",".join(one.names) for one in served}
        columns = {
            "served_at": [one.at for one, _, _ in found],
            "feature_set": [one.snapshot.feature_set for one, _, _ in found],
            "player_id": [player for _, player, _ in found],
            "snapshot_date": [one.snapshot.snapshot_date for one, _, _ in found],
            "table_version": [one.snapshot.version for one, _, _ in found],
            "contract_version": [one.snapshot.contract for one, _, _ in found],
            "names": [names[id(one)] for one, _, _ in found],
            "values": [vector for _, _, vector in found],
        }
        frame = pl.DataFrame(columns).cast(FILE_SCHEMA)  # type: ignore[arg-type]
        name = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex}.parquet"
        unfinished = self.folder / f".{os.getpid()}-{name}"
        frame.write_parquet(unfinished, compression="lz4")
        unfinished.replace(self.folder / name)
