"""The store of record: one Delta table per contract, written file by file, each commit one compare-and-swap.
Belongs here: creating, replacing, appending and opening tables. Not here: one version of a table (snapshot), writing
its files (staging), what a commit is made of (commits), Dagster, validation."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import random
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from data_platform.core.contract.table import Table
from data_platform.core.faults import about
from data_platform.core.lake import log as lake_log
from data_platform.core.lake import staging
from data_platform.core.lake.commits import Commit, Position, StagedFile, add_actions, after, partition_values
from data_platform.core.lake.files import LakeFiles, is_local, reporting_store_errors
from data_platform.core.lake.record import MARKER, LakeRecord, Standing
from data_platform.core.lake.schema import delta_schema, missing_columns, require_stored_types
from data_platform.core.lake.snapshot import Snapshot, live_files

COMMIT_ATTEMPTS = 400
"""Four processes committing in a tight loop needed at most 64 attempts for 50 commits; this is far beyond that."""

CHECKPOINT_INTERVAL = 20
TABLE_CONFIGURATION = {
    # The log must hold no minima and maxima: they would keep personal values after the files are gone.
    "delta.dataSkippingNumIndexedCols": "0",
    "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
}


class StaleWriter(RuntimeError):
    """Another writer moved the position first: read the position again and start from it."""


class Lake:
    """All tables under one root. Safe for many processes: every commit is an optimistic compare-and-swap."""

    def __init__(self, root: str, options: Mapping[str, str] | None = None, record: LakeRecord | None = None) -> None:
        self.root = root.rstrip("/")
        self.options = dict(options or {})
        self.local = is_local(self.root)
        self.record = record
        """What a home knows of its lake; a lake that was given by hand, to read from, has none."""

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

    def exists(self, table: type[Table]) -> bool:
        known = self._known(table)
        with reporting_store_errors(self.root):
            found = DeltaTable.is_deltatable(self.uri(table), storage_options=self.options)
        if found and self.local and not lake_log.is_whole(Path(self.uri(table)), 0):
            return self.version(table) is not None  # mended on the way
        if not found:
            self._require_enterable(table)
        if not found and self.record:
            self.record.require(self.root, table.key, known, None)
        return found

    def open(self, table: type[Table], version: int | None = None) -> DeltaTable:
        """The table as of now, or as of a version. Raises TableNotFoundError when nothing was ever written, and
        LakeChanged when it was further, or another one, when this home last wrote it."""
        known = self._known(table)
        try:
            opened = self._opened(table, version)
        except TableNotFoundError:
            if self.record:
                self.record.require(self.root, table.key, known, None)
            raise
        if self.record and version is None:
            self.record.require(self.root, table.key, known, standing(opened))
        return opened

    def _known(self, table: type[Table]) -> Standing | None:
        return self.record.standing(table.key) if self.record else None

    def _opened(self, table: type[Table], version: int | None) -> DeltaTable:
        with about(table.key), reporting_store_errors(self.root):
            try:
                if self.local and version is None:
                    return lake_log.open_mended(table.key, Path(self.uri(table)))
                return DeltaTable(self.uri(table), version=version, storage_options=self.options)
            except TableNotFoundError:
                self._require_enterable(table)
                raise

    def _require_enterable(self, table: type[Table]) -> None:
        """Raises PermissionError where a folder above the table may not be entered: it is not known to be absent."""
        if self.local:
            with contextlib.suppress(FileNotFoundError):
                Path(self.uri(table)).stat()

    def version(self, table: type[Table]) -> int | None:
        return self.snapshot(table).version

    def ensure(self, table: type[Table]) -> DeltaTable:
        """The table, created empty if need be; columns the contract gained since are added.

        Raises StoredOtherwise when a column is stored with a type that the contract no longer has.
        """
        for attempt in range(12):
            try:
                found = self.open(table)
            except TableNotFoundError:
                self.require_same()
                with about(table.key), reporting_store_errors(self.root):
                    self._create(table, attempt)
                continue
            require_stored_types(found, table)
            if not (missing := missing_columns(found, table)):
                return found
            with contextlib.suppress(CommitFailedError):  # another process added them first
                added = delta_schema(table, missing).fields
                found.alter.add_columns(added, post_commithook_properties=self.after_commit)
                self.settle(table, found)
        raise RuntimeError(f"could not create {self.uri(table)}")

    def require_same(self) -> None:
        """Raises LakeChanged when this home has written another lake; one that nobody knows yet is marked."""
        if self.record is None:
            return
        files = self._files
        marker = files.read(MARKER).decode() if files.exists(MARKER) else None
        self.record.require_lake(self.root, marker)
        if marker is None:
            marker = uuid.uuid4().hex
            files.write(MARKER, marker.encode())
        self.record.know_lake(marker)

    def _create(self, table: type[Table], attempt: int) -> None:
        try:
            created = DeltaTable.create(
                self.uri(table),
                schema=delta_schema(table, table.columns),
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
        else:
            self.settle(table, created)

    @functools.cached_property
    def after_commit(self) -> PostCommitHookProperties | None:
        """On a disk a checkpoint is written when what it rests on has been synced, see `settle`."""
        return PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False) if self.local else None

    def settle(self, table: type[Table], delta: DeltaTable, version: int | None = None, commits: int = 1) -> None:
        """After commits (the last is this version, or what `delta` stands at), before anybody is told of them: entries
        are on the disk, every twentieth with a checkpoint, and this home knows how far the table has come."""
        version = delta.version() if version is None else version
        if self.local:
            folder = Path(self.uri(table))
            lake_log.sync_entries(folder, Path(self.root), *range(version - commits + 1, version + 1))
            if version and version % CHECKPOINT_INTERVAL == 0:
                self.checkpoint(table, delta)
        if self.record:
            self.record.note(table.key, Standing(str(delta.metadata().id), version))

    def checkpoint(self, table: type[Table], delta: DeltaTable) -> None:
        """Sum up the log: who opens the table reads one file of it, and entries past their time go."""
        delta.update_incremental()
        if self.local:  # also an entry that another process has not waited for yet
            lake_log.sync_entries(Path(self.uri(table)), Path(self.root), delta.version())
        delta.create_checkpoint()
        if self.local:
            lake_log.sync_checkpoint(Path(self.uri(table)), delta.version())
        if delta.metadata().configuration.get("delta.enableExpiredLogCleanup") != "false":
            delta.cleanup_metadata()

    # ------------------------------------------------------------------ write
    def stage(self, table: type[Table], frame: pl.DataFrame) -> list[StagedFile]:
        """Write the frame as one Parquet file per partition, in no commit yet."""
        return staging.stage(self._files, table, frame)

    def stage_file(
        self, table: type[Table], partition: str | None, frame: pl.DataFrame, kind: str = "part"
    ) -> StagedFile:
        """One file of one partition."""
        return staging.stage_file(self._files, table, partition, frame, kind)

    def append(self, table: type[Table], frame: pl.DataFrame, position: Position | None = None) -> Commit:
        """Add the frame's rows to what is there, in one commit. Raises StaleWriter as `commit` does."""
        return self.commit(table, self.stage(table, frame), position=position)

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
            lists = [", ".join(sorted(some)) for some in (outside, wanted)]
            raise ValueError(f"{table.key}: rows of {lists[0]} in a write of {lists[1]}")
        return self.commit(table, staged, replacing=wanted, metadata=metadata)

    def commit(
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
        adds = add_actions(table, staged)
        for attempt in range(COMMIT_ATTEMPTS):
            delta.update_incremental()
            if position and delta.transaction_version(position.source) != position.old:
                raise StaleWriter(
                    f"{position.source} is at {delta.transaction_version(position.source)}, expected {position.old}"
                )
            if as_of is not None and delta.version() != as_of:
                raise StaleWriter(f"{table.key} is at version {delta.version()}, expected {as_of}")
            live = live_files(delta, table)
            removes = [
                RemoveAction(
                    path=row["path"],
                    data_change=True,
                    deletion_timestamp=now,
                    partition_values=partition_values(table, row["partition"]),
                    size=row["size_bytes"],
                )
                for row in live.iter_rows(named=True)
                if days is not None and (table.partition is None or row["partition"] in days)
            ]
            if not adds and not removes and not position:
                return after(delta.version(), live, days, staged, set())
            base = delta.version()
            try:
                self.commit_actions(table, delta, [*adds, *removes], position, metadata)
            except CommitFailedError:
                time.sleep(random.random() * min(0.5, 0.01 * 1.3**attempt))
                continue
            return after(base + 1, live, days, staged, {r.path for r in removes})
        raise RuntimeError(f"{table.key}: {COMMIT_ATTEMPTS} commits lost to other writers")

    def commit_actions(
        self,
        table: type[Table],
        delta: DeltaTable,
        actions: Sequence[AddAction | RemoveAction],
        position: Position | None = None,
        metadata: Mapping[str, str] | None = None,
        schema: Schema | None = None,
    ) -> None:
        """One commit on exactly the version `delta` stands at. Raises CommitFailedError when there is a newer one.

        With a `schema` the actions are all that the table holds from then on, in columns of that schema.
        """
        base = delta.version()
        if self.local:
            folder = Path(self.uri(table))
            staged = [folder / action.path for action in actions if isinstance(action, AddAction)]
            lake_log.sync_before(folder, base, staged)
        counted = len(actions) + (position is not None)
        properties = CommitProperties(
            custom_metadata={**(metadata or {}), lake_log.ACTIONS: str(counted)},
            max_commit_retries=0,
            app_transactions=[Transaction(position.source, position.new)] if position else None,
        )
        with about(table.key), reporting_store_errors(self.root):
            delta.create_write_transaction(
                list(actions),
                mode="overwrite" if schema else "append",
                schema=schema or delta.schema(),
                partition_by=table.partition,
                commit_properties=properties,
                post_commithook_properties=self.after_commit,
            )
        self.settle(table, delta, base + 1)

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
        """Rows that are written and in no commit yet."""
        return self.scan_files(table, [file.path for file in staged])

    def scan_files(
        self, table: type[Table], paths: Sequence[str], stored: Mapping[str, pl.DataType] | None = None
    ) -> pl.LazyFrame:
        """Rows of some of the table's files, given by their paths in its folder: the columns of the contract, or those
        that are `stored`."""
        schema = dict(stored or table.schema())
        columns = list(schema)
        if not paths:
            return pl.LazyFrame(schema=schema)
        hive = {table.partition: schema.pop(table.partition)} if table.partition else None
        frame = pl.scan_parquet(
            [f"{self.uri(table)}/{path}" for path in paths],
            schema=schema,
            hive_partitioning=hive is not None,
            hive_schema=hive,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=self.options or None,
            glob=False,
        )
        return frame.select(columns)

    def partitions(self, table: type[Table], version: int | None = None) -> pl.DataFrame:
        """One row per live partition: partition (text, null when unpartitioned), rows, bytes, files."""
        schema = {"partition": pl.String, "rows": pl.Int64, "bytes": pl.Int64, "files": pl.Int64}
        grouped = (
            self.snapshot(table, version)
            .files.group_by("partition")
            .agg(rows=pl.col("num_records").sum(), bytes=pl.col("size_bytes").sum(), files=pl.len())
        )
        return grouped.cast(cast(Any, schema)).sort("partition")

    def rows(self, table: type[Table], version: int | None = None) -> dict[str, int]:
        """Partition → rows, as the log says."""
        return dict(self.partitions(table, version).select("partition", "rows").iter_rows())

    def position(self, table: type[Table], source: str) -> int | None:
        """How far `source` has been committed to the table; None when never."""
        return self.snapshot(table).position(source)


def configured_lake(root: str = "") -> Lake:
    """The lake of this process: at `root`, or where the settings say."""
    from data_platform.core.settings import settings  # 0.15 s that readers with a lake of their own need not wait

    configured = settings()
    options = {name: secret.get_secret_value() for name, secret in configured.lake_options.items()}
    own = not root or root == configured.lake_root
    return Lake(root or configured.lake_root, options, LakeRecord(configured.lake_record) if own else None)


def standing(delta: DeltaTable) -> Standing:
    return Standing(str(delta.metadata().id), delta.version())
