"""Dagster's SQLite event log, made fast enough for a backfill of a year: kept connections and rows stored together.
Not here: which storage is chosen and where it lies (dagster_home)."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy

# Storage classes are not exported publicly, nor are the tables that they write.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Recorded
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData, serialize_value
from sqlalchemy.engine import Connection, Engine

from data_platform.core import durable
from data_platform.core.instance.event_times import DistinctTimes

EVALUATION = dg.DagsterEventType.ASSET_CHECK_EVALUATION
TOLD_TOGETHER = {EVALUATION, dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
MIRRORED = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
}
"""Events that also go to the index of assets."""


class TablesDoNotGoAway(SqlEventLogStorage):
    """Whether a table exists is asked for every event; the answer is kept once it is yes."""

    @cached_property
    def _known_tables(self) -> set[str]:
        return set()

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._known_tables and super().has_table(table_name):  # type: ignore[safe-super]
            self._known_tables.add(table_name)
        return table_name in self._known_tables


class _StoredTogether(TablesDoNotGoAway, SqliteEventLogStorage):
    """Dagster's SQLite event log with its connections kept open, and many events stored as one statement's rows.

    Dagster opens a new engine and connection, twice, for every event and waits for the disk each time: 27 ms an event
    where this takes 2 ms, 0.4 ms among many, and a year's backfill writes thousands of events. Without the wait
    (`synchronous=NORMAL`, the write-ahead log stays consistent) a killed process loses nothing; a power cut may lose
    the last moments of history, which `sync` waits for where something rests on them.
    """

    KEPT_SHARDS = 8
    """Each run has a database of its own; the least recently used ones are closed."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._together = threading.local()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._initialized(shard).connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def asset_events_together(self) -> Iterator[None]:
        """Check evaluations, materialisations and observations stored by this thread inside the context become visible
        when it ends, all at once."""
        self._together.events = events = list[dg.EventLogEntry]()
        try:
            yield
        finally:
            self._together.events = None
            _StoredTogether.store_event_batch(self, events)  # their times are distinct since `store_event`

    def sync(self, run_id: str) -> None:
        """Wait until everything told of the run is on the disk: what is forgotten next cannot be told again."""
        logs = [Path(f"{self.path_for_shard(shard)}-wal") for shard in (INDEX_SHARD_NAME, run_id)]
        durable.sync([log for log in logs if log.exists()])

    def delete_events(self, run_id: str) -> None:
        """With the events their file goes, which nothing else is in: emptied, it would stay as large as it was."""
        super().delete_events(run_id)
        with self._db_lock:
            if engine := self._engines.pop(run_id, None):
                engine.dispose()
            self._initialized_dbs.discard(run_id)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path_for_shard(run_id)}{suffix}").unlink(missing_ok=True)

    def _initialized(self, shard: str) -> Engine:
        engine = self._engine(shard)
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        return engine

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """A new run's file is a copy of an empty one: to make one Dagster reads its 90 migrations twice and waits for
        the disk table by table, 55 ms of a processor a run and more of waiting."""
        path = Path(str(engine.url.database))
        if for_index_shard or path.exists():
            super()._initdb(engine, for_index_shard)
            return
        copy = path.with_name(f".{uuid.uuid4().hex}")
        try:
            shutil.copyfile(self._empty_shard(), copy)
            durable.sync_one(copy)
            os.link(copy, path)
            durable.sync_one(path.parent)
        except OSError:  # another process was first, or the file system knows no links
            super()._initdb(engine)
        finally:
            copy.unlink(missing_ok=True)

    def _empty_shard(self) -> Path:
        """A run's file without events as this version of Dagster makes it."""
        empty = Path(self._base_dir, f"empty-{dg.__version__}")
        if not empty.exists():
            made = empty.with_name(f".{uuid.uuid4().hex}")
            engine = sqlalchemy.create_engine(sqlalchemy.URL.create("sqlite", database=str(made)))
            super()._initdb(engine)
            engine.dispose()  # which puts its write-ahead log into it
            made.rename(empty)
        return empty

    def store_event(self, event: dg.EventLogEntry) -> None:
        events: list[dg.EventLogEntry] | None = getattr(self._together, "events", None)
        if events is not None and event.dagster_event_type in TOLD_TOGETHER:
            events.append(event)
        else:
            super().store_event(event)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Asset events and check evaluations of one run as the rows of a few statements, instead of four for each."""
        mirrored = [event for event in events if event.dagster_event_type in MIRRORED]
        evaluations = [event for event in events if _is_of_a_partition(event)]
        together = mirrored + evaluations
        if together:
            rows = [self._event_to_row(event) for event in together]
            with self.run_connection(together[0].run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), rows)
            with self.index_transaction() as connection:
                ids = _insert(connection, rows)
                self._store_asset_event_tags(connection, mirrored, ids[: len(mirrored)])
                newest = {event.get_dagster_event().asset_key: at for at, event in enumerate(mirrored)}
                for at in newest.values():
                    self._store_asset_event(connection, together[at], ids[at])
                self._store_evaluations(connection, evaluations, rows[len(mirrored) :], ids[len(mirrored) :])
        for event in events:
            if event.dagster_event_type not in MIRRORED and not _is_of_a_partition(event):
                super().store_event(event)

    def _store_evaluations(
        self,
        connection: Connection,
        evaluations: Sequence[dg.EventLogEntry],
        rows: Sequence[dict[str, Any]],
        ids: Sequence[int],
    ) -> None:
        """What `SqlEventLogStorage._update_asset_check_evaluation` does for each: fill in the planned execution, or add
        one where none was planned."""
        table = AssetCheckExecutionsTable
        of_run = table.c.run_id == evaluations[0].run_id if evaluations else sqlalchemy.false()
        # Of these checks alone: a range run of all tables plans tens of thousands.
        evaluated = [event.get_dagster_event().asset_check_evaluation_data for event in evaluations]
        keys = {(one.asset_key.to_string(), one.check_name) for one in evaluated}
        these = sqlalchemy.tuple_(table.c.asset_key, table.c.check_name).in_(sorted(keys))
        planned = set(map(tuple, connection.execute(sqlalchemy.select(*_IDENTITY).where(of_run, these))))
        updates, inserts = [], []
        for event, evaluation, row, stored_as in zip(evaluations, evaluated, rows, ids, strict=True):
            target = evaluation.target_materialization_data
            values = {
                "execution_status": (Recorded.SUCCEEDED if evaluation.passed else Recorded.FAILED).value,
                "evaluation_event": row["event"],
                "evaluation_event_timestamp": row["timestamp"],
                "evaluation_event_storage_id": stored_as,
                "materialization_event_storage_id": target.storage_id if target else None,
            }
            identity = (evaluation.asset_key.to_string(), evaluation.check_name, evaluation.partition)
            named = dict(zip(("asset_key", "check_name", "partition"), identity, strict=True))
            if identity in planned:
                updates.append(values | {f"of_{name}": value for name, value in named.items()})
            else:
                inserts.append(values | named | {"run_id": event.run_id})
        if updates:
            matches = [column == sqlalchemy.bindparam(f"of_{column.name}") for column in _IDENTITY]
            connection.execute(table.update().where(of_run, *matches), updates)
        if inserts:
            connection.execute(table.insert(), inserts)

    def _store_asset_check_evaluation_planned(self, event: dg.EventLogEntry, event_id: int | None) -> None:
        """Dagster's own, which takes the same event apart for every partition anew."""
        planned: Any = event.get_dagster_event().event_specific_data
        partitions = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
        shared = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": Recorded.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            "evaluation_event_storage_id": event_id,
        }
        with self.index_connection() as connection:
            rows = [shared | {"partition": partition} for partition in partitions]
            connection.execute(AssetCheckExecutionsTable.insert(), rows)

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            engine = sqlalchemy.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=sqlalchemy.pool.QueuePool,
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            sqlalchemy.event.listen(engine, "connect", _do_not_wait_for_disk)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        while len(self._engines) > self.KEPT_SHARDS:
            self._engines.popitem(last=False)[1].dispose()
        return self._engines[shard]

    def dispose(self) -> None:
        super().dispose()
        while self._engines:
            self._engines.popitem()[1].dispose()


class PooledEventLog(DistinctTimes, _StoredTogether):
    """The event log of a home on SQLite."""


_IDENTITY = [
    AssetCheckExecutionsTable.c.asset_key,
    AssetCheckExecutionsTable.c.check_name,
    AssetCheckExecutionsTable.c.partition,
]
"""What tells the executions of one run apart."""


def _is_of_a_partition(event: dg.EventLogEntry) -> bool:
    if event.dagster_event_type != EVALUATION:
        return False
    return event.get_dagster_event().asset_check_evaluation_data.partition is not None


def _insert(connection: Connection, rows: Sequence[dict[str, Any]]) -> range:
    """Insert events and return their ids, which follow each other: a transaction that has written is alone."""
    connection.execute(SqlEventLogStorageTable.insert(), rows)
    last = int(connection.execute(sqlalchemy.text("select last_insert_rowid()")).scalar_one())
    return range(last - len(rows) + 1, last + 1)


def _do_not_wait_for_disk(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
