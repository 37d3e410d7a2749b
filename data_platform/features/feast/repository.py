"""A folder that Feast takes for its own: definitions and the Parquet files they read, brought up to date by each call.
Not here: what the definitions say (definitions), which versions rows had (versions)."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_platform.core.contract.calendar import end_of
from data_platform.core.errors import PlatformError
from data_platform.core.lake.bitemporal import History, open_history
from data_platform.core.lake.parts import in_parts
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import Lake
from data_platform.features.catalogue import FeatureSet, feature_set, feature_sets
from data_platform.features.feast.definitions import AS_KNOWN, CONFIGURATION, MADE_BY, VALID_FROM, definitions
from data_platform.features.feast.versions import row_versions

DEFINITIONS, CONFIGURATION_FILE = "data_platform_features.py", "feature_store.yaml"
PART_ROWS = 500_000
"""Most rows whose versions are worked out at a time: with 30 features about 0.5 GB."""


@dataclass(frozen=True)
class Exported:
    """What became of one view: files of the lake used as they are, files written, and files there before."""

    view: str
    linked: int
    written: int
    unchanged: int


def write_repository(
    lake: Lake, folder: Path, names: Sequence[str] = (), as_known: bool = False
) -> tuple[Exported, ...]:
    """Make the folder a Feast repository of these feature sets (none: of all in the lake), or bring it up to date; what
    became of each view. `as_known` adds a view of all versions of each set that remembers corrections.

    `feature_store.yaml` is written once and then the user's. Raises PlatformError for a set that is not known or not in
    the lake, a feature that Feast has no type for, and a place that cannot be used.
    """
    sets = _in_lake(lake, names)
    remembered = [one for one in sets if one.table.bitemporal] if as_known else []
    source = definitions(sets, remembered)
    _require_place(folder)
    data = folder / "data"
    exported = [_link_rows(one, lake.snapshot(one.table), data / one.name) for one in sets]
    for one in remembered:
        exported.append(_write_versions(one, open_history(lake, one.table), data / (one.name + AS_KNOWN)))
    _write_text(folder / DEFINITIONS, source)
    if not (folder / CONFIGURATION_FILE).exists():
        _write_text(folder / CONFIGURATION_FILE, CONFIGURATION)
    return tuple(exported)


def _in_lake(lake: Lake, names: Sequence[str]) -> list[FeatureSet]:
    wanted = [feature_set(name) for name in dict.fromkeys(names)] or list(feature_sets().values())
    there = [one for one in wanted if len(lake.snapshot(one.table).files)]
    missing = [one.table.key for one in wanted if one not in there]
    if missing and (names or not there):
        raise PlatformError(
            f"There are no rows of {', '.join(missing)} in {lake.root}.",
            f"`data-platform build {missing[0]}` computes them.",
        )
    return there


def _require_place(folder: Path) -> None:
    ours = folder / DEFINITIONS
    if set("*?[") & set(str(folder.resolve())):
        raise PlatformError(f"{folder.resolve()} has one of * ? [ in it.", "Feast reads them as patterns: rename it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = ours.exists() and MADE_BY not in ours.read_text(errors="replace")
    except OSError as error:
        raise PlatformError(f"{folder} cannot be used ({error.strerror}).", "Name another folder.") from None
    if others:
        raise PlatformError(f"{ours} was not made by this command.", "Move it away, or name another folder.")


# --------------------------------------------------------------------------- as known now
def _link_rows(one: FeatureSet, rows: Snapshot, place: Path) -> Exported:
    """The lake's own files under `event_timestamp=<the day after>/`, where DuckDB finds the column that they lack."""
    wanted = {}
    for path, day in rows.files.select("path", "partition").iter_rows():
        valid_from = end_of(dt.date.fromisoformat(day)).date()
        wanted[f"{VALID_FROM}={valid_from}/{Path(path).name}"] = path
    there = _names(place, "*/*.parquet")
    missing = [name for name in wanted if name not in there or not _fits(one, place / name)]
    linked = sum(_link(one, rows, wanted[name], place / name) for name in missing)
    _remove(place, there - wanted.keys())
    return Exported(one.name, linked, len(missing) - linked, len(wanted) - len(missing))


def _link(one: FeatureSet, rows: Snapshot, path: str, to: Path) -> bool:
    """Whether the file could be linked. It is copied when it lies on another disk or in an object store, and when it
    was written before the contract gained a column: Feast takes all files for like the first one."""
    to.parent.mkdir(parents=True, exist_ok=True)
    origin = Path(f"{rows.lake.uri(one.table)}/{path}")
    if rows.lake.local and _fits(one, origin):
        try:
            os.link(origin, to)
        except OSError:
            pass
        else:
            return True
    _write(to, rows.lake.scan_files(one.table, [path]).drop(one.day).collect())
    return False


def _fits(one: FeatureSet, file: Path) -> bool:
    """Whether it has the contract's columns and types."""
    return {one.day: pl.Date(), **pl.read_parquet_schema(file)} == one.table.schema()


# ------------------------------------------------------------------------ as known at any moment
def _write_versions(one: FeatureSet, history: History, place: Path) -> Exported:
    """A file per day with all versions of its rows. Its name says what it was made of: a day that nothing happened to
    since is not written again."""
    days = _days(one, history)
    names = {day: f"{day}-{digest}.parquet" for day, (digest, _) in days.items()}
    there = _names(place, "*.parquet")
    missing = {day: rows for day, (_, rows) in days.items() if names[day] not in there}
    place.mkdir(parents=True, exist_ok=True)
    for part in in_parts(missing.items(), PART_ROWS):
        said = history.journal.scan(part[0]).filter(pl.col(one.day).is_in(part)).collect()
        files = history.table.files.filter(pl.col("partition").str.to_date().is_in(part))
        rows = history.table.lake.scan_files(one.table, sorted(files["path"])).collect()
        versions = row_versions(one.table, rows, said)
        for day in part:
            _write(place / names[day], versions.filter(pl.col(VALID_FROM) == end_of(day)))
    _remove(place, there - set(names.values()))
    return Exported(one.name + AS_KNOWN, 0, len(missing), len(names) - len(missing))


def _days(one: FeatureSet, history: History) -> dict[dt.date, tuple[str, int]]:
    """Each day: a digest of what its versions are made of, and about how many there are."""
    day = pl.col("partition").str.to_date().alias(one.day)
    live = history.table.files.group_by(day).agg(pl.col("path").sort(), rows=pl.col("num_records").sum())
    said = history.journal.scan().group_by(one.day).agg(corrections=pl.len(), newest=pl.col("known_until").max())
    both = live.join(said.collect(), on=one.day, how="full", coalesce=True).sort(one.day)
    found = {}
    for known, paths, rows, corrections, newest in both.select(
        one.day, "path", "rows", "corrections", "newest"
    ).iter_rows():
        made_of = repr((one.table.version(), paths, corrections, newest)).encode()
        found[known] = hashlib.blake2b(made_of, digest_size=8).hexdigest(), (rows or 0) + (corrections or 0)
    return found


# ------------------------------------------------------------------------------------ files
def _names(place: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(place)) for path in place.glob(pattern)}


def _remove(place: Path, names: Iterable[str]) -> None:
    for name in names:
        (place / name).unlink(missing_ok=True)


def _write(path: Path, rows: pl.DataFrame) -> None:
    """Through a temporary name that no reader looks for."""
    part = path.with_name(f".{path.name}.part")
    rows.write_parquet(part, compression_level=1)
    part.replace(path)


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)
