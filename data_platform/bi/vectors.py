"""Vectors in PostgreSQL: `halfvec` of pgvector, indexed for the nearest by cosine, where the database has that; else
arrays of numbers. Not here: every other column (schema, loading)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa
from psycopg import errors, sql
from sqlalchemy.dialects import postgresql

from data_platform.bi.layout import SCHEMA, declared, qualified
from data_platform.bi.server import Connection
from data_platform.core.contract.table import Table

EXTENSION = "vector"
HALFVEC, ARRAY = "halfvec", "real[]"
"""As PostgreSQL calls the two; the first came with pgvector 0.7."""
MOST_INDEXED = 4_000
"""Dimensions that an index takes of a halfvec."""
_HALF = np.dtype("<f2")


class HalfVec(sa.types.UserDefinedType[Any]):
    """pgvector's half precision, of any number of dimensions: a model may be changed."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return HALFVEC.upper()


# Alembic reads types back from the database by this map.
postgresql.base.ischema_names[HALFVEC] = HalfVec
SQL_TYPES: Mapping[str, sa.types.TypeEngine[Any]] = {HALFVEC: HalfVec(), ARRAY: postgresql.ARRAY(sa.REAL())}


def vector_columns(table: type[Table]) -> list[str]:
    """The published columns that are vectors."""
    return [name for name, column in declared(table).columns(table).items() if column.is_vector]


def make_ready(connection: Connection, table: type[Table]) -> None:
    """Create pgvector in the database for a table with vectors, where the server brings it along and we may. Part of
    the transaction."""
    if not vector_columns(table) or _has_halfvec(connection):
        return
    available = "SELECT 1 FROM pg_available_extensions WHERE name = %s AND installed_version IS NULL"
    if connection.execute(available, [EXTENSION]).fetchone() is None:
        return
    try:
        with connection.transaction():
            connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(EXTENSION)))
    except (errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFile):
        pass  # Arrays, then, and `array_note` says what to ask an administrator for.


def kinds(connection: Connection, table: type[Table]) -> dict[str, str]:
    """HALFVEC or ARRAY of each column of vectors: what it is there, else what it can be."""
    columns = vector_columns(table)
    if not columns:
        return {}
    there = connection.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attname = ANY(%s) AND NOT attisdropped",
        [qualified(table).as_string(connection), columns],
    ).fetchall()
    return dict.fromkeys(columns, HALFVEC if _has_halfvec(connection) else ARRAY) | dict(there)


def array_note(table: type[Table], found: Mapping[str, str]) -> str | None:
    """What to say of vectors that are arrays; None without any."""
    names = ", ".join(name for name, kind in found.items() if kind == ARRAY)
    if not names:
        return None
    name = f"{SCHEMA}.{table.table_name()}"
    return (
        f"{name}: {names} is an array of numbers without an index, because the database had no pgvector (0.7 or newer) "
        f"when it was made. Let an administrator run `CREATE EXTENSION {EXTENSION}` there, drop the table {name}, and "
        "publish it again."
    )


def as_text(vectors: pl.Series, kind: str) -> pl.Series:
    """Columns of HalfVector as PostgreSQL reads the kind; null where it has no such vector: one without numbers, or
    with one that is not finite. Exact: every half is a float."""
    left, right = ("[", "]") if kind == HALFVEC else ("{", "}")
    rows = pl.DataFrame({"vector": vectors, "size": vectors.bin.size()}).with_row_index("place")
    told = [pl.DataFrame(schema={"place": pl.UInt32(), "text": pl.String()})]
    for (size,), part in rows.filter(pl.col("size") > 0).partition_by("size", as_dict=True).items():
        if int(size) % _HALF.itemsize:
            continue
        numbers = np.frombuffer(b"".join(part["vector"]), _HALF).reshape(len(part), -1)
        finite = np.isfinite(numbers).all(axis=1)
        lists = pl.Series("text", numbers[finite].astype(np.float32)).arr.to_list()
        texts = lists.list.eval(pl.element().cast(pl.String)).list.join(",")
        told.append(part.filter(pl.Series(finite)).select("place", text=left + texts + right))
    return rows.join(pl.concat(told), on="place", how="left", maintain_order="left")["text"].rename(vectors.name)


def index(connection: Connection, staging: sql.Composable, table: type[Table]) -> None:
    """Index the halfvecs of a loaded partition, for each number of dimensions that there is."""
    for name, kind in kinds(connection, table).items():
        if kind != HALFVEC:
            continue
        column = sql.Identifier(name)
        counted = sql.SQL("SELECT DISTINCT vector_dims({0}) FROM {1} WHERE {0} IS NOT NULL").format(column, staging)
        for (dimensions,) in connection.execute(counted).fetchall():
            if dimensions <= MOST_INDEXED:
                made = sql.SQL(
                    "CREATE INDEX ON {1} USING hnsw (({0}::halfvec({2})) halfvec_cosine_ops)"
                    " WHERE vector_dims({0}) = {2}"
                )
                connection.execute(made.format(column, staging, sql.Literal(int(dimensions))))


def _has_halfvec(connection: Connection) -> bool:
    """Whether the type is there, and found by its bare name."""
    found = connection.execute("SELECT to_regtype(%s) IS NOT NULL", [HALFVEC]).fetchone()
    return bool(found and found[0])
