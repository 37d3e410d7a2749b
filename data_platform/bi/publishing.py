"""Publish tables of the lake to PostgreSQL: what `data-platform publish` and the assets call.
A table is one transaction, from taking turns to the record: killed anywhere, readers keep what they had. Not here: the
steps (schema, parts, loading, summaries)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg import sql

from data_platform.bi import schema, summaries, vectors
from data_platform.bi.layout import column_names, internal, qualified, range_sql
from data_platform.bi.loading import load
from data_platform.bi.parts import (
    RECORD,
    Part,
    PublishedPart,
    changed_parts,
    lake_parts,
    published_parts,
)
from data_platform.bi.server import Connection, connected, stop_readers_for_a_moment, take_turns
from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake

Follow = Callable[[str, int, int], None]
"""Called with (what is being done, tables done, tables in all)."""


@dataclass(frozen=True)
class PublishedTable:
    """What was done to one table."""

    table: type[Table]
    loaded: tuple[str, ...] = ()
    """Partitions that were loaded: months, or `all`."""
    removed: tuple[str, ...] = ()
    """Partitions that the lake has no rows of any more."""
    rows: int = 0
    """Rows loaded."""
    total: int = 0
    """Rows that readers see now."""
    version: int | None = None
    """Delta version they are from."""
    seconds: float = 0.0
    swap_seconds: float = 0.0
    """How long readers could not read."""
    summaries: tuple[str, ...] = ()
    """Materialised views that were refreshed."""
    nul_rows: Mapping[str, int] = field(default_factory=dict)
    """Column → loaded rows with a NUL in it, which PostgreSQL cannot hold: U+FFFD stands for it there."""
    notes: tuple[str, ...] = ()
    """What is published in a lesser way than it could be, and what to do."""
    problem: PlatformError | None = None
    """Why nothing was published of it."""


def publish(lake: Lake, url: str, tables: Sequence[type[Table]], follow: Follow | None = None) -> list[PublishedTable]:
    """Bring published tables to what the lake says now; what was done to each.

    Only months whose files changed are loaded. A table that cannot be published keeps what it had, with its `problem`,
    and does not keep the others back. Raises PlatformError when the database cannot be reached or set up.
    """
    with connected(url) as connection:
        schema.migrate(connection)
    done = []
    for number, table in enumerate(tables):
        if follow:
            follow(table.table_name(), number, len(tables))
        try:
            with connected(url) as connection:
                schema.expand(connection, table)
                published = _publish_table(connection, lake, table)
                note = vectors.array_note(table, vectors.kinds(connection, table))
                refreshed = summaries.refresh(connection, table)
                done.append(replace(published, summaries=refreshed, notes=(note,) if note else ()))
        except PlatformError as error:
            done.append(PublishedTable(table, problem=error))
    return done


def drop_retired(url: str, tables: Sequence[type[Table]]) -> list[str]:
    """Drop the columns, summaries and tables in PostgreSQL that none of `tables`, all that are published, has any more;
    their names. Raises PlatformError when views of others still use them."""
    with connected(url) as connection:
        schema.migrate(connection)
        return schema.contract(connection, tables)


def require_published(publications: Sequence[PublishedTable]) -> None:
    """Raise PlatformError, naming every table that was not published and why."""
    problems = [one for one in publications if one.problem]
    if problems:
        raise PlatformError(
            " ".join(f"{one.table.key} was not published: {one.problem.problem}" for one in problems if one.problem),
            " ".join(dict.fromkeys(one.problem.remedy for one in problems if one.problem)),
        )


def _publish_table(connection: Connection, lake: Lake, table: type[Table]) -> PublishedTable:
    begun = time.monotonic()
    take_turns(connection, table.key)
    # Opened only now: who waited for another publisher must not put back what that one has replaced.
    snapshot = lake.snapshot(table)
    version = snapshot.version
    wanted, there = lake_parts(snapshot), published_parts(connection, table)
    changed, obsolete = changed_parts(table, wanted, there)
    total = sum(part.rows for part in wanted.values())
    if not changed and not obsolete:
        connection.commit()
        return PublishedTable(table, total=total, version=version, seconds=time.monotonic() - begun)
    nul_rows = Counter[str]()
    loaded = {part.name: load(connection, table, snapshot, part, nul_rows) for part in changed}
    _record(connection, table, changed, loaded, obsolete, version or 0)
    swap_seconds = _swap(connection, table, loaded, obsolete)
    _analyze(connection, table)
    return PublishedTable(
        table,
        tuple(loaded),
        tuple(part.name for part in obsolete if part.name not in loaded),
        sum(part.rows for part in changed),
        total,
        version,
        time.monotonic() - begun,
        swap_seconds,
        nul_rows=nul_rows,
    )


def _swap(
    connection: Connection, table: type[Table], loaded: Mapping[str, str], obsolete: Sequence[PublishedPart]
) -> float:
    """Put the loaded partitions in the place of the obsolete ones and commit; how long readers were kept out.

    A month that is new is attached without keeping anybody out."""
    held = time.monotonic()
    if obsolete:
        stop_readers_for_a_moment(connection, qualified(table))
        held = time.monotonic()
        for part in obsolete:
            partition = internal(part.partition)
            connection.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(qualified(table), partition))
            connection.execute(sql.SQL("DROP TABLE {}").format(partition))
    for name, partition_name in loaded.items():
        attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} {}")
        connection.execute(attach.format(qualified(table), internal(partition_name), range_sql(name)))
    connection.commit()
    return time.monotonic() - held if obsolete else 0.0


def _record(
    connection: Connection,
    table: type[Table],
    changed: Sequence[Part],
    loaded: Mapping[str, str],
    obsolete: Sequence[PublishedPart],
    version: int,
) -> None:
    forget = sql.SQL("DELETE FROM {} WHERE table_name = %s AND part = ANY(%s)").format(RECORD)
    connection.execute(forget, [table.table_name(), [*loaded, *(part.name for part in obsolete)]])
    note = sql.SQL(
        "INSERT INTO {} (table_name, part, partition_name, digest, columns, lake_version, row_count)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)"
    ).format(RECORD)
    columns = column_names(table)
    for part in changed:
        row = [table.table_name(), part.name, loaded[part.name], part.digest, columns, version, part.rows]
        connection.execute(note, row)


def _analyze(connection: Connection, table: type[Table]) -> None:
    """Statistics over all partitions, which nothing else gathers; those of each came with it."""
    only = sql.SQL("ONLY " if connection.info.server_version >= 180000 else "")
    connection.execute(sql.SQL("ANALYZE {}{}").format(only, qualified(table)))
    connection.commit()
