"""Where each stream of a source stands, read from landing and the ledger alone: there is no other store of positions.
Belongs here: reading it, holding a stream while it is written, gaps and overlaps. Not here: a segment's form
(segments), fetching anything."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.lake.store import Lake
from data_platform.sources.landing_files import pending_files
from data_platform.sources.segments import NoSegment, Segment, is_segment, read_segment

LOCKS = "_streams"
"""Of a landing folder: one file per stream, locked by whoever writes it. The lock dies with its process."""


@dataclass(frozen=True, order=True)
class Position:
    """Up to where a stream is received: `end` is the first position that is not, of its newest generation."""

    generation: int
    end: int


def positions(lake: Lake, folder: Path) -> dict[str, Position]:
    """Stream → where it stands, of one landing folder, whether its segments are taken in yet or not."""
    # Landing first: a segment that is taken in meanwhile is in the ledger by the time that is read.
    waiting = [(one.stream, Position(one.generation, one.end)) for one in waiting_segments(folder)]
    of_source = pl.col("source") == folder.name, pl.col("stream").is_not_null()
    stored = lake.scan(IngestionLedger).filter(*of_source).group_by("stream", "generation")
    ends = stored.agg(pl.max("end_position")).sort("generation").collect()
    found = {stream: Position(generation, end) for stream, generation, end in ends.iter_rows()}
    for stream, position in waiting:
        found[stream] = max(position, found.get(stream, position))
    return found


def waiting_segments(folder: Path) -> list[Segment]:
    """What the segments that wait in a landing folder say of themselves; one that says nothing is left to ingestion."""
    found = []
    for path in pending_files(folder):
        if is_segment(path.name):
            with contextlib.suppress(NoSegment, OSError):  # OSError: put away meanwhile
                found.append(read_segment(path))
    return found


@contextlib.contextmanager
def held(folder: Path, stream: str) -> Iterator[bool]:
    """Hold a stream for writing, if nobody else does: whether it is held. Two processes never write one stream."""
    locks = folder / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    name = Segment(stream, 0, 0, 0).file_name.partition("~")[0]
    with (locks / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def discontinuities(ledger: pl.LazyFrame) -> pl.LazyFrame:
    """Segments that do not begin where the one before them ended: `source`, `stream`, `generation`, `source_file`,
    `expected` (the position), `begin_position`, `missing` (positions; below zero: received twice). One row per place.

    A stretch may be there several times: a segment that was withdrawn and taken in again.
    """
    stretches = ledger.filter(pl.col("stream").is_not_null()).unique(
        ["source", "stream", "generation", "begin_position", "end_position", "file_digest"]
    )
    of_stream = ["source", "stream", "generation"]
    before = pl.col("end_position").cum_max().shift().over(of_stream, order_by=["begin_position", "end_position"])
    return (
        stretches.with_columns(expected=before)
        .filter(pl.col("expected") != pl.col("begin_position"))
        .with_columns(missing=pl.col("begin_position") - pl.col("expected"))
        .select(*of_stream, "source_file", "expected", "begin_position", "missing")
        .sort(*of_stream, "begin_position")
    )
