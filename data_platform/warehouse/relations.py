"""Lake tables as DuckDB relations: what SQL sees of a contract, and what comes back typed as the contract says.
Not here: dbt, which models there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import duckdb
import polars as pl

from data_platform.core.contract.frames import require_schema
from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.core.sql_text import literal, quoted


def show_files(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    table: type[Table],
    paths: Sequence[str],
    name: str | None = None,
    known: dict[tuple[str, ...], str] | None = None,
) -> None:
    """Create the relation `<group>.<table>` (or `<group>.<name>`): a view over files of the table, given by their paths
    in its folder. Later commits change nothing of it. A table without files is empty.

    `known` keeps what is found out of files, which never change, for the next time."""
    relation = quoted_relation(table, name)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.table_group())}")
    files = [f"{lake.uri(table)}/{path}" for path in paths]
    if not files:
        connection.execute(f"CREATE OR REPLACE VIEW {relation} AS {_empty(table)}")
    elif lake.local:
        known = {} if known is None else known
        creating = f"CREATE OR REPLACE VIEW {relation} AS"
        rows = known.get(tuple(files)) or _over_files(table, files, set(table.columns))
        try:
            connection.execute(f"{creating} {rows}")
        except duckdb.BinderException:  # all of them are older than a column; asking always would be 40 ms of a year's
            rows = _over_files(table, files, _columns_of(connection, table, files))
            connection.execute(f"{creating} {rows}")
        known[tuple(files)] = rows
    else:
        # DuckDB's wheel has no object-store reader; Polars has.
        frame = lake.scan_files(table, paths).collect().to_arrow()  # noqa: F841  named in the statement
        stored = quoted_relation(table, f"{name or table.table_name()}__rows")
        connection.execute(f"CREATE OR REPLACE TABLE {stored} AS SELECT * FROM frame")  # noqa: S608
        # A view also here: what is a view once and a table then, cannot be replaced.
        connection.execute(f"CREATE OR REPLACE VIEW {relation} AS SELECT * FROM {stored}")  # noqa: S608


def fetched(connection: duckdb.DuckDBPyConnection, relation: str, table: type[Table]) -> pl.DataFrame:
    """The rows of a relation with exactly the contract's columns and types.

    Integers and decimals of another width are cast; a value that does not fit raises. Everything else must be as
    declared, also a decimal's scale: money is never rounded on the way. Raises PlatformError naming the column.
    """
    frame: pl.DataFrame = connection.sql(f"SELECT * FROM {relation}").pl()  # noqa: S608  the relation comes from dbt
    casts = [
        pl.col(name).cast(wanted)
        for name, wanted in table.schema().items()
        if name in frame.columns and frame.schema[name] != wanted and _same_kind(frame.schema[name], wanted)
    ]
    frame = frame.with_columns(casts)
    known = [name for name in table.columns if name in frame.columns]
    frame = frame.select(known + [name for name in frame.columns if name not in table.columns])
    require_schema(table, frame)
    return frame


def quoted_relation(table: type[Table], name: str | None = None) -> str:
    return f"{quoted(table.table_group())}.{quoted(name or table.table_name())}"


def sql_type(dtype: pl.DataType) -> str:
    """The DuckDB type of a contract's column type."""
    if isinstance(dtype, pl.Decimal):
        return f"DECIMAL({dtype.precision}, {dtype.scale})"
    if isinstance(dtype, pl.List):
        return f"{sql_type(dtype.inner)}[]"  # type: ignore[arg-type]
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMPTZ"
    return _TYPES[dtype]


_TYPES = {
    pl.String(): "VARCHAR",
    pl.Int64(): "BIGINT",
    pl.Float64(): "DOUBLE",
    pl.Boolean(): "BOOLEAN",
    pl.Binary(): "BLOB",
    pl.Date(): "DATE",
}


def _same_kind(found: pl.DataType, wanted: pl.DataType) -> bool:
    if isinstance(found, pl.Decimal) and isinstance(wanted, pl.Decimal):
        return found.scale == wanted.scale
    return found.is_integer() and wanted.is_integer()


def _empty(table: type[Table]) -> str:
    columns = ", ".join(f"NULL::{sql_type(dtype)} AS {quoted(name)}" for name, dtype in table.schema().items())
    return f"SELECT {columns} WHERE false"


def _reading(table: type[Table], files: Sequence[str]) -> str:
    paths = ", ".join(map(literal, files))
    hive = f", hive_partitioning = true, hive_types = {{'{table.partition}': DATE}}" if table.partition else ""
    return f"read_parquet([{paths}], union_by_name = true{hive})"


def _columns_of(connection: duckdb.DuckDBPyConnection, table: type[Table], files: Sequence[str]) -> set[str]:
    described = connection.execute(f"DESCRIBE SELECT * FROM {_reading(table, files)}")  # noqa: S608
    return {name for name, *_ in described.fetchall()}


def _over_files(table: type[Table], files: Sequence[str], found: Collection[str]) -> str:
    """A SELECT over Parquet files; columns that are not found in any of them (the contract is newer) are null."""
    columns = ", ".join(
        quoted(name) if name in found else f"NULL::{sql_type(dtype)} AS {quoted(name)}"
        for name, dtype in table.schema().items()
    )
    return f"SELECT {columns} FROM {_reading(table, files)}"  # noqa: S608
