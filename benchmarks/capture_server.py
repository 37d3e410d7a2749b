"""A database whose users change, captured by the platform's connector, and read without it.
Not here: goals (capture)."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from benchmarks.publication_server import postgresql
from data_platform.core.lake.store import configured_lake
from data_platform.domains.commerce.sources import USERS
from data_platform.sources.connectors import Connector, Ways
from data_platform.sources.postgres.connector import connect

TABLE = """
CREATE TABLE users (user_id bigint PRIMARY KEY, email text, country text, plan text, registered_at timestamptz);
ALTER TABLE users REPLICA IDENTITY FULL;
CREATE PUBLICATION data_platform FOR TABLE users
"""
SLOT = "benchmark"
INSERT = """INSERT INTO users SELECT i, 'player' || i || '@example.org', 'PL', 'gold', now()
            FROM generate_series(%s::int, %s::int) i"""
UPDATE = "UPDATE users SET plan = 'free' WHERE user_id BETWEEN %s AND %s"
TRANSACTION = 1_000


def measure(changes: int, landing: str, tell: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Rows, seconds, bare seconds and processor seconds (ours, theirs) of a snapshot, of small transactions (half
    inserts, half updates) and of a large one (updates)."""
    with postgresql(wal_level="logical", max_wal_size="8GB", checkpoint_timeout="1h") as url:
        database = psycopg.connect(url, autocommit=True)
        database.execute(TABLE)
        database.execute(INSERT, [1, changes])
        server = psutil.Process(database.info.backend_pid).parent()
        assert server is not None
        options = {"dsn": url, "slot": SLOT, "tables": {"public.users": "users"}}
        connector = connect("postgres.benchmark", options, Ways(configured_lake(), Path(landing), {"users": USERS}))
        tell("snapshot", 0, 3)
        bare = _drained(database, sql.SQL("COPY users TO STDOUT"))
        snapshot = {"rows": changes, "bare": bare} | _captured(connector, server)
        tell("small transactions", 1, 3)
        half = changes // 2
        for statement, first in ((INSERT, changes + 1), (UPDATE, 1)):
            for begin in range(first, first + half, TRANSACTION):
                database.execute(statement, [begin, min(begin + TRANSACTION, first + half) - 1])
        small = {"rows": 2 * half, "bare": _drained(database, _peek())} | _captured(connector, server)
        tell("a large transaction", 2, 3)
        database.execute(UPDATE, [1, changes])
        large = {"rows": changes, "bare": _drained(database, _peek())} | _captured(connector, server)
        connector.close()
        database.close()
    return {"snapshot": snapshot, "small": small, "large": large, "load": os.getloadavg()[0]}


def _peek() -> sql.Composed:
    return sql.SQL(
        """COPY (SELECT lsn, data FROM pg_logical_slot_peek_binary_changes({}, null, null,
             'proto_version', '1', 'publication_names', 'data_platform')) TO STDOUT (FORMAT binary)"""
    ).format(SLOT)


def _drained(database: psycopg.Connection[Any], statement: sql.SQL | sql.Composed) -> float:
    """Seconds to receive what a COPY sends."""
    begun = time.perf_counter()
    with database.cursor().copy(statement) as rows:
        for _ in rows:
            pass
    return time.perf_counter() - begun


def _captured(connector: Connector, server: psutil.Process) -> dict[str, float]:
    """Until there is nothing more."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, ours, theirs = time.perf_counter(), time.process_time(), _processor_seconds(server)
    while connector.advance(threading.Event()):
        pass
    return {
        "seconds": time.perf_counter() - begun,
        "ours": time.process_time() - ours,
        "theirs": _processor_seconds(server) - theirs,
        "growth": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) << 10,
    }


def _processor_seconds(server: psutil.Process) -> float:
    """Of the server and all its processes, also those that ended."""
    used = server.cpu_times()
    ended = used.children_user + used.children_system
    alive = (one.cpu_times() for one in [server, *server.children(recursive=True)])
    return float(ended + sum(one.user + one.system for one in alive))
