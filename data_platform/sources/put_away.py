"""Files that were taken in and put away, by age: which of them may go, and deleting those.
Belongs here: what the ledger must know before a file goes. Not here: putting files away (planned_files), when."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl

from data_platform.core import durable
from data_platform.core.contract.received import IngestionLedger
from data_platform.core.lake.files import Size
from data_platform.core.lake.store import Lake
from data_platform.sources.compressed_lines import open_regular
from data_platform.sources.landing import Landing
from data_platform.sources.landing_files import INGESTED, part_digest

AT_ONCE = 1_000
"""Files deleted while the folder is held: ingestion waits some 50 ms for them."""


@dataclass(frozen=True)
class Removed:
    """What became of the put-away files of one folder."""

    before: Size
    after: Size
    kept: int
    """Old files that stay all the same."""
    why: str = "the ledger does not know all that is in them"


@dataclass(frozen=True)
class TakenIn:
    """What the ledger says of a source's files that were not taken out again."""

    sizes: dict[str, int]
    """Beginning of the digest, as in the names of put-away files → bytes of the whole file."""
    parts: Sequence[tuple[str, str, int]]
    """Name with `@` and where it begins, digest and bytes of what was appended to put-away files."""

    @classmethod
    def of(cls, lake: Lake, source: str) -> TakenIn:
        files = lake.scan(IngestionLedger).filter(pl.col("source") == source, pl.col("withdrawn_lines").is_null())
        entries = files.select("source_file", "file_digest", "bytes").collect()
        sizes = {digest[:12]: size for digest, size in entries.select("file_digest", "bytes").iter_rows()}
        return cls(sizes, entries.filter(pl.col("source_file").str.contains("@")).rows())

    def stored(self, file: BinaryIO, name: str) -> int | None:
        """How far a put-away file is taken in: the whole that it was, and the parts that were appended since; None for
        one that is not known at all."""
        _batch, beginning, called = name.split("-", 2)
        if beginning not in self.sizes:
            return None
        stored = self.sizes[beginning]
        for label, digest, size in self.parts:
            of, _, start = label.rpartition("@")
            if of == called and part_digest(file, int(start), size, f"{INGESTED}/{name}@{start}")[0] == digest:
                stored = max(stored, int(start) + size)
        return stored


def put_away_files(folder: Path) -> Iterator[Path]:
    """What lies under the names that ingestion gives, in order."""
    return iter(sorted((folder / INGESTED).glob("*-*-*")))


def delete_old_files(landing: Landing, before: dt.datetime) -> Removed:
    """Delete what was put away, and last changed, before a moment, and is in the lake to its last byte by the ledger.

    A file that the ledger does not know (a lake that was restored from an older backup), or that holds more than was
    taken in, stays whatever its age. Nothing else rests on these files: what was received before is known by its digest
    in the ledger, and where a stream stands by its positions there.
    """
    old = [path for path in put_away_files(landing.folder) if _changed(path) < before.timestamp()]
    size = Size.of_folder(landing.folder / INGESTED)
    deleted = Size()
    for start in range(0, len(old), AT_ONCE):
        # Whoever takes files in, withdraws or accepts a lake holds the folder too.
        with landing.locked():
            if landing.unfinished() is not None:  # its files may lie here already, and it is read again from them
                break
            taken_in = TakenIn.of(landing.lake, landing.source.name)
            deleted += Size.of(
                n for path in old[start : start + AT_ONCE] if (n := _deleted(path, taken_in)) is not None
            )
    if deleted.files:
        durable.sync_one(landing.folder / INGESTED)
    after = Size(size.files - deleted.files, size.bytes - deleted.bytes)
    return Removed(size, after, len(old) - deleted.files)


def _deleted(path: Path, taken_in: TakenIn) -> int | None:
    """Its bytes, once it is gone; None for one that stays."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            stored = taken_in.stored(file, path.name)
            if stored is None or (size > stored and not _only_a_line_break(file, stored)):
                return None
    except OSError:
        return None
    path.unlink(missing_ok=True)
    return size


def _only_a_line_break(file: BinaryIO, stored: int) -> bool:
    """Whether what came later ends the last line and says no more."""
    file.seek(stored)
    return file.read(3) in (b"\n", b"\r\n")


def _changed(path: Path) -> float:
    """When it was written or put here, whichever came later: a copied file may keep an old time of modification."""
    try:
        stat = path.lstat()
    except OSError:
        return float("inf")
    return max(stat.st_mtime, stat.st_ctime)
