"""The PostgreSQL that is published to: connecting, taking turns, and what its errors say to people.
Not here: any table. No message holds the password."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from data_platform.core.errors import PlatformError
from data_platform.core.settings import Settings

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

VARIABLE = "DATA_PLATFORM_ANALYTICS_URL"
FIRST_PATIENCE, MOST_PATIENCE, PAUSE = 0.005, 0.5, 10
"""Seconds that readers may queue behind one attempt at a lock: the first, the longest; and how many times as long
they are left alone until the next."""
LOCK_DEADLINE_SECONDS = 300.0

Connection = Any
"""psycopg.Connection; psycopg is an extra, and this module says so when it is missing."""


class PublicationBlocked(PlatformError):
    """Somebody reads without end, and readers are not interrupted."""


def analytics_url(settings: Settings) -> str:
    """Where to publish. Raises PlatformError when it is not set, no PostgreSQL URL, or the driver is missing."""
    if settings.analytics_url is None:
        raise PlatformError(
            f"There is no database to publish to: {VARIABLE} is not set.",
            "Set it to postgresql://user:password@host:5432/database.",
        )
    try:
        import alembic  # noqa: F401
        import psycopg
    except ImportError as error:
        raise PlatformError(
            f"Publishing needs the package {error.name}.", "Run `pip install 'data-platform[analytics]'`."
        ) from None
    url = settings.analytics_url.get_secret_value()
    scheme, _, rest = url.partition("://")
    try:
        # An unquoted @ or / in a password makes parts of it look like host or port, which messages would then show.
        if scheme not in ("postgresql", "postgres") or rest.count("@") > 1:
            raise ValueError
        parameters = psycopg.conninfo.conninfo_to_dict(url)
        if "port" in parameters:
            int(str(parameters["port"]))
    except (ValueError, psycopg.Error):
        raise PlatformError(
            f"{VARIABLE} is not a PostgreSQL URL.",
            "Write postgresql://user:password@host:5432/database; percent-encode special characters of the password.",
        ) from None
    return url


@contextlib.contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that is closed, and what is not committed undone, at the end of the block. Raises PlatformError."""
    import psycopg

    from data_platform.bi.layout import OPERATOR, READER

    try:
        connection = psycopg.connect(url, application_name="data-platform publish", connect_timeout=10)
    except psycopg.Error as error:
        raise _explained(error, "cannot be reached", f"Correct {VARIABLE} or start the server.") from None
    try:
        # Text in, text out: days and moments are UTC. A server whose client was killed looks up every few seconds.
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute("SET client_connection_check_interval = '5s'")
        connection.commit()
        yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        roles = "; ".join(f"CREATE ROLE {role} NOLOGIN" for role in (READER, OPERATOR))
        allowed = f"{roles}; GRANT CREATE ON DATABASE … TO (who publishes)"
        raise _explained(error, "refused", f"Let an administrator run once: {allowed}; see docs/runbook.md.") from None
    except psycopg.Error as error:
        raise _explained(
            error, "failed", "What was published before is still there. Correct the cause and publish again."
        ) from None
    finally:
        connection.close()


def _explained(error: psycopg.Error, what: str, remedy: str) -> PlatformError:
    """The driver's message without its context, which would quote rows."""
    message = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
    return PlatformError(f"PostgreSQL for analytics {what}: {message}.", remedy)


def take_turns(connection: Connection, name: str) -> None:
    """Wait until no other publisher works on `name`, and keep others waiting until the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"data-platform publish {name}"])


def stop_readers_for_a_moment(connection: Connection, table: sql.Identifier) -> None:
    """Take the table (ACCESS EXCLUSIVE) for the rest of the transaction, which had better be short. Raises
    PublicationBlocked."""
    from psycopg import sql

    # Vacuum and analyze hold partitions for minutes; they step aside for this lock, which readers do not feel.
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(table))
    patiently(connection, table, sql.SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(table))


def patiently(connection: Connection, relation: sql.Identifier, statement: sql.Composable) -> None:
    """Execute what takes a lock that no reader may hold meanwhile.

    Whoever reads already is waited for, but a waiting lock makes new readers queue behind it: so it waits a few
    milliseconds, lets go, and tries again. Raises PublicationBlocked, naming who reads, after five minutes.
    """
    from psycopg import errors

    patience, deadline = FIRST_PATIENCE, time.monotonic() + LOCK_DEADLINE_SECONDS
    while True:
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{patience * 1000:.0f}ms"])
                connection.execute(statement)
                connection.execute("SET LOCAL lock_timeout = 0")
            return
        except errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise _blocked(connection, relation) from None
            time.sleep(patience * PAUSE * (0.5 + random.random()))
            patience = min(2 * patience, MOST_PATIENCE)


def _blocked(connection: Connection, relation: sql.Identifier) -> PublicationBlocked:
    name = relation.as_string(connection)
    readers = connection.execute(
        "SELECT format('%%s (process %%s, since %%s)', usename, pid, date_trunc('second', xact_start))"
        " FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE relation = %s::regclass AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 5",
        [name],
    ).fetchall()
    names = ", ".join(reader for (reader,) in readers) or "somebody"
    return PublicationBlocked(
        f"{name} could not be replaced: for {LOCK_DEADLINE_SECONDS:.0f} s it was read without a pause, by {names}.",
        "Readers see what was published before. End those transactions (pg_terminate_backend), and publish again.",
    )
