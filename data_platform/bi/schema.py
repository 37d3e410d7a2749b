"""The tables of `analytics` follow their contracts: Alembic compares the two and says what to change.
Expand (new tables, columns, indexes) before loading, backfill by loading, contract (columns and tables no contract has
any more) only when asked to, because somebody may still read them. Not here: rows."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from alembic import autogenerate, command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from psycopg import sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import StaticPool

from data_platform.bi.layout import INTERNAL, OPERATOR, READER, SCHEMA, declared, qualified, range_column
from data_platform.bi.parts import RECORD
from data_platform.bi.server import Connection, stop_readers_for_a_moment, take_turns
from data_platform.bi.summaries import drop_undeclared
from data_platform.bi.vectors import SQL_TYPES, kinds, make_ready
from data_platform.core.contract.table import UTC_MICROSECONDS, Column, Table
from data_platform.core.errors import PlatformError

LONGEST_NAME = 63

_TYPES: dict[pl.DataType, sa.types.TypeEngine[Any]] = {
    pl.String(): sa.Text(),
    pl.Int64(): sa.BigInteger(),
    pl.Float64(): sa.Double(),
    pl.Boolean(): sa.Boolean(),
    pl.Date(): sa.Date(),
    UTC_MICROSECONDS: sa.DateTime(timezone=True),
}
_NEEDS_NO_READER_OUT = (ops.CreateTableOp, ops.CreateIndexOp)
"""An index is built under a lock that only writers feel, and the only writer is us."""


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring schemas, roles and the record of publications to an Alembic revision, the newest one. Commits."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with _transaction(connection, SCHEMA) as alembic:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(INTERNAL)))
        config.attributes["connection"] = alembic
        command.upgrade(config, revision)


def expand(connection: Connection, table: type[Table]) -> None:
    """Create what the contract has and the database has not. Commits; nothing that readers use goes away.

    Raises PlatformError when the contract says something else of a column, key or partition that is there.
    """
    with _transaction(connection, table.key) as alembic:
        make_ready(connection, table)
        context, found = _differences(alembic, table, kinds(connection, table))
        _refuse_other_meaning(alembic, table, found)
        wanted = [change for change in found if not isinstance(change, ops.DropColumnOp)]
        brief = [change for change in wanted if not isinstance(change, _NEEDS_NO_READER_OUT)]
        # Columns come first: an index may be on a new one.
        if brief:
            _apply_briefly(connection, context, table, brief)
    with _transaction(connection, table.key) as alembic:
        context = MigrationContext.configure(alembic)
        _apply(context, [change for change in wanted if change not in brief])
        if table.tenant:
            _keep_from_readers(connection, table)


def _keep_from_readers(connection: Connection, table: type[Table]) -> None:
    """Every new table of the schema is granted to readers; one of several tenants is for operators alone. In the
    transaction that creates it: nobody can read it in between."""
    asked = "SELECT has_table_privilege(%s, %s::regclass, 'SELECT')"
    may_read = connection.execute(asked, [READER, qualified(table).as_string(connection)]).fetchone()
    known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [OPERATOR]).fetchone()
    if known is None:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(OPERATOR)))
    elif not (may_read and may_read[0]):
        return
    for statement in ("REVOKE SELECT ON {table} FROM {reader}", "GRANT USAGE ON SCHEMA {schema} TO {operator}",
                      "GRANT SELECT ON {table} TO {operator}"):  # fmt: skip
        names = {"table": qualified(table), "schema": sql.Identifier(SCHEMA)}
        roles = {"reader": sql.Identifier(READER), "operator": sql.Identifier(OPERATOR)}
        connection.execute(sql.SQL(statement).format(**names, **roles))


def contract(connection: Connection, tables: Sequence[type[Table]]) -> list[str]:
    """Drop the columns, summaries and once published tables that no contract has any more; what was dropped. Commits.

    `tables` are all that are published."""
    dropped: list[str] = []
    with _transaction(connection, SCHEMA):
        dropped += drop_undeclared(connection, [one.name for table in tables for one in declared(table).summaries])
    for table in tables:
        with _transaction(connection, table.key) as alembic:
            context, found = _differences(alembic, table, kinds(connection, table))
            if retired := [change for change in found if isinstance(change, ops.DropColumnOp)]:
                _apply_briefly(connection, context, table, retired)
                dropped += sorted(f"{table.table_name()}.{change.column_name}" for change in retired)
    forget = sql.SQL("DELETE FROM {} WHERE table_name <> ALL(%s) RETURNING table_name").format(RECORD)
    with _transaction(connection, SCHEMA):
        gone = connection.execute(forget, [[table.table_name() for table in tables]]).fetchall()
        for name in sorted({str(name) for (name,) in gone}):
            stop_readers_for_a_moment(connection, sql.Identifier(SCHEMA, name))
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(SCHEMA, name)))
            dropped.append(name)
    return dropped


def _apply_briefly(
    connection: Connection, context: MigrationContext, table: type[Table], changes: Sequence[ops.MigrateOperation]
) -> None:
    """Hold the table for the milliseconds that are left of the transaction: none of this reads or writes a row."""
    stop_readers_for_a_moment(connection, sql.Identifier(SCHEMA, table.table_name()))
    _apply(context, changes)


def _apply(context: MigrationContext, changes: Sequence[ops.MigrateOperation]) -> None:
    operations = Operations(context)
    for change in changes:
        operations.invoke(change)


@contextlib.contextmanager
def _transaction(connection: Connection, name: str) -> Iterator[sa.Connection]:
    """One transaction on the connection, as Alembic sees it, in turns with whoever works on `name`. Driver errors come
    out as the driver's, without SQLAlchemy's quotation of statements."""
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool, pool_reset_on_return=None
    )
    try:
        with engine.begin() as wrapped:
            take_turns(connection, name)
            yield wrapped
    except sa.exc.DBAPIError as error:
        raise (error.orig or error) from None


def _differences(
    alembic: sa.Connection, table: type[Table], vectors: Mapping[str, str]
) -> tuple[MigrationContext, list[ops.MigrateOperation]]:
    """What would have to be done for the database to have the table as its contract has it; `vectors`: the kind of each
    column of vectors."""

    def concerned(name: str | None, kind: str, _parents: Any) -> bool:
        if kind == "schema":
            return name == SCHEMA
        return kind != "table" or name == table.table_name()

    options = {"include_schemas": True, "include_name": concerned, "compare_type": True}
    context = MigrationContext.configure(alembic, opts=options)
    script = autogenerate.produce_migrations(context, _metadata(table, vectors))
    found: list[ops.MigrateOperation] = []
    for upgrade in script.upgrade_ops_list:
        for one in upgrade.ops:
            found += one.ops if isinstance(one, ops.ModifyTableOps) else [one]
    return context, found


def _metadata(table: type[Table], vectors: Mapping[str, str]) -> sa.MetaData:
    metadata = sa.MetaData(schema=SCHEMA)
    published = declared(table)
    sa.Table(
        table.table_name(),
        metadata,
        *(_column(table, column, vectors) for column in published.columns(table).values()),
        # In the contract's order, as each partition has it: one of another order could not be attached.
        sa.PrimaryKeyConstraint(*table.primary_key),
        *(sa.Index(_index_name(table, columns), *columns) for columns in published.indexes),
        comment=table.table_description(),
        postgresql_partition_by=f'RANGE ("{range_column(table)}")',
    )
    return metadata


def _column(table: type[Table], column: Column, vectors: Mapping[str, str]) -> sa.Column[Any]:
    """Only keys are NOT NULL: a column that a contract gains is null for the days computed before."""
    kind = SQL_TYPES[vectors[column.name]] if column.is_vector else _sql_type(column)
    comment = f"{column.description} [{column.unit}]" if column.unit else column.description
    key = column.name in table.primary_key
    # Types of SQLAlchemy print a SERIAL for the first whole number of a key unless told not to.
    return sa.Column(column.name, kind, autoincrement=False, nullable=not key, comment=comment)


def _index_name(table: type[Table], columns: Sequence[str]) -> str:
    name = "_".join(["ix", table.table_name(), *columns])
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}_{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def _refuse_other_meaning(alembic: sa.Connection, table: type[Table], found: Sequence[ops.MigrateOperation]) -> None:
    """Raise PlatformError for what cannot be had without taking the table from its readers."""
    problems = [
        f"{change.column_name} is {change.existing_type.compile(alembic.dialect)} there"
        f" and {change.modify_type.compile(alembic.dialect)} in the contract"
        for change in found
        if isinstance(change, ops.AlterColumnOp) and change.modify_type is not None and change.existing_type is not None
    ]
    inspector = sa.inspect(alembic)
    if inspector.has_table(table.table_name(), SCHEMA):
        key = inspector.get_pk_constraint(table.table_name(), SCHEMA)["constrained_columns"]
        if set(key) != {*table.primary_key}:
            problems.append(f"its key is {', '.join(key)} there and {', '.join(table.primary_key)} in the contract")
        partitioned = alembic.scalar(
            sa.text(
                "SELECT attname FROM pg_partitioned_table JOIN pg_attribute ON attrelid = partrelid"
                " AND attnum = partattrs[0] WHERE partrelid = to_regclass(:name)"
            ),
            {"name": f'{SCHEMA}."{table.table_name()}"'},
        )
        if partitioned != range_column(table):
            problems.append(f"it is not partitioned by {range_column(table)}")
    if problems:
        raise PlatformError(
            f"{SCHEMA}.{table.table_name()} cannot become what {table.key} says without taking it from its readers: "
            f"{'; '.join(problems)}.",
            "Give what changed a new name in the contract, or drop the table in PostgreSQL and publish it anew.",
        )


def _sql_type(column: Column) -> sa.types.TypeEngine[Any]:
    if column.is_json:
        return postgresql.JSONB()
    dtype = column.dtype
    return sa.Numeric(dtype.precision, dtype.scale) if isinstance(dtype, pl.Decimal) else _TYPES[dtype]
