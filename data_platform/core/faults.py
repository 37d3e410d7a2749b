"""What engines and the system say when something cannot be done, told in one sentence with its remedy.
Belongs here: recognising such errors, whoever raised them. Not here: faults that are known where they arise; these are
PlatformErrors there, and pass as they are."""

from __future__ import annotations

import contextlib
import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings

FULL = re.compile(r"No space left on device|Disk quota exceeded|database or disk is full|os error (28|122)\b")
READ_ONLY = re.compile(r"Read-only file system|readonly database|os error 30\b")
DENIED = re.compile(r"Permission denied|Operation not permitted|os error (13|1)\b")
LOCKED = re.compile(r"database (table )?is locked")
DAMAGED = re.compile(r"disk image is malformed|file is not a database|malformed database schema")
MEMORY = re.compile(r"Out of Memory Error|memory allocation of \d+ bytes failed|Cannot allocate memory")
POSTGRES = {"psycopg", "psycopg2"}
ENGINES = {"polars": "Polars", "_duckdb": "DuckDB", "duckdb": "DuckDB", "sqlite3": "SQLite", "sqlalchemy": "SQLAlchemy"}
DELTA = {"deltalake", "_internal"}


@contextmanager
def about(table: str) -> Iterator[None]:
    """Errors that pass name the table that they are about; their types stay, since callers tell them apart."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, PlatformError) and table not in getattr(error, "__notes__", ()):
            error.add_note(table)
        raise


def is_panic(error: BaseException) -> bool:
    """A panic in Rust is no Exception, and each extension has a class of its own for it."""
    return type(error).__name__ == "PanicException"


def in_words(error: BaseException) -> str:
    """One line on any error: cause and remedy where it is a known fault, else its type and what it says."""
    known = known_fault(error)
    return str(known) if known else f"{type(error).__name__}: {error}"


def known_fault(error: BaseException) -> PlatformError | None:
    """The error for a person, where it or what it came from is a known fault; None for what nobody foresaw."""
    chain = list(_chain(error))
    for found in chain:
        if isinstance(found, PlatformError):
            return found
    table = next((f"{note}: " for found in chain for note in getattr(found, "__notes__", ())), "")
    for found in chain:
        if known := _known(found):
            problem, remedy = known
            return PlatformError(f"{table}{problem}", remedy)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """What came first is told first: the driver's error before SQLAlchemy's, both before Dagster's."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    yield from reversed(seen)


def _known(error: BaseException) -> tuple[str, str] | None:
    """(problem, remedy) of one error."""
    engine = type(error).__module__.partition(".")[0]
    said = _said(error)
    system = isinstance(error, OSError) or engine in {*ENGINES, *DELTA, *POSTGRES} or is_panic(error)
    if not system and not isinstance(error, MemoryError):
        return None
    number = error.errno if isinstance(error, OSError) else None
    where = _file(error)
    if number in (errno.ENOSPC, errno.EDQUOT) or FULL.search(str(error)):
        return (
            f"The disk is full{f', at {where}' if where else ''}.",
            f"Make room on it (the home is {settings().home}), then run again: nothing half-written is read, and what "
            "was not finished is done again.",
        )
    if number == errno.EROFS or READ_ONLY.search(str(error)):
        return (
            f"{where or f'A file of the home {settings().home}'} cannot be written: it is read-only.",
            "Mount it writable, or make its files writable for the user that runs the platform, then run again.",
        )
    if number in (errno.EACCES, errno.EPERM) or DENIED.search(str(error)):
        return (
            f"{where or said.rstrip('.')}: permission denied.",
            "Run as the owner of the home and its lake, or give this user the right to read and write there.",
        )
    if isinstance(error, MemoryError) or number == errno.ENOMEM or MEMORY.search(str(error)):
        return (
            f"Memory ran out: {said or 'nothing more could be allocated'}.",
            "Free memory, or let steps hold less at a time: lower DATA_PLATFORM_SLICE_ROWS.",
        )
    if isinstance(error, OSError):
        return None
    if LOCKED.search(str(error)):
        return (
            f"A database of the home {settings().home} is locked by another process.",
            "Let the other command end (or end it), then run again.",
        )
    if DAMAGED.search(str(error)):
        return (
            f"A database of the home {settings().home} is damaged: {_damaged_databases() or said}.",
            "Restore it from a backup. Without one, stop the services and move the folder it is in away: tables stay "
            "in the lake, and `data-platform build` computes again what Dagster then no longer knows of.",
        )
    if engine in POSTGRES:
        return (
            f"PostgreSQL cannot be used: {said}.",
            "Start the server or correct its URL: DATA_PLATFORM_POSTGRES_URL for Dagster's own storage, "
            "DATA_PLATFORM_ANALYTICS_URL for published tables, DATA_PLATFORM_ONLINE_URL for features.",
        )
    if engine in DELTA and not is_panic(error):
        return (
            f"The Delta table cannot be read or written: {said}.",
            "If it goes on, look at the table's `_delta_log` in the lake, and restore it from a backup if it is "
            "damaged.",
        )
    if is_panic(error):
        return (
            f"The engine gave up on a value it cannot compute with: {said}.",
            "Look for dates and numbers far out of range in the rows of the table's inputs; `--debug` shows where.",
        )
    return f"{ENGINES[engine]}: {said}.", "Correct what it names; `--debug` shows where it was met."


def _said(error: BaseException) -> str:
    """The error's own words in a line, without the stack of C or Rust, the statement and the links that follow."""
    lines = [line for line in map(_plain, str(error).splitlines()) if line]
    if not lines:
        return ""
    # An object store tells the way down to the cause, a step a line.
    line = lines[-1] if "↳" in str(error) else lines[0]
    return re.sub(r"^\((?:sqlite3|psycopg2?|_?duckdb)[\w.]*\) ", "", line).rstrip(". ")


def _plain(line: str) -> str:
    return re.sub(r"\x1b\[\d*m", "", line).strip("↳ \t")


def _file(error: BaseException) -> str | None:
    """The file an error of the system is about, where it says so."""
    name = getattr(error, "filename", None)
    if isinstance(name, str | Path):
        return str(name)
    found = re.search(r"(?:Unable to open file|operation on|os error \d+\):) (/[^\n\x1b]+)", str(error))
    return found[1].strip() if found else None


def _damaged_databases() -> str:
    """SQLite files of the home whose first page cannot be read; every shard holds one run, so there may be many."""
    found = []
    for path in sorted(settings().home.rglob("*.db")):
        with contextlib.suppress(sqlite3.OperationalError):
            try:
                with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as opened:
                    opened.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                found.append(str(path))
    return ", ".join(found[:3])
