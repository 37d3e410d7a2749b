"""What is written down of a training set: how it was defined, what it was made of, and digests that prove its rows.
Not here: files (registry) or how rows are computed (building)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_platform.core.errors import PlatformError
from data_platform.features.training_sets.labels import LabelWindow
from data_platform.features.training_sets.splits import TimeSplit

KEY = ("snapshot_date", "player_id")
SPLIT = "split"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
ID = re.compile(rf"({NAME.pattern})-([0-9a-f]{{16}})")


@dataclass(frozen=True)
class Definition:
    """Everything a caller decides about a training set. The same definition on the same data is the same set.

    Ids are made of it: a field that is added one day must stay out of `id_of` while it has its default, or the ids of
    older sets no longer agree with their manifests.
    """

    name: str
    feature_set: str
    features: tuple[str, ...]
    label: str
    window: LabelWindow
    split: TimeSplit
    snapshots: tuple[dt.date, ...]
    """Every snapshot day asked for, those of the embargo included."""
    players: str
    """`active`: with an event in the feature window. `all`: every player with a feature row."""
    known_at: dt.datetime | None
    """Feature values are those known at this moment; None is now."""
    excluded_players: int
    excluded_digest: str | None
    """Of the ids of players who must not be trained on; the ids themselves are not kept."""

    def parts(self) -> Mapping[dt.date, str]:
        return self.split.parts(self.snapshots, self.window.reach_days)


@dataclass(frozen=True)
class DayFile:
    """The rows of one snapshot day: a Parquet file in the set's folder."""

    snapshot_date: dt.date
    split: str
    rows: int
    positives: int
    """Rows with a true label."""
    file: str
    sha256: str
    """Of the file's bytes."""
    content_sha256: str
    """Of the values, in an order and encoding of their own: the same whoever wrote the file."""


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says. A training set exists once it has one; it is never changed afterwards."""

    id: str
    definition: Definition
    table_versions: Mapping[str, int]
    """Delta versions that were read, by table key. Vacuum keeps their files."""
    contract_versions: Mapping[str, str]
    code_version: str
    content_sha256: str
    created_at: dt.datetime
    files: tuple[DayFile, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def positives(self) -> int:
        return sum(file.positives for file in self.files)

    @property
    def rows_by_split(self) -> dict[str, int]:
        """Part → rows, in the order of time."""
        counted: dict[str, int] = {}
        for file in self.files:
            counted[file.split] = counted.get(file.split, 0) + file.rows
        return counted

    def to_json(self) -> str:
        counts = {"rows": self.rows, "positives": self.positives, "rows_by_split": self.rows_by_split}
        return json.dumps(dataclasses.asdict(self) | counts, indent=2, default=_plain) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Raises PlatformError for anything that is no manifest."""
        try:
            found = json.loads(text)
            wanted = found["definition"]
            known_at = wanted["known_at"]
            definition = Definition(
                **wanted
                | {
                    "features": tuple(wanted["features"]),
                    "window": LabelWindow(**wanted["window"]),
                    "split": TimeSplit(**wanted["split"]),
                    "snapshots": tuple(map(dt.date.fromisoformat, wanted["snapshots"])),
                    "known_at": dt.datetime.fromisoformat(known_at) if known_at else None,
                }
            )
            files = [
                DayFile(**file | {"snapshot_date": dt.date.fromisoformat(file["snapshot_date"])})
                for file in found["files"]
            ]
            given = {field.name: found[field.name] for field in dataclasses.fields(cls)}
            created_at = dt.datetime.fromisoformat(found["created_at"])
            return cls(**given | {"definition": definition, "files": tuple(files), "created_at": created_at})
        except (ValueError, KeyError, TypeError) as error:
            raise PlatformError(
                f"This is no manifest of a training set ({type(error).__name__}: {error}).",
                "Build the set again; its rows follow from the definition.",
            ) from None


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def content_digest(frame: pl.DataFrame) -> str:
    """SHA-256 of a frame's column names, types and values, bit by bit, sorted by `KEY`.

    It does not depend on chunks, row order, or how a version of Polars lays out its memory or its Parquet files.
    """
    frame = frame.sort(KEY)
    digest = hashlib.sha256()
    for series in frame.iter_columns():
        digest.update(f"{series.name}\0{series.dtype}\0{len(series)}\0".encode())
        digest.update(series.is_null().cast(pl.UInt8).to_numpy().tobytes())
        if series.dtype == pl.String:
            lengths = series.str.len_bytes().fill_null(0).cast(pl.Int64)
            digest.update(lengths.to_numpy().astype("<i8").tobytes())
            digest.update("".join(series.fill_null("").to_list()).encode())
        elif series.dtype == pl.Boolean:
            digest.update(series.fill_null(False).cast(pl.UInt8).to_numpy().tobytes())
        elif series.dtype.is_float():
            # There are many bit patterns of NaN, and they all mean the same.
            values = series.cast(pl.Float64).fill_null(0.0).fill_nan(float("nan"))
            digest.update(values.to_numpy().astype("<f8").tobytes())
        elif series.dtype.is_integer() or series.dtype.is_temporal() or series.dtype.is_decimal():
            digest.update(series.to_physical().cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes())
        else:
            raise TypeError(f"{series.name}: a training set has no columns of type {series.dtype}")
    return digest.hexdigest()


def joint_digest(files: Sequence[DayFile]) -> str:
    """Of the content of a whole set: that of each day, in the order of days."""
    lines = [f"{file.snapshot_date} {file.split} {file.content_sha256}" for file in files]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def id_of(definition: Definition, content_sha256: str) -> str:
    """`<name>-<16 hex digits>`, of what was asked for and what it gave."""
    content = json.dumps(dataclasses.asdict(definition), default=_plain, sort_keys=True) + content_sha256
    return f"{definition.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
