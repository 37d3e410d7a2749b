"""Anybody's event files → canonical events in landing, by one DuckDB SELECT over the relation `input`.
Belongs here: reading a file by its extension, running a mapping, judging what it yields. Not here: ingestion."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from data_platform.core.contract import UTC_MICROSECONDS, Column
from data_platform.core.errors import PlatformError
from data_platform.core.scratch import scratch_folder
from data_platform.sources.landing import content_digest
from data_platform.sources.landing_source import LandingSource

READERS = {
    ".csv": "read_csv(?, sample_size = -1, parallel = false)",
    ".tsv": "read_csv(?, sample_size = -1, delim = '\t', parallel = false)",
    ".json": "read_json(?, sample_size = -1, maximum_object_size = 268435456)",
    ".ndjson": "read_json(?, format = 'newline_delimited', sample_size = -1, maximum_object_size = 268435456)",
    ".jsonl": "read_json(?, format = 'newline_delimited', sample_size = -1, maximum_object_size = 268435456)",
    ".parquet": "read_parquet(?)",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
TEXT_TYPES = {"VARCHAR", "UUID", "ENUM", "JSON"}
NUMBER_TYPES = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
MOMENT_TYPES = {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE"}

EXAMPLE = """\
SELECT
  id::VARCHAR                AS event_id,
  user_name                  AS player_id,
  NULL                       AS campaign_id,
  'purchase'                 AS event_type,
  {'price': price}           AS event_data,
  session                    AS session_id,
  created_at::TIMESTAMPTZ    AS timestamp
FROM input"""


@dataclass(frozen=True)
class MappedFile:
    """What became of one input file."""

    source: Path
    landed: Path
    rows: int


def map_file(file: Path, mapping: Path, source: LandingSource, landing: Path) -> MappedFile:
    """Run the mapping over one file and put its rows into the source's landing folder, all or nothing.

    The landed file's name holds a digest of input and mapping, so mapping a file twice lands it once. Columns the
    contract does not know are kept as extra fields; rows without an id or time land too and are rejected on ingestion
    with a reason. Raises PlatformError naming the file, the column and the remedy.
    """
    select = _select_statement(mapping)
    reader, parameter = _reader(file)
    digest = hashlib.blake2b(f"{content_digest(file)}:{select}".encode(), digest_size=8).hexdigest()
    folder = landing / source.name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{file.name.split('.')[0]}-{digest}.ndjson.gz"
    with _connection() as connection, scratch_folder(".mapping-", folder) as work:
        _load(connection, file, reader, parameter)
        columns = _mapped_columns(connection, select, mapping, file)
        _judge_columns(columns, source.fields(), mapping, source)
        lines = ", ".join(f"{_as_json(name, type_, source)} AS {_quoted(name)}" for name, type_ in columns.items())
        written = work / "events.ndjson.gz"
        try:
            rows = connection.execute(
                f"COPY (SELECT {lines} FROM ({select})) TO '{_escaped(written)}' (FORMAT json, COMPRESSION gzip)"  # noqa: S608
            ).fetchone()
        except duckdb.Error as error:
            raise _failed(mapping, file, error) from None
        os.replace(written, target)
    return MappedFile(file, target, int(rows[0]) if rows else 0)


def _select_statement(mapping: Path) -> str:
    try:
        text = mapping.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PlatformError(f"The mapping {mapping} cannot be read: {error}.", "Name an SQL file.") from None
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise PlatformError(f"The mapping {mapping} is not valid SQL: {_first_line(error)}", _example()) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise PlatformError(f"The mapping {mapping} must be exactly one SELECT over `input`.", _example())
    return statements[0].query.strip().rstrip(";")


def _reader(file: Path) -> tuple[str, str]:
    """The table function that reads the file, and its path."""
    if not file.is_file():
        raise PlatformError(f"There is no file {file}.", "Check the path.")
    suffixes = [suffix.lower() for suffix in file.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in COMPRESSIONS else (suffixes[-1] if suffixes else "")
    if kind not in READERS:
        known = ", ".join(READERS)
        raise PlatformError(
            f"{file}: the extension {kind or '(none)'} is not known.", f"Use one of {known}, also with .gz or .zst."
        )
    return READERS[kind], str(file)


@contextlib.contextmanager
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    # A misspelt function must be an error at once, not an extension fetched from the internet.
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _load(connection: duckdb.DuckDBPyConnection, file: Path, reader: str, parameter: str) -> None:
    try:
        connection.execute(f"CREATE TABLE input AS SELECT * FROM {reader}", [parameter])  # noqa: S608
    except duckdb.Error as error:
        raise PlatformError(
            f"{file} cannot be read: {_first_line(error)}",
            "Check that the file is what its extension says, and complete.",
        ) from None


def _mapped_columns(connection: duckdb.DuckDBPyConnection, select: str, mapping: Path, file: Path) -> dict[str, str]:
    """Column → DuckDB type of what the mapping yields."""
    try:
        return {name: type_ for name, type_, *_ in connection.execute(f"DESCRIBE ({select})").fetchall()}
    except duckdb.BinderException as error:
        found = [name for name, *_ in connection.execute("DESCRIBE input").fetchall()]
        raise PlatformError(
            f"The mapping {mapping} does not fit {file}: {_first_line(error)}",
            f"`input` has the columns {', '.join(found)}.\n{_example()}",
        ) from None
    except duckdb.Error as error:
        raise _failed(mapping, file, error) from None


def _judge_columns(columns: dict[str, str], fields: Sequence[Column], mapping: Path, source: LandingSource) -> None:
    """Raise PlatformError for the first required column that is missing, or any known one whose type cannot serve."""
    for field in fields:
        type_ = columns.get(field.name)
        if type_ is None:
            if not field.nullable:
                raise PlatformError(
                    f"The mapping {mapping} yields no column `{field.name}` ({field.description})", _example()
                )
            continue
        wanted = _wanted(field)
        if not _fits(field, type_):
            raise PlatformError(
                f"The mapping {mapping} yields `{field.name}` as {type_}; it must be {wanted} ({field.description})",
                _example(),
            )


def _wanted(field: Column) -> str:
    if field.is_json:
        return "a STRUCT, MAP or JSON object"
    if field.dtype == UTC_MICROSECONDS:
        return "a TIMESTAMP (from epoch seconds: to_timestamp(x), from milliseconds: epoch_ms(x))"
    return "text" if field.dtype == pl.String() else "a number"


def _fits(field: Column, type_: str) -> bool:
    base = type_.split("(")[0]
    if base == '"NULL"' or type_ == "NULL":
        return field.nullable
    if field.is_json:
        return base in {"STRUCT", "MAP", "JSON", "VARCHAR"} and not type_.endswith("]")
    if field.dtype == UTC_MICROSECONDS:
        return type_ in MOMENT_TYPES or base == "VARCHAR"
    if field.dtype == pl.String():
        return (base in TEXT_TYPES or base in NUMBER_TYPES) and not type_.endswith("]")
    return base in NUMBER_TYPES | {"DOUBLE", "FLOAT", "DECIMAL"}


def _as_json(name: str, type_: str, source: LandingSource) -> str:
    """The SQL that turns a mapped column into what a canonical line carries."""
    quoted = _quoted(name)
    field = next((field for field in source.fields() if field.name == name), None)
    if field is not None and field.dtype == UTC_MICROSECONDS and type_ in MOMENT_TYPES:
        moment = f"{quoted}::TIMESTAMPTZ AT TIME ZONE 'UTC'"
        return f"strftime({moment}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    if field is not None and field.is_json and type_ == "VARCHAR":
        # Text that is no JSON stays text: the row lands and is rejected with a reason instead of failing the file.
        return f"CASE WHEN json_valid({quoted}) THEN {quoted}::JSON ELSE to_json({quoted}) END"
    if field is not None and field.dtype == pl.String() and not field.is_json:
        return f"{quoted}::VARCHAR"
    return quoted


def _failed(mapping: Path, file: Path, error: duckdb.Error) -> PlatformError:
    return PlatformError(
        f"The mapping {mapping} fails on {file}: {_first_line(error)}",
        f"Use TRY_CAST where a value may not convert.\n{_example()}",
    )


def _example() -> str:
    return f"A mapping looks like this:\n{EXAMPLE}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")
