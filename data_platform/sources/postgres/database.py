"""The database that is captured: connections, its log and our slot in it, as SQL functions (psycopg does not speak the
replication protocol, but for creating a slot). Not here: what is made of rows and changes."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import sql

from data_platform.core.errors import PlatformError
from data_platform.sources.postgres.options import Options

_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "client_encoding": "utf8",
    "application_name": "data-platform",
}
_SESSION = """
SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET bytea_output = 'hex';
SET extra_float_digits = 1; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SET idle_session_timeout = 0; SET row_security = off
"""
"""Values are written the same wherever the server's settings stand; a policy that would hide rows is an error."""
_MAY_NOTE = """
SELECT coalesce(has_function_privilege(to_regprocedure('pg_log_standby_snapshot()')::oid, 'execute'), false)
"""
"""PostgreSQL 16 has the function; for others than superusers it takes a GRANT."""
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_FIELD = 18
"""Bytes of a row of binary COPY before its second field: number of fields, length and value of the first, length."""


@dataclass(frozen=True)
class SlotState:
    """Our slot, as the server sees it. Positions are bytes of its log."""

    confirmed: int
    """What is before it will not be told again."""
    retained: int
    """Bytes of the log that the server keeps for the slot."""
    lost: bool
    """The server gave it up: what it kept grew beyond `max_slot_wal_keep_size`."""


class Database:
    """A session of one database; whoever opened it closes it."""

    def __init__(self, title: str, options: Options) -> None:
        self._title, self._options = title, options
        self.connection = self._connect()
        self._may_note: bool | None = None

    def _connect(self, **more: Any) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._options.dsn.get_secret_value(), **(_CONNECTION | more))
        connection.execute(_SESSION)
        return connection

    def close(self) -> None:
        self.connection.close()

    def log_end(self) -> int:
        """Up to where the server's log is safe: what is before it happened."""
        return int(self._one("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn")[0])

    # ---------------------------------------------------------------------- the slot
    def slot(self) -> SlotState | None:
        """Raises PlatformError for a slot of this name that is not ours."""
        row = self.connection.execute(
            """SELECT plugin, database = current_database(), coalesce(wal_status = 'lost', false),
                 coalesce(confirmed_flush_lsn - '0/0'::pg_lsn, 0), coalesce(pg_current_wal_lsn() - restart_lsn, 0)
               FROM pg_replication_slots WHERE slot_name = %s""",
            [self._options.slot],
        ).fetchone()
        if row is None:
            return None
        plugin, here, lost, confirmed, retained = row
        if plugin != "pgoutput" or not here:
            raise PlatformError(
                f"[{self._title}] The slot {self._options.slot} belongs to something else.",
                "Name another in `slot`; each section needs one of its own.",
            )
        return SlotState(int(confirmed), int(retained), lost)

    def create_slot(self, stop: threading.Event) -> None:
        """Waits for transactions that are open."""
        with stoppable(self.connection, stop):
            self.connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [self._options.slot])

    def drop_slot(self) -> None:
        self.connection.execute("SELECT pg_drop_replication_slot(%s)", [self._options.slot])

    def advance_slot(self, position: int) -> None:
        """Let the server forget what is before it."""
        self.connection.execute(
            "SELECT pg_replication_slot_advance(%s, '0/0'::pg_lsn + %s)", [self._options.slot, position]
        )

    def note_running(self) -> None:
        """Have the server write into its log what runs just now, where we may: from there it can start reading again.
        By itself it does every 15 s, and reads what was written since again at each look."""
        if self._may_note is None:
            self._may_note = bool(self._one(_MAY_NOTE)[0])
        if self._may_note:
            self.connection.execute("SELECT pg_log_standby_snapshot()")

    def peek(self, upto: int, most: int, stop: threading.Event) -> Iterator[tuple[int, bytes]]:
        """(position, message of pgoutput) of whole transactions committed before `upto`, until there are `most`."""
        publication = '"' + self._options.publication.replace('"', '""') + '"'
        statement = sql.SQL(
            """COPY (SELECT lsn, data FROM pg_logical_slot_peek_binary_changes({slot}, '0/0'::pg_lsn + {upto}, {most},
                 'proto_version', '1', 'publication_names', {publication})) TO STDOUT (FORMAT binary)"""
        ).format(slot=self._options.slot, upto=upto, most=most, publication=publication)
        with stoppable(self.connection, stop), self.connection.cursor().copy(statement) as rows:
            for block in rows:
                row = bytes(block)
                if row.startswith(_HEADER):
                    row = row[len(_HEADER) :]
                if len(row) > _FIELD:
                    yield int.from_bytes(row[6:14], "big"), row[_FIELD:]

    # ------------------------------------------------------------------------ snapshots
    def begin_snapshot(self, stop: threading.Event) -> TableSnapshot:
        """The tables as they are at one position of the log. Waits for transactions that are open."""
        exporting = psycopg.connect(self._options.dsn.get_secret_value(), **(_CONNECTION | {"replication": "database"}))
        try:
            name = sql.Identifier(f"{self._options.slot[:50]}_snapshot")
            statement = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')").format(
                name
            )
            with stoppable(exporting, stop):
                row = exporting.execute(statement).fetchone()
            assert row is not None
            reading = self._connect()
            reading.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            reading.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(row[2]))
            (micros,) = _row(
                reading, "SELECT (extract(epoch from clock_timestamp()) * 1000000)::int8 - 946684800000000"
            )
            high, low = str(row[1]).split("/")
            return TableSnapshot(reading, (int(high, 16) << 32) + int(low, 16), int(micros))
        finally:
            exporting.close()

    def _one(self, statement: str) -> Any:
        return _row(self.connection, statement)


class TableSnapshot:
    """All tables at one position of the log: what committed before it is seen, what commits later is told by a slot."""

    def __init__(self, reading: psycopg.Connection[Any], position: int, micros: int) -> None:
        self._reading = reading
        self.position, self.micros = position, micros
        """Its place in the log; the server's time when it was taken, in microseconds since 2000."""

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[list[bytes | None]]:
        """The values of each row as text, as the log would tell them; read from the server as they are taken."""
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        statement = sql.SQL("COPY (SELECT {} FROM ONLY {}) TO STDOUT").format(listed, sql.Identifier(*table.split(".")))
        with self._reading.cursor().copy(statement) as copied:
            for block in copied:
                yield _text_row(bytes(block))

    def close(self) -> None:
        self._reading.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _text_row(block: bytes) -> list[bytes | None]:
    """A row of COPY's text format, which ends with a line break."""
    row = block[:-1]
    if b"\\" not in row:
        return list(row.split(b"\t"))
    return [None if value == rb"\N" else _unescaped(value) for value in row.split(b"\t")]


def _unescaped(value: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), value)


@contextlib.contextmanager
def stoppable(connection: psycopg.Connection[Any], stop: threading.Event) -> Iterator[None]:
    """The statement inside is cancelled when `stop` is set, however long it waits; it then raises QueryCanceled."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if stop.wait(0.2) and not done.is_set():
                with contextlib.suppress(psycopg.Error):
                    connection.cancel_safe(timeout=5)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _row(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row
