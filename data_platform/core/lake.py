"""The store of record: one Delta table per contract, written file by file and published by one compare-and-swap commit.
Belongs here: creating, replacing, appending, reading and measuring tables. Not here: Dagster, validation."""

from __future__ import annotations

import datetime as dt
import functools
import json
import random
import time
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from data_platform.core.contract import Table
from data_platform.core.frames import require_schema
from data_platform.core.lake_files import LakeFiles, is_local, store_errors_told

COMMIT_ATTEMPTS = 400
"""Four processes committing in a tight loop needed at most 64 attempts for 50 commits; this is far beyond that."""

TABLE_CONFIGURATION = {
    # The log must hold no minima and maxima: they would keep personal values after the files are gone.
    "delta.dataSkippingNumIndexedCols": "0",
    "delta.checkpointInterval": "20",
}


class StaleWriter(RuntimeError):
    """Another writer moved the position first: read the position again and start from it."""


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
    """A published change: the table version it made, and rows and bytes now in each partition it touched."""

    version: int
    rows: Mapping[str | None, int]
    bytes: Mapping[str | None, int]


class Lake:
    """All tables under one root. Safe for many processes: every commit is an optimistic compare-and-swap."""

    def __init__(self, root: str, options: Mapping[str, str] | None = None) -> None:
        self.root = root.rstrip("/")
        self.options = dict(options or {})
        self.local = is_local(self.root)

    def uri(self, table: type[Table]) -> str:
        return f"{self.root}/{table.key}"

    def files(self, folder: str) -> LakeFiles:
        """Files that are no table's rows, in a folder of the lake."""
        return LakeFiles(f"{self.root}/{folder}", self.options)

    def require_reachable(self) -> None:
        """Raises LakeUnavailable when the lake is an object store that cannot be used as configured."""
        self._files.names()

    @functools.cached_property
    def _files(self) -> LakeFiles:
        return LakeFiles(self.root, self.options)

    def _errors_told(self) -> AbstractContextManager[None]:
        return store_errors_told(self.root)

    def exists(self, table: type[Table]) -> bool:
        with self._errors_told():
            return DeltaTable.is_deltatable(self.uri(table), storage_options=self.options)

    def open(self, table: type[Table], version: int | None = None) -> DeltaTable:
        """The table as of now, or as of a version. Raises TableNotFoundError when nothing was ever written."""
        with self._errors_told():
            return DeltaTable(self.uri(table), version=version, storage_options=self.options)

    def version(self, table: type[Table]) -> int | None:
        return self.snapshot(table).version

    def ensure(self, table: type[Table]) -> DeltaTable:
        """The table, created empty if need be; columns the contract gained since are added."""
        for attempt in range(12):
            try:
                found = self.open(table)
            except TableNotFoundError:
                with self._errors_told():
                    self._create(table, attempt)
                continue
            try:
                self._add_new_columns(found, table)
            except CommitFailedError:  # another process added them first
                continue
            return found
        raise RuntimeError(f"could not create {self.uri(table)}")

    def _create(self, table: type[Table], attempt: int) -> None:
        try:
            DeltaTable.create(
                self.uri(table),
                schema=_delta_schema(table, table.columns),
                partition_by=table.partition,
                mode="error",
                name=table.key,
                description=table.table_description()[:1000],
                configuration=TABLE_CONFIGURATION,
                storage_options=self.options,
                # The loser of a creation race must fail here, not commit the metadata a second time as version 1.
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        except DeltaError:
            time.sleep(random.random() * 0.02 * 2**attempt)

    def _add_new_columns(self, found: DeltaTable, table: type[Table]) -> None:
        known = {f.name for f in found.schema().fields}
        missing = [name for name in table.columns if name not in known]
        if missing:
            found.alter.add_columns(_delta_schema(table, missing).fields)

    # ------------------------------------------------------------------ write
    def stage(self, table: type[Table], frame: pl.DataFrame) -> list[StagedFile]:
        """Write the frame as one Parquet file per partition, published by nobody yet."""
        require_schema(table, frame)
        if frame.is_empty():
            return []
        if table.partition is None:
            return [self._stage_file(table, None, frame)]
        days = frame[table.partition]
        if days.n_unique() == 1:
            return [self._stage_file(table, str(days[0]), frame)]
        return [
            self._stage_file(table, str(day), part)
            for (day,), part in frame.partition_by(table.partition, as_dict=True, maintain_order=True).items()
        ]

    def _stage_file(self, table: type[Table], partition: str | None, frame: pl.DataFrame) -> StagedFile:
        if table.sorted:
            frame = frame.sort(table.primary_key)
        folder = f"{table.partition}={partition}/" if partition is not None else ""
        path = f"{folder}part-{uuid.uuid4()}.zstd.parquet"
        target = f"{self.uri(table)}/{path}"
        if self.local:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        body = frame.drop(table.partition) if partition is not None and table.partition else frame
        with self._errors_told():
            # Level 1: 1M event rows in 0.27 s and 39 MB; level 3 takes a third longer for the same size.
            body.write_parquet(target, compression="zstd", compression_level=1, storage_options=self.options or None)
        return StagedFile(path, partition, len(frame), self._files.size(f"{table.key}/{path}"))

    def replace(
        self,
        table: type[Table],
        frame: pl.DataFrame,
        days: Sequence[dt.date],
        metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Replace exactly the given days (of an unpartitioned table: everything) with the frame, in one commit.

        Raises ValueError when the frame has rows outside the days.
        """
        staged = self.stage(table, frame)
        wanted = {str(day) for day in days}
        outside = {f.partition for f in staged if f.partition is not None} - wanted
        if outside:
            raise ValueError(f"{table.key}: rows of {sorted(outside)} in a write of {sorted(wanted)}")
        return self.publish(table, staged, replacing=wanted, metadata=metadata)

    def publish(
        self,
        table: type[Table],
        staged: Sequence[StagedFile],
        replacing: Iterable[str] | None = None,
        position: Position | None = None,
        metadata: Mapping[str, str] | None = None,
        as_of: int | None = None,
    ) -> Commit:
        """Make staged files visible in one atomic commit: beside what is there, or instead of the days `replacing`.

        With a `position` the commit also moves it; raises StaleWriter when it is not where it was expected, and when
        the table has gone on from version `as_of`: what replaces a day must be made of all that is in it.
        Every attempt commits on the version it read and nothing newer, so two writers can never both replace a day.
        """
        days = set(replacing) if replacing is not None else None
        delta = self.ensure(table)
        now = int(time.time() * 1000)
        adds = [
            AddAction(f.path, f.bytes, _values(table, f.partition), now, True, json.dumps({"numRecords": f.rows}))
            for f in staged
        ]
        for attempt in range(COMMIT_ATTEMPTS):
            delta.update_incremental()
            if position and delta.transaction_version(position.source) != position.old:
                raise StaleWriter(
                    f"{position.source} is at {delta.transaction_version(position.source)}, expected {position.old}"
                )
            if as_of is not None and delta.version() != as_of:
                raise StaleWriter(f"{table.key} is at version {delta.version()}, expected {as_of}")
            live = _live_files(delta, table)
            removes = [
                RemoveAction(
                    path=row["path"],
                    data_change=True,
                    deletion_timestamp=now,
                    partition_values=_values(table, row["partition"]),
                    size=row["size_bytes"],
                )
                for row in live.iter_rows(named=True)
                if days is not None and (table.partition is None or row["partition"] in days)
            ]
            if not adds and not removes and not position:
                return _commit(delta.version(), live, days, staged, set())
            properties = CommitProperties(
                custom_metadata=dict(metadata or {}),
                max_commit_retries=0,
                app_transactions=[Transaction(position.source, position.new)] if position else None,
            )
            base = delta.version()
            try:
                with self._errors_told():
                    delta.create_write_transaction(
                        [*adds, *removes],
                        mode="append",
                        schema=delta.schema(),
                        partition_by=table.partition,
                        commit_properties=properties,
                    )
            except CommitFailedError:
                time.sleep(random.random() * min(0.5, 0.01 * 1.3**attempt))
                continue
            return _commit(base + 1, live, days, staged, {r.path for r in removes})
        raise RuntimeError(f"{table.key}: {COMMIT_ATTEMPTS} commits lost to other writers")

    def compact(self, table: type[Table], at_least_files: int = 8) -> int:
        """Merge the small files of each partition that has many; files merged. Readers and writers go on meanwhile."""
        if not self.exists(table):
            return 0
        merged = 0
        for partition in self.partitions(table).filter(pl.col("files") >= at_least_files)["partition"]:
            day = [(table.partition, "=", partition)] if table.partition else None
            merged += self.open(table).optimize.compact(partition_filters=day)["numFilesRemoved"]
        return merged

    # ------------------------------------------------------------------- read
    def scan(
        self,
        table: type[Table],
        first: dt.date | None = None,
        last: dt.date | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """The table's rows, of the days `first`..`last` where given; an empty frame before the first write.

        The files are fixed at this call: a later commit neither blocks nor changes what is read.
        """
        return self.snapshot(table, version).scan(first, last)

    def snapshot(self, table: type[Table], version: int | None = None) -> Snapshot:
        """The table as of now, or as of a version, to be read more than once; without rows before the first write."""
        try:
            return Snapshot(self, table, self.open(table, version))
        except TableNotFoundError:
            return Snapshot(self, table, None)

    def scan_staged(self, table: type[Table], staged: Sequence[StagedFile]) -> pl.LazyFrame:
        """Rows that are written but not published yet."""
        return self.scan_files(table, [file.path for file in staged])

    def scan_files(self, table: type[Table], paths: Sequence[str]) -> pl.LazyFrame:
        """Rows of some of the table's files, given by their paths in its folder."""
        if not paths:
            return table.empty().lazy()
        schema = table.schema()
        hive = {table.partition: schema.pop(table.partition)} if table.partition else None
        frame = pl.scan_parquet(
            [f"{self.uri(table)}/{path}" for path in paths],
            schema=schema,
            hive_partitioning=hive is not None,
            hive_schema=hive,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=self.options or None,
        )
        return frame.select(list(table.columns))

    def partitions(self, table: type[Table], version: int | None = None) -> pl.DataFrame:
        """One row per live partition: partition (text, null when unpartitioned), rows, bytes, files."""
        schema = {"partition": pl.String, "rows": pl.Int64, "bytes": pl.Int64, "files": pl.Int64}
        grouped = (
            self.snapshot(table, version)
            .files.group_by("partition")
            .agg(rows=pl.col("num_records").sum(), bytes=pl.col("size_bytes").sum(), files=pl.len())
        )
        return grouped.cast(cast(Any, schema)).sort("partition")

    def position(self, table: type[Table], source: str) -> int | None:
        """How far `source` has been committed to the table; None when never."""
        return self.snapshot(table).position(source)


@dataclass(frozen=True)
class Snapshot:
    """One version of a table. Its files are fixed: however often it is read, the rows are the same and the log is
    opened once."""

    lake: Lake
    table: type[Table]
    delta: DeltaTable | None

    @functools.cached_property
    def files(self) -> pl.DataFrame:
        """path, size_bytes, num_records, partition (text, null when unpartitioned) of each file."""
        if self.delta is None:
            return pl.DataFrame(
                schema={"path": pl.String, "size_bytes": pl.Int64, "num_records": pl.Int64, "partition": pl.String}
            )
        return _live_files(self.delta, self.table)

    @property
    def version(self) -> int | None:
        """None before the first write."""
        return self.delta.version() if self.delta else None

    def position(self, source: str) -> int | None:
        """How far `source` had been committed to the table; None when never."""
        return self.delta.transaction_version(source) if self.delta else None

    def scan(self, first: dt.date | None = None, last: dt.date | None = None) -> pl.LazyFrame:
        """The rows, of the days `first`..`last` where given."""
        return self.lake.scan_files(self.table, self.paths(first, last))

    def paths(
        self, first: dt.date | None = None, last: dt.date | None = None, beside: Collection[str] = ()
    ) -> list[str]:
        """The files in the table's folder that hold them, and those of days `beside`: for engines that read Parquet
        themselves."""
        live = self.files
        if self.table.partition is not None:
            day, wanted = pl.col("partition").str.to_date(), pl.lit(True)
            if first is not None:
                wanted &= day >= first
            if last is not None:
                wanted &= day <= last
            live = live.filter(wanted | pl.col("partition").is_in(list(beside)))
        return sorted(live["path"])


def configured_lake(root: str = "") -> Lake:
    """The lake of this process: at `root`, or where the settings say."""
    from data_platform.core.settings import settings  # 0.15 s that readers with a lake of their own need not wait

    options = {name: secret.get_secret_value() for name, secret in settings().lake_options.items()}
    return Lake(root or settings().lake_root, options)


def _delta_schema(table: type[Table], columns: Iterable[str]) -> Schema:
    empty = table.empty().select(list(columns))
    return Schema.from_arrow(empty.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def _values(table: type[Table], partition: str | None) -> dict[str, str | None]:
    return {table.partition: partition} if table.partition else {}


def _live_files(delta: DeltaTable, table: type[Table]) -> pl.DataFrame:
    """path, size_bytes, num_records, partition (text) of every file of the snapshot."""
    actions: Any = delta.get_add_actions(flatten=True)
    files = pl.DataFrame(actions)
    label = pl.col(f"partition.{table.partition}").cast(pl.String) if table.partition else pl.lit(None, dtype=pl.String)
    return files.select("path", "size_bytes", "num_records", partition=label)


def _commit(
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
