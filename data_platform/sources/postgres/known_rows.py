"""Which rows of a captured table we hold, to say of them that they are gone: after TRUNCATE, and when a new snapshot
lacks them. Belongs here: reading them back from landing and raw. Not here: when that is asked."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import polars as pl

from data_platform.core.contract.received import ReceivedLines
from data_platform.core.contract.table import UTC_MICROSECONDS
from data_platform.core.sql_text import literal, quoted
from data_platform.sources.compressed_lines import LONGEST_LINE
from data_platform.sources.connectors import Ways
from data_platform.sources.landing_files import pending_files
from data_platform.sources.postgres.lines import CAPTURED, CHANGED_AT, OPERATION, SEQUENCE
from data_platform.sources.postgres.table_stream import TableStream

MEMORY, THREADS = "1GB", 2
"""Beyond it DuckDB sorts on disk; each thread that reads lines takes twice the longest of them."""
ROWS = 10_000
_EXTRA, _FILE = "extra_fields", "source_file"
assert {_EXTRA, _FILE} <= ReceivedLines.columns.keys()


def deletions(stream: TableStream, ways: Ways, changed_at: bytes, sequence: int, *, before: bool) -> Iterator[bytes]:
    """A line that deletes each row that the stream told of and did not delete, as it was told last; with `before` only
    those last told of before `changed_at`. Memory is bounded, the work is in a temporary folder."""
    head = b'{"operation":"delete","changed_at":"%b","sequence":%d,' % (changed_at, sequence)
    with tempfile.TemporaryDirectory(prefix="known-rows-") as folder:
        told = _told(stream, ways, Path(folder))
        connection = duckdb.connect(config={"temp_directory": folder, "memory_limit": MEMORY, "threads": THREADS})
        try:
            earlier = f"AND {CHANGED_AT} < $at" if before else ""
            found = connection.execute(
                f"""
                SELECT body FROM ({told})
                QUALIFY row_number() OVER (PARTITION BY key ORDER BY {CHANGED_AT} DESC, {SEQUENCE} DESC) = 1
                  AND {OPERATION} <> 'delete' {earlier}
                """,  # noqa: S608 (names of the contract, paths of our own)
                {"at": changed_at.decode()} if before else {},
            )
            while rows := found.fetchmany(ROWS):
                for (body,) in rows:
                    yield head + body[1:].encode() + b"\n"
        finally:
            connection.close()


def _told(stream: TableStream, ways: Ways, folder: Path) -> str:
    """SQL that yields `key`, operation, changed_at, sequence and `body` (the row as JSON) of every line told."""
    lines = list(_waiting(stream, folder))
    # Landing before raw: what is taken in meanwhile is in both, and what was told twice counts once.
    raw = folder / "raw.parquet"
    own = pl.col(_FILE).str.starts_with(f"{stream.slug}~")
    moments = pl.selectors.by_dtype(UTC_MICROSECONDS).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    names = [field.name for field in stream.source.fields()]
    ways.lake.scan(stream.source.table).filter(own).select(*names, _EXTRA).with_columns(moments).sink_parquet(raw)
    parts = [_told_by_rows(stream, raw)] + ([_told_by_lines(stream, lines)] if lines else [])
    return " UNION ALL ".join(parts)


def _waiting(stream: TableStream, folder: Path) -> Iterator[Path]:
    """Copies of the stream's segments in landing: they are put away when they are taken in."""
    for number, path in enumerate(filter(stream.is_own, pending_files(stream.folder))):
        copy = folder / f"{number}.zst"
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, copy)
            yield copy
    if stream.is_writing:
        stream.file.settle()
        yield stream.file.path


def _told_by_lines(stream: TableStream, files: Sequence[Path]) -> str:
    paths = ", ".join(literal(str(path)) for path in files)
    nothing = ", ".join(f'"{name}":null' for name in CAPTURED)
    key = ", ".join(_member("json", stream.options.field(column)) for column in stream.key)
    return f"""
        SELECT [{key}] AS key, json->>'{OPERATION}' AS {OPERATION}, json->>'{CHANGED_AT}' AS {CHANGED_AT},
          (json->>'{SEQUENCE}')::HUGEINT AS {SEQUENCE}, json_merge_patch(json, '{{{nothing}}}')::VARCHAR AS body
        FROM read_ndjson_objects([{paths}], compression = 'zstd', maximum_object_size = {LONGEST_LINE})
    """  # noqa: S608 (names of the contract, paths of our own)


def _told_by_rows(stream: TableStream, raw: Path) -> str:
    fields = {field.name: field for field in stream.source.fields() if field.name not in CAPTURED}
    names = [stream.options.field(column) for column in stream.key]
    key = ", ".join(f"{quoted(name)}::VARCHAR" if name in fields else _member(_EXTRA, name) for name in names)
    values = ", ".join(f"{_as_json(name, field.is_json)} AS {quoted(name)}" for name, field in fields.items())
    row = f"to_json({{{', '.join(f'{literal(name)}: {quoted(name)}' for name in fields)}}})"
    return f"""
        SELECT [{key}] AS key, {OPERATION}, {CHANGED_AT}, {SEQUENCE},
          json_merge_patch({row}, coalesce({_EXTRA}, '{{}}'))::VARCHAR AS body
        FROM (SELECT {values}, {OPERATION}, {CHANGED_AT}, {SEQUENCE}::HUGEINT AS {SEQUENCE}, {_EXTRA}
              FROM read_parquet({literal(str(raw))}))
    """  # noqa: S608 (names of the contract, paths of our own)


def _as_json(name: str, is_json: bool) -> str:
    return f"{quoted(name)}::JSON" if is_json else quoted(name)


def _member(json: str, name: str) -> str:
    """The text of a member of an object: a JSON pointer takes any name."""
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return f"json_extract_string({json}, {literal(pointer)})"
