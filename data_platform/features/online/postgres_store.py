"""Vectors in PostgreSQL: one table per feature set, filled and renamed over the served one in one transaction.
Not here: what a vector holds (vectors), other stores."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl
import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool

from data_platform.features.online.store import OnlineSnapshot, OnlineStore, OnlineStoreUnavailable, require_newer

SCHEMA = "online_features"
MOST_CONNECTIONS = 8
WAIT_SECONDS = 5.0

# The row without an entity says which snapshot the table is: vectors and snapshot are renamed, and read, as one.
_READ = sql.SQL(
    "SELECT entity_id, vector FROM {table} WHERE entity_id = ANY(%s) "
    "UNION ALL SELECT entity_id, vector FROM {table} WHERE entity_id IS NULL"
)


class PostgresStore(OnlineStore):
    """Tables `online_features.<feature_set>` in the database that the URL names."""

    in_process = False

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool(
            url, min_size=0, max_size=MOST_CONNECTIONS, timeout=WAIT_SECONDS, open=False,
            kwargs={"autocommit": True}, check=ConnectionPool.check_connection, name="online-features",
        )  # fmt: skip

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            self._pool.open()
            with self._pool.connection() as connection:
                yield connection
        except psycopg.Error as error:
            raise OnlineStoreUnavailable(
                f"The online store on PostgreSQL failed ({type(error).__name__}).",
                "Check DATA_PLATFORM_ONLINE_URL and that the server is up.",
            ) from None

    def _fetch(self, feature_set: str, entity_ids: Sequence[str]) -> tuple[OnlineSnapshot, dict[str, bytes]] | None:
        with self._connection() as connection:
            try:
                rows = connection.execute(_READ.format(table=_table(feature_set)), [list(entity_ids)]).fetchall()
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return None
        found = {entity_id: text.encode() for entity_id, text in rows}
        return OnlineSnapshot.from_json(found.pop(None)), found

    def current(self, feature_set: str) -> OnlineSnapshot | None:
        found = self._fetch(feature_set, [])
        return found[0] if found else None

    def count(self, feature_set: str) -> int:
        counted = sql.SQL("SELECT count(entity_id) FROM {}").format(_table(feature_set))
        with self._connection() as connection:
            try:
                row = connection.execute(counted).fetchone()
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return 0
        return int(row[0]) if row else 0

    def close(self) -> None:
        self._pool.close()

    def _replace(self, snapshot: OnlineSnapshot, vectors: Iterable[pl.DataFrame]) -> OnlineSnapshot:
        name = snapshot.feature_set
        building, served_table = _table(f"building_{uuid.uuid4().hex}"), _table(name)
        with self._connection() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            with connection.transaction():
                # One writer at a time; the lock goes with the transaction, and so does everything unfinished.
                connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"{SCHEMA}.{name}"])
                require_newer(self.current(name), snapshot)
                columns = sql.SQL("CREATE TABLE {} (entity_id text, vector text NOT NULL)")
                connection.execute(columns.format(building))
                served = _fill(connection, building, snapshot, vectors)
                connection.execute(sql.SQL("CREATE UNIQUE INDEX ON {} (entity_id)").format(building))
                connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(served_table))
                rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
                connection.execute(rename.format(building, sql.Identifier(name)))
        return served


def _fill(
    connection: psycopg.Connection[Any],
    table: sql.Composable,
    snapshot: OnlineSnapshot,
    vectors: Iterable[pl.DataFrame],
) -> OnlineSnapshot:
    rows = 0
    copying = sql.SQL("COPY {} (entity_id, vector) FROM STDIN").format(table)
    with connection.cursor() as cursor, cursor.copy(copying) as copy:
        for frame in vectors:
            for row in frame.select("entity_id", pl.col("vector").cast(pl.String)).iter_rows():
                copy.write_row(row)
            rows += len(frame)
        served = dataclasses.replace(snapshot, rows=rows)
        copy.write_row((None, served.to_json()))
    return served


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, name)
