"""Materialised views over published tables, from their contracts: made, replaced when their definition changes, and
refreshed beside their readers when the table changed. Not here: tables."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

import polars as pl
from psycopg import sql

from data_platform.bi.layout import SCHEMA, columns_sql, declared, internal, qualified, range_column
from data_platform.bi.parts import RECORD
from data_platform.bi.server import Connection, patiently, take_turns
from data_platform.core.contract.published import MonthlySummary
from data_platform.core.contract.table import Table

_STATE = internal("summaries")


def refresh(connection: Connection, table: type[Table]) -> tuple[str, ...]:
    """Bring the table's summaries to what the table says; names of those that changed. Each is one transaction."""
    return tuple(one.name for one in declared(table).summaries if _refresh(connection, table, one))


def drop_undeclared(connection: Connection, declared_names: Sequence[str]) -> list[str]:
    """Drop the summaries that no contract declares any more; their names. Does not commit."""
    forget = sql.SQL("DELETE FROM {} WHERE name <> ALL(%s) RETURNING name").format(_STATE)
    names = [str(name) for (name,) in connection.execute(forget, [list(declared_names)]).fetchall()]
    for name in names:
        patiently(connection, _view(name), sql.SQL("DROP MATERIALIZED VIEW {}").format(_view(name)))
    return names


def _refresh(connection: Connection, table: type[Table], summary: MonthlySummary) -> bool:
    take_turns(connection, summary.name)
    query = _query(table, summary)
    definition = hashlib.blake2b(query.as_string(connection).encode(), digest_size=16).hexdigest()
    asked = sql.SQL("SELECT coalesce(string_agg(part || digest, ',' ORDER BY part), '') FROM {} WHERE table_name = %s")
    digest = str(_one(connection, asked.format(RECORD), table.table_name()))
    digest = hashlib.blake2b(digest.encode(), digest_size=16).hexdigest()
    there = connection.execute(
        sql.SQL("SELECT definition, digest FROM {} WHERE name = %s").format(_STATE), [summary.name]
    ).fetchone()
    if there == (definition, digest):
        connection.commit()
        return False
    if there and there[0] == definition:
        connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW CONCURRENTLY {}").format(_view(summary.name)))
    else:
        _build(connection, table, summary, query, replacing=there is not None)
    note = sql.SQL(
        "INSERT INTO {} (name, definition, digest) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE"
        " SET definition = excluded.definition, digest = excluded.digest, refreshed_at = now()"
    )
    connection.execute(note.format(_STATE), [summary.name, definition, digest])
    connection.commit()
    return True


def _build(
    connection: Connection, table: type[Table], summary: MonthlySummary, query: sql.Composed, replacing: bool
) -> None:
    """The view under another name, filled and indexed, then in the place of the one that is there, if one is."""
    building = f"{summary.name[:40]}_{uuid.uuid4().hex[:8]}"
    connection.execute(sql.SQL("CREATE MATERIALIZED VIEW {} AS {}").format(_view(building), query))
    grain = columns_sql(["month", *summary.by])
    connection.execute(sql.SQL("CREATE UNIQUE INDEX ON {} ({})").format(_view(building), grain))
    comment = sql.SQL("COMMENT ON MATERIALIZED VIEW {} IS {}")
    text = f"{table.key} by month and {', '.join(summary.by)}."
    connection.execute(comment.format(_view(building), sql.Literal(text)))
    rename = sql.SQL("ALTER MATERIALIZED VIEW {} RENAME TO {}")
    if replacing:
        former = f"former_{building}"
        patiently(connection, _view(summary.name), rename.format(_view(summary.name), sql.Identifier(former)))
        connection.execute(sql.SQL("DROP MATERIALIZED VIEW {}").format(_view(former)))
    connection.execute(rename.format(_view(building), sql.Identifier(summary.name)))


def _query(table: type[Table], summary: MonthlySummary) -> sql.Composed:
    """Sums have the type of what they add up: money stays NUMERIC, whole numbers stay whole."""
    sums = [
        sql.SQL("sum({})::{} AS {}").format(
            sql.Identifier(name),
            sql.SQL(_sum_type(table.columns[name].dtype)),
            sql.Identifier(name),
        )
        for name in summary.sums
    ]
    by = columns_sql(summary.by)
    return sql.SQL(
        "SELECT date_trunc('month', {day})::date AS month, {by}, count(*) AS row_count, {sums}"
        " FROM {table} GROUP BY 1, {by}"
    ).format(day=sql.Identifier(range_column(table)), by=by, sums=sql.SQL(", ").join(sums), table=qualified(table))


def _view(name: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, name)


def _one(connection: Connection, query: sql.Composable, *values: str) -> object:
    row = connection.execute(query, list(values)).fetchone()
    return row[0] if row else None


def _sum_type(dtype: pl.DataType) -> str:
    return f"numeric(38, {dtype.scale})" if isinstance(dtype, pl.Decimal) else "bigint"
