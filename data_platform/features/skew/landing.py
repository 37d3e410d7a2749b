"""The files of the served log, taken into the lake, each exactly once.
Not here: writing them (served_log), comparing (comparison)."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from data_platform.core.lake.store import Lake
from data_platform.features.contracts import ServedFeatures
from data_platform.features.skew.served_log import FILE_SCHEMA

logger = logging.getLogger(__name__)
MOST_BYTES = 200 * 1024**2
"""Of files that one call takes in; the next call takes more."""


def waiting_files(folder: Path) -> list[Path]:
    """Finished files, oldest first."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def take_in(lake: Lake, folder: Path) -> dict[str, int]:
    """Append what waits to quality/served_features and delete it; rows taken in by day.

    A call that is killed in between is repeated safely: files whose rows are in the table are only deleted. A file that
    cannot be read is put aside under the name `<file>.unreadable`.
    """
    if not waiting_files(folder):
        return {}
    with _locked(folder):
        files = _first_bytes(waiting_files(folder))
        known = _known(lake, files)
        parts = [_read(path) for path in files if path.name not in known]
        rows = pl.concat([part for part in parts if part is not None] or [ServedFeatures.empty()])
        if len(rows):
            lake.append(ServedFeatures, rows)
        for path in files:
            path.unlink(missing_ok=True)
    return {str(day): count for day, count in rows["served_date"].value_counts().iter_rows()}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _first_bytes(files: list[Path]) -> list[Path]:
    held = 0
    chosen: list[Path] = []
    for path in files:
        held += path.stat().st_size
        if chosen and held > MOST_BYTES:
            break
        chosen.append(path)
    return chosen


def _known(lake: Lake, files: list[Path]) -> set[str]:
    """Names of the files whose rows are in the table already."""
    names = pl.Series([path.name for path in files])
    found = lake.scan(ServedFeatures).select("file").filter(pl.col("file").is_in(names.implode())).unique().collect()
    return set(found["file"])


def _read(path: Path) -> pl.DataFrame | None:
    try:
        rows = pl.read_parquet(path).match_to_schema(FILE_SCHEMA)
    except (pl.exceptions.PolarsError, OSError) as error:
        logger.warning("%s cannot be read and is put aside: %s", path, error)
        path.replace(path.with_name(f"{path.name}.unreadable"))
        return None
    said = [
        json.dumps(dict(zip(names.split(","), json.loads(values), strict=True)))
        for names, values in rows.select("names", "values").iter_rows()
    ]
    numbered = rows.with_row_index("line").with_columns(
        pl.col("line").cast(pl.Int64),
        pl.col("names").str.split(","),
        served_date=pl.col("served_at").dt.date(),
        file=pl.lit(path.name),
        features=pl.Series(said, dtype=pl.String),
    )
    return numbered.select(list(ServedFeatures.columns))
