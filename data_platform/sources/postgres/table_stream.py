"""One table as a stream of segments: where it stands, the segment that is being written, how time goes in it.
Not here: where rows come from, how a line is written (lines), the database."""

from __future__ import annotations

import contextlib
import json
import uuid
from pathlib import Path

import polars as pl
import zstandard

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.durable import move_durably
from data_platform.sources.compressed_lines import FREELY_UNPACKED, MOST_UNPACKED, LineChunk, LineFile
from data_platform.sources.connectors import Ways
from data_platform.sources.landing_files import pending_files
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.positions import Position
from data_platform.sources.postgres.lines import CHANGED_AT, micros, moment
from data_platform.sources.postgres.options import TableOptions
from data_platform.sources.segments import (
    HEAD,
    LEVEL,
    MAGIC,
    NoSegment,
    Segment,
    closing_frame,
    is_segment,
    read_segment,
)

FIRST_LSN = 1 << 20
"""No change of a table stands before this position of PostgreSQL's log, whose first segment (1 MB at the least) is
never written. Positions below it number the pieces of a snapshot; its last piece ends at the snapshot's own."""
BLOCK_BYTES = 1 << 20
_LONG_AGO = -(1 << 62)


class SegmentFile:
    """A segment that grows on disk until it is known where it ends: a transaction may be larger than memory. It is
    hidden until it is landed."""

    def __init__(self, folder: Path, slug: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f".{slug}~{uuid.uuid4().hex}"
        self.lines = self.bytes = 0
        """Of its text."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._file = self.path.open("wb")
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._packed = compressor.stream_writer(self._file, closefd=False)

    def add(self, line: bytes) -> None:
        """One line, with its line break."""
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        if self._waiting_bytes >= BLOCK_BYTES:
            self._write()

    def settle(self) -> None:
        """What was added can be read from the file by others."""
        self._write()
        self._packed.flush(zstandard.FLUSH_FRAME)
        self._file.flush()

    def land(self, segment: Segment) -> None:
        """There as a whole and on the disk, or not at all."""
        self.settle()
        self._file.write(closing_frame(segment))
        self._file.close()
        move_durably(self.path, self.path.with_name(segment.file_name))

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        text = b"".join(self._waiting)
        self.lines += len(self._waiting)
        self.bytes += len(text)
        self._waiting, self._waiting_bytes = [], 0
        if text:
            self._packed.write(text)
        if self.bytes > FREELY_UNPACKED // 2 and self.bytes > MOST_UNPACKED // 2 * self._file.tell():
            self._pad()

    def _pad(self) -> None:
        """Rows that repeat the same large value pack so well that ingestion would take the file for a bomb: bytes that
        zstd skips keep the file at a hundredth of its text."""
        self._packed.flush(zstandard.FLUSH_FRAME)
        missing = self.bytes // (MOST_UNPACKED // 2) - self._file.tell()
        if missing > 0:
            self._file.write(HEAD.pack(MAGIC, missing) + bytes(missing))


class TableStream:
    """A captured table. Of its lines `changed_at` never goes back, whatever the server's clock does: a later change of
    a row has a later one, or the same and a larger `sequence`."""

    def __init__(self, section: str, table: str, source: LandingSource, options: TableOptions, ways: Ways) -> None:
        self.table = table
        self.source = source
        self.options = options
        self.stream = f"postgres:{section}/{table}"
        self.folder = ways.folder(source.name)
        self.slug = Segment(self.stream, 0, 0, 0).file_name.partition("~")[0]
        self.key: tuple[str, ...] = ()
        """Columns; the catalog says which."""
        self.alarm: str | None = None
        self.position: Position | None = None
        self.newest = _LONG_AGO
        """Microseconds since EPOCH."""
        self._moment = b""
        self._file: SegmentFile | None = None

    @property
    def complete(self) -> bool:
        """Whether there is a whole snapshot of it in the newest generation."""
        return self.position is not None and self.position.end >= FIRST_LSN

    @property
    def end(self) -> int:
        return self.position.end if self.position else 0

    def stand(self, position: Position | None, ways: Ways) -> None:
        """Go on from here. Whoever calls holds the stream: nobody else's unfinished files are in the folder."""
        self.position = position
        self.newest = _newest_change(self, ways)
        self._moment = moment(self.newest) if self.newest > _LONG_AGO else b""
        for left in self.folder.glob(f".{self.slug}~*"):
            left.unlink()

    def at(self, committed: int) -> bytes:
        """`changed_at` of what was committed then."""
        if committed > self.newest:
            self.newest, self._moment = committed, moment(committed)
        return self._moment

    @property
    def file(self) -> SegmentFile:
        """The segment that is being written."""
        if self._file is None:
            self._file = SegmentFile(self.folder, self.slug)
        return self._file

    @property
    def is_writing(self) -> bool:
        return self._file is not None

    def land(self, end: int) -> None:
        """Write what was added, or nothing, as the segment from where the stream stands up to `end`."""
        at = self.position or Position(0, 0)
        file = self.file
        file.settle()
        file.land(Segment(self.stream, at.end, end, file.lines, at.generation))
        self._file = None
        self.position = Position(at.generation, end)

    def begin_generation(self) -> None:
        """From now on the stream lacks a snapshot, also for whoever starts after this process was killed."""
        self.discard()
        generation = 0 if self.position is None else self.position.generation + 1
        self.position = Position(generation, 0)
        self.land(0)

    def discard(self) -> None:
        if self._file is not None:
            self._file.discard()
            self._file = None

    def is_own(self, path: Path) -> bool:
        return is_segment(path.name) and path.name.startswith(f"{self.slug}~")


def _newest_change(stream: TableStream, ways: Ways) -> int:
    """The latest `changed_at` that was received: that of the stream's last line."""
    for path in sorted(filter(stream.is_own, pending_files(stream.folder)), key=_place, reverse=True):
        with contextlib.suppress(NoSegment, OSError):  # put away meanwhile: then it is in the ledger
            if read_segment(path).lines:
                *_, last = (chunk for chunk in LineFile(path).chunks() if isinstance(chunk, LineChunk))
                return micros(json.loads(last.text[:-1].rpartition(b"\n")[2])[CHANGED_AT])
    of_stream = pl.col("source") == stream.source.name, pl.col("stream") == stream.stream, pl.col("stored_lines") > 0
    stored = ways.lake.scan(IngestionLedger).filter(*of_stream)
    last_file = stored.sort("generation", "begin_position").tail(1).select("source_file", "first_day", "last_day")
    for name, first, last_day in last_file.collect().iter_rows():
        rows = ways.lake.scan(stream.source.table, first, last_day).filter(pl.col("source_file") == name)
        newest = rows.select(pl.max(CHANGED_AT).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")).collect().item()
        return _LONG_AGO if newest is None else micros(newest)
    return _LONG_AGO


def _place(path: Path) -> tuple[int, str]:
    """By generation, then by position."""
    _, generation, stretch = path.name.split("~")
    return int(generation), stretch
