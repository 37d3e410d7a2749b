"""Where Dagster itself keeps runs, events and logs: PostgreSQL when `DATA_PLATFORM_POSTGRES_URL` is set, else SQLite,
always under the platform's home. Named in `dagster.yaml`, so that `dagster dev` at the root needs no other variable."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy

# Instance storage can only be chosen by a configurable class, and its base classes are not exported publicly.
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine

from data_platform.core.settings import PROJECT_ROOT, settings

EVENT_BATCH_SIZE = 500
BATCHED_EVENTS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
}


class TablesDoNotGoAway(SqlEventLogStorage):
    """Whether a table exists is asked for every event; the answer is kept once it is yes."""

    @cached_property
    def _known_tables(self) -> set[str]:
        return set()

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._known_tables and super().has_table(table_name):  # type: ignore[safe-super]
            self._known_tables.add(table_name)
        return table_name in self._known_tables


class PooledEventLog(TablesDoNotGoAway, SqliteEventLogStorage):
    """Dagster's SQLite event log with its connections kept open.

    Dagster opens a new engine and connection, twice, for every event and waits for the disk each time: 27 ms an event
    where this takes 2 ms, and a year's backfill writes thousands of events. Without the wait (`synchronous=NORMAL`, the
    write-ahead log stays consistent) a killed process loses nothing; a power cut may lose the last moments of history.
    """

    KEPT_SHARDS = 8
    """Each run has a database of its own; the least recently used ones are closed."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._together = threading.local()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        open_together: dict[str, Connection] | None = getattr(self._together, "connections", None)
        if open_together is not None:
            if shard not in open_together:
                open_together[shard] = self._initialized(shard).connect()
                open_together[shard].begin()
            yield open_together[shard]
            return
        with self._db_lock, self._initialized(shard).connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def events_together(self) -> Iterator[None]:
        """Events stored by this thread inside the context become visible in one transaction per database."""
        self._together.connections = connections = dict[str, Connection]()
        try:
            yield
            for connection in connections.values():
                connection.commit()
        finally:
            self._together.connections = None
            for connection in connections.values():
                connection.close()

    def _initialized(self, shard: str) -> Engine:
        engine = self._engine(shard)
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        return engine

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Asset events of one run in one transaction per database, instead of two for each of them."""
        together = [event for event in events if event.dagster_event_type in BATCHED_EVENTS]
        if together:
            inserts = [self.prepare_insert_event(event) for event in together]
            with self.run_connection(together[0].run_id) as connection:
                for insert in inserts:
                    connection.execute(insert)
            with self.index_transaction() as connection:
                ids = [int((connection.execute(insert).inserted_primary_key or (0,))[0]) for insert in inserts]
                self._store_asset_event_tags(connection, together, ids)
                newest = {event.get_dagster_event().asset_key: at for at, event in enumerate(together)}
                for at in newest.values():
                    self._store_asset_event(connection, together[at], ids[at])
        for event in events:
            if event.dagster_event_type not in BATCHED_EVENTS:
                self.store_event(event)

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


def _do_not_wait_for_disk(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")


class PooledSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with the event log above."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH_SIZE))
        self._event_log_storage = PooledEventLog(self._event_log_storage._base_dir)


class ChosenStorage(DagsterSqliteStorage):
    """Runs, events and schedules: PostgreSQL or SQLite, by the settings."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> DagsterStorage:  # type: ignore[override]
        url = settings().postgres_url
        if url is None:
            return PooledSqliteStorage(base_dir=str(_folder("storage")), inst_data=inst_data)
        from data_platform.core.postgres_storage import postgres_storage

        return postgres_storage(url.get_secret_value(), inst_data)


class HomeArtifacts(LocalArtifactStorage):
    """Files Dagster keeps beside its storage."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> LocalArtifactStorage:  # type: ignore[override]
        return LocalArtifactStorage(base_dir=str(_folder("artifacts")), inst_data=inst_data)


class HomeComputeLogs(LocalComputeLogManager):
    """What steps print."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> LocalComputeLogManager:  # type: ignore[override]
        return LocalComputeLogManager(base_dir=str(_folder("logs")), inst_data=inst_data)


def open_instance() -> dg.DagsterInstance:
    """The instance that `dagster dev` at the root uses too. Close it, or use it as a context manager."""
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(_folder(".")), config_dir=str(PROJECT_ROOT)))


def _folder(name: str) -> Path:
    folder = settings().dagster_home / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
