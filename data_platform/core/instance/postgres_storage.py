"""Dagster's PostgreSQL storage with its connection kept open. Imported only when PostgreSQL is chosen.
Not here: the choice (dagster_home)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster._core.storage.event_log import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from data_platform.core.errors import PlatformError
from data_platform.core.instance.event_times import DistinctTimes
from data_platform.core.instance.sqlite_event_log import TablesDoNotGoAway

VARIABLE = "DATA_PLATFORM_POSTGRES_URL"
RECYCLE_SECONDS = 3600
FIRST_START = 0x6461_7461
"""Of the lock that whoever creates the tables holds; any number that others on this database do not lock."""
WILL_NOT_PASS = ("authentication failed", "does not exist", "no pg_hba.conf entry")


class PooledPostgresEventLog(DistinctTimes, TablesDoNotGoAway, PostgresEventLogStorage):
    """Dagster's PostgreSQL event log with one connection kept open per process.

    Dagster connects anew several times for every event: 16 to 33 ms an event where this takes 4 to 11 ms (local server,
    busy machine), and more over a network. `DAGSTER_EVENT_BATCH_SIZE` would save 2 ms more, of materialisations alone,
    and is left to the operator. A kept connection is asked whether it is alive before it is used: a restart of the
    server goes unnoticed.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, True, inst_data)
        self._engine.dispose()
        self._engine = create_engine(
            postgres_url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True, pool_recycle=RECYCLE_SECONDS
        )

    def dispose(self) -> None:
        super().dispose()
        self._engine.dispose()


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's PostgreSQL storage with the event log above."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, True, inst_data)
        self._event_log_storage = PooledPostgresEventLog(postgres_url)


def postgres_storage(url: str, inst_data: ConfigurableClassData | None) -> PooledPostgresStorage:
    """Open the storage. Raises PlatformError, without the password, when the URL or the server is wrong."""
    # SQLAlchemy 2.1 takes plain `postgresql://` for psycopg 3, dagster-postgres needs psycopg2.
    sqlalchemy_url = url.replace("postgres://", "postgresql://", 1).replace(
        "postgresql://", "postgresql+psycopg2://", 1
    )
    # An unquoted @ or / in a password makes parts of it look like host or port, which error messages then show.
    if sqlalchemy_url.count("@") > 1 or not _is_postgres(sqlalchemy_url):
        raise PlatformError(
            f"{VARIABLE} is not a PostgreSQL URL.",
            "Write postgresql://user:password@host:5432/database; percent-encode special characters of the password.",
        )
    try:
        with _creating_alone(sqlalchemy_url):
            return PooledPostgresStorage(sqlalchemy_url, inst_data)
    except (DagsterPostgresException, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        driver = getattr(cause, "orig", None) or cause
        lines = [line.strip() for line in str(driver).splitlines() if line.strip()]
        raise PlatformError(
            f"Dagster's storage on PostgreSQL cannot be opened: {' '.join(lines)}",
            f"Correct {VARIABLE} or start the server; without the variable SQLite is used.",
        ) from None


@contextmanager
def _creating_alone(url: str) -> Iterator[None]:
    """Wait while another process creates the tables. Dagster creates them one by one, each seen by others at once: who
    meets some of them fails five times within a second and then for good, or takes the storage for complete.

    Raises OperationalError at once for a wrong password or database: Dagster tries for ten seconds, which helps only
    against a server that is not up yet."""
    engine = create_engine(url, poolclass=NullPool)
    try:
        try:
            connection = engine.connect()
        except OperationalError as error:
            if any(sign in str(error.orig) for sign in WILL_NOT_PASS):
                raise
            yield
            return
        with connection:
            if not _tables() <= set(inspect(connection).get_table_names()):
                connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": FIRST_START})
                yield
                return
        yield
    finally:
        engine.dispose()


def _tables() -> set[str]:
    kinds = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)
    return {name for kind in kinds for name in kind.tables}


def _is_postgres(url: str) -> bool:
    try:
        return make_url(url).get_backend_name() == "postgresql"
    except (ArgumentError, ValueError):
        return False
