"""Files of the lake that cannot be read any more, told by name with what to do about them.
Not here: damaged files in landing (sources), reading itself (store)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.faults import about
from data_platform.core.lake.files import LakeUnavailable, reporting_store_errors
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import Lake

MOST_NAMED = 5
UNREADABLE = (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException)


@dataclass(frozen=True)
class Reading:
    """Days of a table that somebody is about to read; None is an open end."""

    table: type[Table]
    first: dt.date | None = None
    last: dt.date | None = None


@contextmanager
def reporting_damage(lake: Lake, readings: Sequence[Reading]) -> Iterator[None]:
    """Tell an error of reading as PlatformError naming the files, where one of them cannot be read; others pass."""
    try:
        yield
    except UNREADABLE:
        for reading in readings:
            with about(reading.table.key):
                snapshot = lake.snapshot(reading.table)
                if files := damaged_files(snapshot, snapshot.paths(reading.first, reading.last)):
                    raise damage_error(reading.table, files) from None
        raise


def damaged_files(snapshot: Snapshot, paths: Sequence[str]) -> list[str]:
    """Which of a table's files are gone or cannot be decoded. Reads every one of them to its end.

    Raises LakeUnavailable when the store does not answer, PermissionError where we may not read: neither says anything
    of the files."""
    damaged = []
    for path in paths:
        try:
            with reporting_store_errors(snapshot.lake.root):
                snapshot.lake.scan_files(snapshot.table, [path]).collect(engine="streaming")
        except (LakeUnavailable, PermissionError):
            raise
        except UNREADABLE:
            damaged.append(path)
    return damaged


def damage_error(table: type[Table], files: Sequence[str]) -> PlatformError:
    """What to say of a table's damaged files."""
    day = f"{table.partition}="
    days = sorted({part.removeprefix(day) for file in files for part in file.split("/") if part.startswith(day)})
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    again = f"data-platform build {table.key}" + (f" --from {days[0]} --to {days[-1]}" if days else "")
    return PlatformError(
        f"{table.key} cannot be read. In its folder of the lake are damaged or missing: {', '.join(files[:MOST_NAMED])}"
        f"{more}.",
        f"Restore the file{'s'[: len(files) > 1]} from a backup, or, unless the table holds what was received "
        f"(raw/…), compute the days again: `{again}`.",
    )
