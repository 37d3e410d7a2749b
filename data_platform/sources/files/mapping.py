"""Anybody's event files → canonical events in landing, by one DuckDB SELECT over the relation `input`.
Belongs here: running a mapping, confined to its input. Not here: reading files, what it must yield, ingestion."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
from zlib_ng import gzip_ng

from data_platform.core.durable import durable_file
from data_platform.core.errors import PlatformError
from data_platform.core.scratch import scratch_folder
from data_platform.sources.files.foreign_files import JSON_KINDS, FileFormat, cause_of, kind_of, load_input
from data_platform.sources.files.json_rows import ROW
from data_platform.sources.files.mapped_columns import example_mapping, judge_columns, line_of
from data_platform.sources.landing_files import content_digest
from data_platform.sources.landing_source import LandingSource

JUDGED = "CREATE VIEW mapped AS\n"
RUN = "CREATE TABLE mapped_rows AS\n"
"""In front of the mapping's own text, which may end in a semicolon or a comment."""
BATCH_ROWS = 50_000


@dataclass(frozen=True)
class MappedFile:
    """What became of one input file."""

    source: Path
    landed: Path
    rows: int


@dataclass(frozen=True)
class Mapping:
    """A mapping's text, and how to tell a person what is wrong with it."""

    path: Path
    text: str
    source: LandingSource

    @staticmethod
    def read(path: Path, source: LandingSource) -> Mapping:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise PlatformError(f"The mapping {path} cannot be read: {error}.", "Name an SQL file.") from None
        mapping = Mapping(path, text, source)
        try:
            with _connection() as connection:
                statements = connection.extract_statements(text)
        except duckdb.Error as error:
            raise PlatformError(
                f"The mapping {path} is not valid SQL: {mapping.located(error)}", mapping.example
            ) from None
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise PlatformError(f"The mapping {path} must be exactly one SELECT over `input`.", mapping.example)
        return mapping

    @property
    def example(self) -> str:
        return f"A mapping looks like this:\n{example_mapping(self.source)}"

    def located(self, error: duckdb.Error, before: str = "") -> str:
        """The error's message with line, column and a caret, where DuckDB says where; `before` preceded the text."""
        details = cause_of(error)
        lines = details["exception_message"].strip().split("\n\tCandidate functions")[0].splitlines()
        message = " ".join(line.strip() for line in lines)
        at = int(details["position"]) - len(before) if "position" in details else -1
        if at < 0:
            return message
        text = self.text.encode()[:at].decode(errors="ignore")
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        shown = self.text.split("\n")[line - 1]
        caret = re.sub(r"[^\t]", " ", shown[: column - 1]) + "^"
        return f"line {line}, column {column}: {message}\n  {shown}\n  {caret}\n"


def map_file(
    file: Path,
    mapping: Path,
    source: LandingSource,
    landing: Path,
    form: FileFormat | None = None,
    follow: Callable[[int], object] = lambda _rows: None,
) -> MappedFile:
    """Run the mapping over one file and put its rows into the source's landing folder, all or nothing.

    The landed file's name holds a digest of input, format and mapping, so mapping a file twice lands it once. Columns
    the contract does not know are kept as extra fields; rows without an id or time land too and are rejected on
    ingestion with a reason; `follow` is told how many there are so far. Raises PlatformError naming the file, the
    column and the remedy.
    """
    form = form or FileFormat()
    select = Mapping.read(mapping, source)
    kind = kind_of(file)
    identity = f"{content_digest(file)}:{form}:{select.text}"
    digest = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
    folder = landing / source.name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{stem_of(file)}-{digest}.ndjson.gz"
    rows = 0
    with scratch_folder("data-platform-mapping-") as work, _connection(work) as connection:
        load_input(connection, file, work, form)
        _confine(connection)
        columns = _columns(connection, select, file)
        judge_columns(columns, select.path, source, select.example)
        line = line_of(columns, source, form, is_json=kind in JSON_KINDS)
        # Without a name or a time in its header: the same rows are the same file, by which it is known again.
        with durable_file(target) as landed, gzip_ng.GzipNGFile("", "wb", fileobj=landed, mtime=0) as packed:
            for batch in _lines(connection, select, file, line):
                packed.write("".join(text for (text,) in batch).encode())
                rows += len(batch)
                follow(rows)
    return MappedFile(file, target, rows)


def stem_of(file: Path) -> str:
    """What the landed file is called after: not hidden (landing passes over `.` and `_`), and short enough."""
    stem = file.name.lstrip("._").split(".")[0].encode(errors="replace")
    return stem[:100].decode(errors="ignore") or "file"


@contextlib.contextmanager
def _connection(work: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    # A misspelt function must be an error at once, not an extension fetched from the internet.
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "errors_as_json": True,
        "python_enable_replacements": False,
    }
    if work:
        config["temp_directory"] = str(work)
    connection = duckdb.connect(config=config)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _confine(connection: duckdb.DuckDBPyConnection) -> None:
    """From here on SQL sees `input` and nothing else: no file, no network, no extension, no other setting."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _columns(connection: duckdb.DuckDBPyConnection, mapping: Mapping, file: Path) -> dict[str, str]:
    """Column → DuckDB type of what the mapping yields."""
    try:
        connection.execute(JUDGED + mapping.text)
        return {name: type_ for name, type_, *_ in connection.execute("DESCRIBE mapped").fetchall()}
    except duckdb.BinderException as error:
        found = [name for name, *_ in connection.execute("DESCRIBE input").fetchall()]
        raise PlatformError(
            f"The mapping {mapping.path} does not fit {file}: {mapping.located(error, JUDGED)}",
            f"{_advice(str(error), found)}`input` has the columns {', '.join(found)}.\n{mapping.example}",
        ) from None
    except duckdb.Error as error:
        raise _failed(mapping, file, mapping.located(error, JUDGED)) from None


def _advice(message: str, found: list[str]) -> str:
    if "COLUMN_NOT_FOUND" in message and ROW in found:
        return "A member that only some files have is read as input->>'name'. "
    if "COLUMN_NOT_FOUND" in message and "column0" not in found:
        return "If the first line is a row and no header, say --no-header. "
    if "VARCHAR" in message or "Cannot extract field" in message:
        return (
            "Values of CSV and JSON are text: cast what is computed or compared, for example price::DECIMAL(18, 2); "
            "a member of a nested object is read as actor->>'login'. "
        )
    return ""


def _lines(
    connection: duckdb.DuckDBPyConnection, mapping: Mapping, file: Path, line: str
) -> Iterator[Sequence[tuple[str]]]:
    """The canonical lines, in batches."""
    try:
        connection.execute(RUN + mapping.text)
    except duckdb.Error as error:
        raise _failed(mapping, file, mapping.located(error, RUN)) from None
    try:
        connection.execute(f"SELECT {line} FROM mapped_rows")  # noqa: S608
        while batch := connection.fetchmany(BATCH_ROWS):
            yield batch
    except duckdb.Error as error:
        raise _failed(mapping, file, cause_of(error)["exception_message"]) from None


def _failed(mapping: Mapping, file: Path, cause: str) -> PlatformError:
    if "disabled by configuration" in cause or "has been locked" in cause:
        remedy = "A mapping reads `input` alone: no other file, no network, no setting."
    else:
        remedy = "Use TRY_CAST where a value may not convert; a date in its own format: strptime(day, '%d/%m/%Y')."
    return PlatformError(f"The mapping {mapping.path} fails on {file}: {cause}", f"{remedy}\n{mapping.example}")
