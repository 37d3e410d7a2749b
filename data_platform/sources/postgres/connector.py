"""`[postgres.NAME]`: tables of a PostgreSQL, captured change by change. The port's two functions and what a worker sees
of it. Not here: how it is done (replication); the client's library is imported when a connection is made."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from data_platform.core.contract.received import ReceivedChanges
from data_platform.core.errors import PlatformError
from data_platform.sources.connectors import (
    ExternalTable,
    StreamState,
    Ways,
    checked,
    known_source,
    require_library,
)
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.positions import held
from data_platform.sources.postgres.lines import CAPTURED
from data_platform.sources.postgres.options import MEGABYTE, Options
from data_platform.sources.postgres.pgoutput import EPOCH
from data_platform.sources.postgres.table_stream import TableStream

if TYPE_CHECKING:
    from data_platform.sources.postgres.replication import Replication

EXTRA = "cdc"
IDLE_SECONDS = 0.5
DOCUMENTED = "See PostgreSQL in docs/guides/streams.md."


def external_tables(title: str, options: Mapping[str, Any]) -> list[ExternalTable]:
    """What the section reads, one per table."""
    kind, _, name = title.partition(".")
    found = checked(Options, title, options)
    most_lag = found.most_lag_mb * MEGABYTE
    return [
        ExternalTable((kind, name, table), kind, one.source, f"Table {table} of the database {name}.", most_lag)
        for table, one in found.tables.items()
    ]


def connect(title: str, options: Mapping[str, Any], ways: Ways) -> PostgresConnector:
    """Raises PlatformError for options that are wrong and a source that takes no changes. The database is asked later:
    it may be down."""
    require_library("psycopg", EXTRA)
    section = title.partition(".")[2]
    declared = checked(Options, title, options).of_section(section)
    _require_dsn(title, declared)
    tables = [
        TableStream(section, table, _taking_changes(title, one.source, ways), one, ways)
        for table, one in declared.tables.items()
    ]
    return PostgresConnector(title, declared, tables, ways)


class PostgresConnector:
    """Captures the tables of a section while no other process does."""

    idle_seconds = IDLE_SECONDS

    def __init__(self, title: str, options: Options, tables: Sequence[TableStream], ways: Ways) -> None:
        self._title, self._options, self._tables, self._ways = title, options, tables, ways
        self._holding = ExitStack()
        self._replication: Replication | None = None

    def advance(self, stop: threading.Event) -> bool:
        """Raises PlatformError for whatever keeps it from reading; a new connector goes on from what is received."""
        from data_platform.sources.postgres.replication import Replication, Stopped

        try:
            with _told(self._title):
                if self._replication is None:
                    if not self._hold():
                        return False
                    self._replication = Replication(self._title, self._options, self._tables, self._ways)
                return self._replication.advance(stop)
        except Stopped:
            self.close()
            return not stop.is_set()
        except PlatformError:
            self.close()
            if stop.is_set():  # a statement that waited was cancelled
                return False
            raise

    def states(self) -> Sequence[StreamState]:
        """Nothing while another process captures the tables. Positions and lag are bytes of PostgreSQL's log."""
        at = self._replication
        if at is None:
            return []
        retained = at.retained > self._options.most_lag_mb * MEGABYTE
        told = f"the server keeps {at.retained // MEGABYTE:,} MB of its log for the slot {self._options.slot}"
        return [
            StreamState(
                one.source.name,
                one.stream,
                (position := at.standing(one)),
                max(0, at.log_end - position) if one.complete else None,
                EPOCH + dt.timedelta(microseconds=one.newest) if one.newest > 0 else None,
                told if retained else one.alarm,
            )
            for one in self._tables
        ]

    def close(self) -> None:
        if self._replication is not None:
            self._replication.close()
            self._replication = None
        self._holding.close()

    def _hold(self) -> bool:
        """All streams or none, so that of two processes one captures and the other waits."""
        for one in sorted(self._tables, key=lambda one: one.stream):
            if not self._holding.enter_context(held(one.folder, one.stream)):
                self._holding.close()
                return False
        return True


@contextmanager
def _told(title: str) -> Iterator[None]:
    """The client's errors in the words of people: they name host, user and what was refused, never a password."""
    import psycopg

    try:
        yield
    except psycopg.OperationalError as error:
        problem = str(error).strip().splitlines() or [type(error).__name__]
        raise PlatformError(
            f"[{title}] The database cannot be read: {problem[-1]}.", f"It is tried again. {DOCUMENTED}"
        ) from None
    except psycopg.Error as error:
        raise PlatformError(
            f"[{title}] The database refuses: {error.diag.message_primary or error}.",
            f"{error.diag.message_hint or ''} {DOCUMENTED}".strip(),
        ) from None


def _require_dsn(title: str, options: Options) -> None:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(options.dsn.get_secret_value())
    except ProgrammingError:  # its text repeats what was given
        raise PlatformError(
            f"[{title}] dsn: it is no connection string.", "Write postgresql://USER@HOST/DATABASE or host=… dbname=…"
        ) from None


def _taking_changes(title: str, name: str, ways: Ways) -> LandingSource:
    source = known_source(title, name, ways.sources)
    fields = {field.name for field in source.fields()}
    if not issubclass(source.table, ReceivedChanges) or not fields.issuperset(CAPTURED):
        able = sorted(one.name for one in ways.sources.values() if issubclass(one.table, ReceivedChanges))
        raise PlatformError(
            f"[{title}] The source {name} takes no changes of rows.", f"Sources that do: {', '.join(able)}."
        )
    return source
