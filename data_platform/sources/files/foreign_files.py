"""Files of any kind → the relation `input`, without guessing what their values mean.
Belongs here: reading by extension, what a person says about a file, why one cannot be read. Not here: mappings."""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import io
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import zstandard

from data_platform.core.errors import PlatformError
from data_platform.sources.files.json_rows import load_rows

CSV_KINDS = (".csv", ".tsv", ".txt")
LINE_KINDS = (".ndjson", ".jsonl")
JSON_KINDS = (".json", *LINE_KINDS)
KINDS = (*CSV_KINDS, *JSON_KINDS, ".parquet")
COMPRESSIONS = (".gz", ".zst")
DELIMITERS = (",", ";", "\t", "|")
LONGEST_ROW = 1 << 28
"""Bytes of one JSON object or CSV value."""

VALUE = re.compile(
    r"[-+]?[0-9][0-9.,]*(?:[eE][-+]?[0-9]+)?|true|false|[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}.*"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.IGNORECASE,
)
"""A cell that is a number, a date, a boolean or a UUID: hardly the name of a column."""


@dataclass(frozen=True)
class FileFormat:
    """What a person says about a file; None is what its extension and its first line say."""

    delimiter: str | None = None
    header: bool | None = None
    quote: str = '"'
    escape: str | None = None
    null_text: str = ""
    encoding: str = "utf-8"
    date_format: str | None = None
    """How a text that the mapping yields as a time is to be read; nothing else is then read as one."""


def kind_of(file: Path) -> str:
    """The extension that says how to read the file."""
    if not file.is_file():
        raise PlatformError(f"There is no file {file}.", "Check the path.")
    suffixes = [suffix.lower() for suffix in file.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in COMPRESSIONS else (suffixes[-1] if suffixes else "")
    if kind not in KINDS:
        raise PlatformError(
            f"{file}: the extension {kind or '(none)'} is not known.",
            f"Use one of {', '.join(KINDS)}, also with .gz or .zst.",
        )
    return kind


def load_input(connection: duckdb.DuckDBPyConnection, file: Path, work: Path, form: FileFormat) -> None:
    """The file as the table `input`: CSV as text, JSON as it is written, Parquet with its types."""
    kind = kind_of(file)
    try:
        readable = _readable(file, kind, work, form)
        if kind in CSV_KINDS:
            _load_csv(connection, file, readable, kind, form)
        elif kind == ".parquet":
            connection.execute(
                "CREATE TABLE input AS SELECT * FROM read_parquet(?, hive_partitioning = false)", [_path(readable)]
            )
        else:
            _load_json(connection, file, readable, kind)
    except duckdb.Error as error:
        raise _unreadable(file, _cause(error).replace(str(readable), file.name), form) from None
    except (OSError, EOFError, zstandard.ZstdError, csv.Error, ValueError) as error:
        raise _unreadable(file, str(error), form) from None


def cause_of(error: duckdb.Error) -> dict[str, str]:
    """What DuckDB tells of an error (`errors_as_json`): its message, and the position where it has one."""
    text = str(error)
    try:
        details: dict[str, str] = json.loads(text[text.index("{") :])
    except ValueError:
        return {"exception_message": text}
    return details


def _cause(error: duckdb.Error) -> str:
    """All of the message but its advice about options of DuckDB that nobody can give here."""
    lines = cause_of(error)["exception_message"].strip().splitlines()
    sentences = itertools.takewhile(lambda line: not line.startswith("Possible"), lines)
    return "; ".join(line.strip() for line in sentences if line.strip())


def _unreadable(file: Path, cause: str, form: FileFormat) -> PlatformError:
    remedy = "Check that the file is what its extension says, and complete."
    if re.search(r"unicode|utf-?8|codec", cause, re.IGNORECASE):
        remedy = f"It is not in {form.encoding}: say what it is in, for example --encoding latin-1."
    elif kind_of(file) in CSV_KINDS:
        remedy = "Correct the line, or say how the file is written: --delimiter, --quote, --escape, --encoding."
    return PlatformError(f"{file} cannot be read: {cause}", remedy)


def _readable(file: Path, kind: str, work: Path, form: FileFormat) -> Path:
    """The file under a name without meaning to anybody (no globs), in UTF-8 without a byte order mark."""
    suffix = file.suffix.lower() if file.suffix.lower() in COMPRESSIONS else ""
    link = work / f"input{kind}{suffix}"
    link.symlink_to(file.resolve())
    if kind == ".parquet":
        return link
    try:
        encoding = codecs.lookup(form.encoding).name
    except LookupError:
        raise PlatformError(
            f"There is no encoding {form.encoding!r}.", "Use one like utf-8, latin-1, cp1252."
        ) from None
    with _opened(link) as raw:
        marked = raw.read(3) == codecs.BOM_UTF8
    if encoding in ("utf-8", "ascii") and not marked:
        return link
    copy = work / f"utf8{kind}"
    with _opened(link) as raw, copy.open("w", encoding="utf-8", newline="") as text:
        shutil.copyfileobj(io.TextIOWrapper(raw, "utf-8-sig" if marked else encoding, newline=""), text, 1 << 20)
    return copy


def _opened(file: Path) -> IO[bytes]:
    if file.suffix == ".gz":
        return io.BufferedReader(gzip.open(file, "rb"))
    return io.BufferedReader(zstandard.open(file, "rb")) if file.suffix == ".zst" else file.open("rb")


def _path(file: Path) -> str:
    return glob.escape(str(file))


# ------------------------------------------------------------------------------------------------ CSV
def _load_csv(connection: duckdb.DuckDBPyConnection, file: Path, readable: Path, kind: str, form: FileFormat) -> None:
    """Every column as text. How the file is written is read off its first line, never off its values."""
    delimiter = form.delimiter or ("\t" if kind == ".tsv" else _delimiter(file, readable, kind, form))
    first = _first_row(readable, delimiter, form)
    if not first:
        raise PlatformError(f"{file} is empty: it has not even a header.", "Check how it was made.")
    if form.header is None:
        _refuse_values_as_names(file, first)
    names = _names(first if form.header is not False else [""] * len(first))
    _refuse_open_quote(readable, delimiter, form)
    connection.execute(
        "CREATE TABLE input AS SELECT * FROM read_csv(?, auto_detect = false, columns = ?, delim = ?, quote = ?,"
        " escape = ?, header = ?, nullstr = ?, comment = '', parallel = false)",
        [
            _path(readable),
            dict.fromkeys(names, "VARCHAR"),
            delimiter,
            form.quote,
            form.escape or form.quote,
            form.header is not False,
            form.null_text,
        ],
    )


def _refuse_open_quote(readable: Path, delimiter: str, form: FileFormat) -> None:
    """Raise csv.Error for a quote that is never closed. DuckDB's serial reader drops what follows it without a word;
    its parallel one loses its place in values of several lines (seen on 400,000 such rows in buffers of 320 KB)."""
    if form.quote and _holds(readable, form.quote.encode()):
        for _ in _rows(readable, delimiter, form):
            pass


def _holds(readable: Path, text: bytes) -> bool:
    with _opened(readable) as raw:
        return any(text in line for line in raw)


def _delimiter(file: Path, readable: Path, kind: str, form: FileFormat) -> str:
    """What cuts the header into the most columns: the header is the same however rows are spread over files."""
    if form.header is False:
        if kind == ".csv":
            return ","
        raise PlatformError(f"{file} has no header that could tell its delimiter.", "Give it with --delimiter.")
    return max(DELIMITERS, key=lambda one: _columns_by(readable, one, form))


def _columns_by(readable: Path, delimiter: str, form: FileFormat) -> int:
    try:
        return len(_first_row(readable, delimiter, form))
    except csv.Error:  # by this one a quoted name does not end where it is closed
        return 0


def _first_row(readable: Path, delimiter: str, form: FileFormat) -> list[str]:
    return next(_rows(readable, delimiter, form), [])


def _rows(readable: Path, delimiter: str, form: FileFormat) -> Iterator[list[str]]:
    escape = form.escape if form.escape not in (None, form.quote) else None
    csv.field_size_limit(LONGEST_ROW)
    with _opened(readable) as raw:
        reader = csv.reader(
            io.TextIOWrapper(raw, "utf-8-sig", newline=""),
            delimiter=delimiter,
            quotechar=form.quote or None,
            escapechar=escape,
            doublequote=escape is None,
            quoting=csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            yield from reader
        except csv.Error as error:
            raise csv.Error(f"line {reader.line_num:,}: {error}") from None


def _refuse_values_as_names(file: Path, first: list[str]) -> None:
    value = next((cell for cell in first if VALUE.fullmatch(cell.strip())), None)
    if value is not None:
        raise PlatformError(
            f"{file}: the first line has {value!r} where a column's name is expected.",
            "If it is a row, say --no-header (columns are then column0, column1, …); if these are names, say --header.",
        )


def _names(cells: list[str]) -> list[str]:
    """A name for each column: `column3` where there is none, `name_1` where one is taken. SQL ignores case."""
    names: dict[str, str] = {}
    for number, cell in enumerate(cells):
        name = wanted = cell.strip() or f"column{number}"
        for again in itertools.count(1):
            if name.lower() not in names:
                break
            name = f"{wanted}_{again}"
        names[name.lower()] = name
    return list(names.values())


# ----------------------------------------------------------------------------------------------- JSON
def _load_json(connection: duckdb.DuckDBPyConnection, file: Path, readable: Path, kind: str) -> None:
    form = "newline_delimited" if kind in LINE_KINDS else "auto"
    try:
        connection.execute(
            "CREATE TABLE lines AS SELECT row_number() OVER () AS number, json::VARCHAR AS line"
            " FROM read_json_objects(?, format = ?, maximum_object_size = ?)",
            [_path(readable), form, LONGEST_ROW],
        )
    except duckdb.Error:
        if kind in LINE_KINDS:
            _refuse_first_broken_line(file, readable)
        raise
    other = connection.execute(r"SELECT number FROM lines WHERE NOT regexp_matches(line, '^\s*\{') LIMIT 1").fetchone()
    if other:
        raise PlatformError(f"{file} cannot be read: row {other[0]:,} is no JSON object.", "Each row must be one.")
    load_rows(connection)


def _refuse_first_broken_line(file: Path, readable: Path) -> None:
    """Name the line: DuckDB's count of lines is now and then one too high."""
    with _opened(readable) as raw:
        for number, line in enumerate(raw, 1):
            try:
                if line.strip():
                    json.loads(line, parse_int=str, parse_float=str)
            except (ValueError, RecursionError) as error:
                raise PlatformError(
                    f"{file} cannot be read: line {number:,} is no JSON: {error}", "Correct the line, or leave it out."
                ) from None
