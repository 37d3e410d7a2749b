"""Where Dagster itself keeps runs, events and logs: PostgreSQL when `DATA_PLATFORM_POSTGRES_URL` is set, else SQLite,
always under the platform's home. Named in `dagster.yaml`, so that `dagster dev` at the root needs no other variable."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy

# Instance storage can only be chosen by a configurable class, and its base classes are not exported publicly.
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine

from data_platform.core.settings import PROJECT_ROOT, settings


class PooledEventLog(SqliteEventLogStorage):
    """Dagster's SQLite event log with its connections kept open.

    Dagster opens a new engine and connection, twice, for every event and waits for the disk each time: 27 ms an event
    where this takes 2 ms, and a year's backfill writes thousands of events. Without the wait (`synchronous=NORMAL`, the
    write-ahead log stays consistent) a killed process loses nothing; a power cut may lose the last moments of history.
    """

    KEPT_SHARDS = 8
    """Each run has a database of its own; the least recently used ones are closed."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._known_tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def has_table(self, table_name: str) -> bool:
        """Asked for every event; tables do not go away."""
        if table_name not in self._known_tables and super().has_table(table_name):
            self._known_tables.add(table_name)
        return table_name in self._known_tables

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
        from dagster_postgres import DagsterPostgresStorage

        # SQLAlchemy 2.1 takes plain `postgresql://` for psycopg 3, dagster-postgres needs psycopg2.
        told = url.get_secret_value().replace("postgres://", "postgresql://", 1)
        return DagsterPostgresStorage(told.replace("postgresql://", "postgresql+psycopg2://", 1), True, inst_data)


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
