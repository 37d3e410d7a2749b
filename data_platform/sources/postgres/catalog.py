"""What the database says of the tables that are to be captured, held against what capture needs of them.
Belongs here: reading the catalog, telling the DBA what is missing. Not here: changes, snapshots."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.postgres.lines import CAPTURED, require_own_names
from data_platform.sources.postgres.options import Options, TableOptions

_LOG = logging.getLogger(__name__)
FIRST_VERSION = 150_000
"""PostgreSQL 15: tells which columns a publication holds, and says nothing of transactions that are empty for it."""

_TABLES = """
SELECT n.nspname || '.' || c.relname, c.oid::int8, c.relkind::text, c.relreplident::text,
  has_table_privilege(c.oid, 'select'), p.attnames::text[], p.rowfilter,
  (SELECT array_agg(array(SELECT a.attname::text FROM pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey) ORDER BY a.attname)::text
                    ORDER BY i.indisprimary DESC)
   FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
     AND i.indpred IS NULL AND i.indexprs IS NULL),
  (SELECT array(SELECT a.attname::text FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey) ORDER BY a.attname)
   FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication_tables p ON p.pubname = %s AND p.schemaname = n.nspname AND p.tablename = c.relname
WHERE n.nspname || '.' || c.relname = ANY (%s)
"""
_COLUMNS = """
SELECT n.nspname || '.' || c.relname, a.attname::text, a.atttypid::int8
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_DOMAINS = """
WITH RECURSIVE based AS (
  SELECT oid, typbasetype FROM pg_type WHERE typtype = 'd'
  UNION ALL SELECT b.oid, t.typbasetype FROM based b JOIN pg_type t ON t.oid = b.typbasetype WHERE t.typtype = 'd'
) SELECT b.oid::int8, b.typbasetype::int8 FROM based b JOIN pg_type t ON t.oid = b.typbasetype WHERE t.typtype <> 'd'
"""


@dataclass(frozen=True)
class CapturedTable:
    """A table that can be captured."""

    name: str
    """`schema.table`."""
    oid: int
    columns: Mapping[str, int]
    """Published columns, with the oids of their types."""
    key: tuple[str, ...]


def captured_tables(
    connection: psycopg.Connection[Any], title: str, options: Options, sources: Mapping[str, LandingSource]
) -> dict[str, CapturedTable]:
    """The configured tables. Raises PlatformError naming the first thing that is missing, with the statement that
    mends it."""
    _require_server(connection, title, options)
    names = list(options.tables)
    columns: dict[str, dict[str, int]] = {}
    for table, column, oid in connection.execute(_COLUMNS, [names]):
        columns.setdefault(table, {})[column] = oid
    found = {}
    for row in connection.execute(_TABLES, [options.publication, names]):
        table = _Found(*row)
        one = options.tables[table.name]
        table.require_readable(title, options.publication)
        published = {name: columns[table.name][name] for name in columns[table.name] if name in table.published}
        key = table.key_of(title, one)
        _require_fields(f"[{title}] {table.name}", list(published), key, one, sources[one.source])
        found[table.name] = CapturedTable(table.name, table.oid, published, key)
    for name in names:
        if name not in found:
            raise PlatformError(f"[{title}] There is no table {name} in the database.", "Correct the section's tables.")
    return found


def base_types(connection: psycopg.Connection[Any]) -> dict[int, int]:
    """Oid of a domain → oid of the type that it narrows."""
    return dict(connection.execute(_DOMAINS).fetchall())


@dataclass(frozen=True)
class _Found:
    name: str
    oid: int
    kind: str
    identity: str
    readable: bool
    published: Sequence[str]
    """None where the table is not published."""
    row_filter: str | None
    unique: Sequence[str] | None
    """The columns of each immediate unique index, as the text of an array."""
    primary: Sequence[str] | None

    def require_readable(self, title: str, publication: str) -> None:
        where, name = f"[{title}] {self.name}", self.name
        if self.kind != "r":
            raise PlatformError(f"{where} is no ordinary table.", "Name its partitions, each as a table of its own.")
        if self.published is None:
            raise PlatformError(
                f"{where} is not in the publication {publication}.", f"ALTER PUBLICATION {publication} ADD TABLE {name}"
            )
        if self.row_filter is not None:
            raise PlatformError(f"{where} is published with a row filter.", "Publish it whole.")
        if self.identity != "f":
            raise PlatformError(
                f"{where}: its log does not hold rows as they were before a change.",
                f"ALTER TABLE {name} REPLICA IDENTITY FULL",
            )
        if not self.readable:
            raise PlatformError(
                f"{where} may not be read.", f"GRANT SELECT ON {name} to the role of the section's dsn."
            )

    def key_of(self, title: str, options: TableOptions) -> tuple[str, ...]:
        key = options.key or tuple(self.primary or ())
        where = f"[{title}] {self.name}"
        if not key:
            raise PlatformError(f"{where} has no primary key.", "Say in `key` of the table which columns name a row.")
        # A deferrable index lets two rows share a key in the middle of a transaction: their order would be lost.
        if "{" + ",".join(sorted(key)) + "}" not in (self.unique or ()):
            raise PlatformError(
                f"{where}: no unique index that holds at once is of exactly {', '.join(key)}.",
                "Create one that is not DEFERRABLE, or say in `key` of the table which columns name a row.",
            )
        return key


def _require_server(connection: psycopg.Connection[Any], title: str, options: Options) -> None:
    if connection.info.server_version < FIRST_VERSION:
        raise PlatformError(f"[{title}] The server is older than PostgreSQL 15.", "Use a later one.")
    if _only(connection, "SHOW wal_level") != "logical":
        raise PlatformError(
            f"[{title}] The server's log does not hold what is to be captured.",
            "ALTER SYSTEM SET wal_level = logical, and restart the server.",
        )
    if _only(connection, "SHOW max_slot_wal_keep_size") == "-1":
        _LOG.warning(
            "%s: max_slot_wal_keep_size has no bound: while nobody reads, the log fills the server's disk.", title
        )
    found = connection.execute(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = %s",
        [options.publication],
    ).fetchone()
    if found is None:
        tables = ", ".join(options.tables)
        raise PlatformError(
            f"[{title}] There is no publication {options.publication}.",
            f"CREATE PUBLICATION {options.publication} FOR TABLE {tables}",
        )
    if not found[0]:
        raise PlatformError(
            f"[{title}] The publication {options.publication} leaves out some operations.",
            f"ALTER PUBLICATION {options.publication} SET (publish = 'insert, update, delete, truncate')",
        )


def _only(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def _require_fields(
    where: str, columns: Sequence[str], key: Sequence[str], options: TableOptions, source: LandingSource
) -> None:
    for name in (*options.columns, *options.leave_out, *key):
        if name not in columns:
            raise PlatformError(
                f"{where} has no column {name}.", f"{did_you_mean(name, columns)}Correct the table's options."
            )
    for name in key:
        if name in options.leave_out:
            raise PlatformError(f"{where}: {name} names the rows and cannot be left out.", "Correct `leave_out`.")
    require_own_names(columns, options)
    known = [field.name for field in source.fields()]
    for name in options.columns.values():
        if name not in known:
            raise PlatformError(
                f"{where}: the source {source.name} has no field {name}.",
                f"{did_you_mean(name, known)}Its fields are {', '.join(known)}.",
            )
    given = {options.field(name) for name in columns if name not in options.leave_out}
    for field in source.fields():
        if not field.nullable and field.name not in {*given, *CAPTURED}:
            raise PlatformError(
                f"{where}: no column gives {field.name}, without which {source.table.key} takes no line.",
                f'Say which does: columns = {{ COLUMN = "{field.name}" }}',
            )
