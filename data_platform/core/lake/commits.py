"""What a commit to the lake is made of: files staged for it, the position that it moves, what it changed.
Not here: making one (store), its entry in the log (log)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from deltalake.transaction import AddAction

from data_platform.core.contract.table import Table


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file inside a table's folder that no commit names yet: invisible to readers, removed by vacuum."""

    path: str
    partition: str | None
    rows: int
    bytes: int


@dataclass(frozen=True)
class Position:
    """How far a source has been read, kept in the commit of its rows: the commit fails unless it moves old → new."""

    source: str
    old: int | None
    new: int


@dataclass(frozen=True)
class Commit:
    """A change that readers see: the table version it made, and rows and bytes now in each partition it touched."""

    version: int
    rows: Mapping[str | None, int]
    bytes: Mapping[str | None, int]


def add_actions(table: type[Table], staged: Sequence[StagedFile], changes: bool = True) -> list[AddAction]:
    """What a commit says of staged files; `changes` is false for rows that were in other files before."""
    now = int(time.time() * 1000)
    return [
        AddAction(
            path=file.path,
            size=file.bytes,
            partition_values=partition_values(table, file.partition),
            modification_time=now,
            data_change=changes,
            stats=json.dumps({"numRecords": file.rows}),
        )
        for file in staged
    ]


def partition_values(table: type[Table], partition: str | None) -> dict[str, str | None]:
    return {table.partition: partition} if table.partition else {}


def after(
    version: int, live: pl.DataFrame, days: set[str] | None, staged: Sequence[StagedFile], removed: set[str]
) -> Commit:
    """Rows and bytes per touched partition after the commit, from the snapshot before it and the change itself."""
    touched: set[str | None] = {f.partition for f in staged} | set(days or ())
    rows: dict[str | None, int] = dict.fromkeys(touched, 0)
    size: dict[str | None, int] = dict.fromkeys(touched, 0)
    for path, bytes_, records, partition in live.iter_rows():
        if partition in touched and path not in removed:
            rows[partition] += records or 0
            size[partition] += bytes_
    for file in staged:
        rows[file.partition] += file.rows
        size[file.partition] += file.bytes
    return Commit(version, rows, size)
