"""A section at work: snapshots of the tables that lack one, then look after look at the slot.
Belongs here: the order of acts that leaves no gap and no repetition wherever a process dies. Not here: statements
(database), files (table_stream), the meaning of changes (changes).

A position of a stream is a byte of PostgreSQL's log: what committed before it is received. Each look peeks at the slot,
writes the segments of all tables, and only then lets the server forget: who dies in between peeks at the same changes
again, and each table passes over what it holds. A slot is created after every table's stream says that it lacks a
snapshot, and no table's slot can have moved further than the furthest stream says: so a lost slot is always noticed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from data_platform.sources.connectors import Ways
from data_platform.sources.positions import held, positions
from data_platform.sources.postgres.catalog import CapturedTable, base_types, captured_tables
from data_platform.sources.postgres.changes import Changes, CreatedAnew
from data_platform.sources.postgres.database import Database, TableSnapshot
from data_platform.sources.postgres.known_rows import deletions
from data_platform.sources.postgres.lines import LineLayout
from data_platform.sources.postgres.options import Options
from data_platform.sources.postgres.table_stream import TableStream

_LOG = logging.getLogger(__name__)
MOST_CHANGES = 100_000
"""Messages of one look, but for the rest of its last transaction. Each look has the server read again what it
logged in some seconds before: few large looks cost less than many small ones, and a look takes some two seconds."""
PIECE_BYTES, PIECE_SECONDS = 32 << 20, 3.0
"""Text of a piece of a snapshot, and the time it may take: whichever is reached first."""
QUIET_BYTES = 4 << 20
"""Where no table changes but the log grows, an empty segment says so: this often."""
AGAIN_BYTES = 16 << 20
"""Of the log that the server would read again at each look, from which on it is asked to note where it may start."""
CHECKED_ROWS = 1_000
CATALOG_SECONDS = 30.0
"""Between two looks at the catalog: a table that is published no more, or created again, is told of by no change."""


class Stopped(Exception):
    """A look, or a piece of a snapshot, is forgotten; whoever goes on begins with a new connection."""


class Replication:
    """Reads the tables of a section while it holds their streams."""

    def __init__(self, title: str, options: Options, tables: Sequence[TableStream], ways: Ways) -> None:
        self._title, self._options, self._ways = title, options, ways
        self._tables = {stream.table: stream for stream in tables}
        self._database = Database(title, options)
        self._catalog = self._read_catalog()
        self._catalog_at = time.monotonic()
        self._base_types = base_types(self._database.connection)
        for name, one in self._catalog.items():
            self._tables[name].key = one.key
        self._snapshot: _Copying | None = None
        self._started = False
        self.seen = 0
        """Up to here every complete table is received."""
        self.log_end = 0
        self.retained = 0

    def _read_catalog(self) -> dict[str, CapturedTable]:
        sources = {one.source.name: one.source for one in self._tables.values()}
        return captured_tables(self._database.connection, self._title, self._options, sources)

    def close(self) -> None:
        for stream in self._tables.values():
            stream.discard()
        if self._snapshot is not None:
            self._snapshot.close()
        self._database.close()

    def advance(self, stop: threading.Event) -> bool:
        """One piece of a snapshot or one look at the slot; whether there is more at once."""
        if not self._started:
            self._start(stop)
            self._started = True
        self.log_end = self._database.log_end()
        if self._snapshot is None and (lacking := [one for one in self._tables.values() if not one.complete]):
            self._snapshot = self._begin_copying(lacking, stop)
        if self._snapshot is not None:
            if not self._snapshot.advance(stop):
                self._snapshot.close()
                self._snapshot = None
            return True
        return self._look(stop)

    def _begin_copying(self, lacking: Sequence[TableStream], stop: threading.Event) -> _Copying:
        snapshot = self._database.begin_snapshot(stop)
        # It may have waited for long: rows have the columns of now.
        now = self._read_catalog()
        self._catalog |= {one.table: now[one.table] for one in lacking}
        return _Copying(snapshot, lacking, self._layout, self._ways)

    def standing(self, stream: TableStream) -> int:
        """The first position that is not received: a table without changes is received as far as the others."""
        return max(stream.end, self.seen) if stream.complete else stream.end

    # --------------------------------------------------------------------------- the slot
    def _start(self, stop: threading.Event) -> None:
        """Find where everything stands, and begin anew where the server no longer knows what we lack."""
        for stream in self._tables.values():
            stands = positions(self._ways.lake, stream.folder)
            stream.stand(stands.get(stream.stream), self._ways)
        self._forget_removed()
        slot = self._database.slot()
        furthest = max((stream.end for stream in self._tables.values() if stream.complete), default=None)
        if slot is not None and not slot.lost and (furthest is None or slot.confirmed <= furthest):
            if furthest is None or furthest <= self._database.log_end():
                self.seen = slot.confirmed
                return
            _LOG.warning("%s: the log ends before what was received: another database?", self._options.slot)
        if furthest is not None:
            _LOG.warning(
                "%s: the slot is lost. A new snapshot follows; rows that are gone are deleted.", self._options.slot
            )
        for stream in self._tables.values():
            if stream.complete:
                stream.begin_generation()
        if slot is not None:
            self._database.drop_slot()
        self._database.create_slot(stop)
        created = self._database.slot()
        assert created is not None
        self.seen = created.confirmed

    def _forget_removed(self) -> None:
        """A table that left the section needs a snapshot when it comes back: the slot moved on without it."""
        prefix = next(iter(self._tables.values())).stream.partition("/")[0] + "/"
        for source in self._ways.sources.values():
            for name, position in positions(self._ways.lake, self._ways.folder(source.name)).items():
                table = name.removeprefix(prefix)
                kept = table in self._tables and self._tables[table].source.name == source.name
                if name.startswith(prefix) and position.end and not kept:
                    section = prefix.removeprefix("postgres:").removesuffix("/")
                    options = next(iter(self._options.tables.values()))
                    removed = TableStream(section, table, source, options, self._ways)
                    with held(removed.folder, name) as mine:
                        if mine:
                            removed.position = position
                            removed.begin_generation()

    def _look(self, stop: threading.Event) -> bool:
        upto = self.log_end
        if upto <= self.seen:
            return False
        slot = self._database.slot()
        if slot is None or slot.lost or slot.confirmed > self.seen:
            self._started = False
            return True
        self.retained = slot.retained
        if slot.retained > AGAIN_BYTES:
            self._database.note_running()
        self._notice_created_anew()
        changes = Changes(self._tables, self._base_types, self._catalog, self._ways)
        messages = 0
        try:
            for position, message in self._database.peek(upto, MOST_CHANGES, stop):
                changes.take(position, message)
                messages += 1
                if messages % CHECKED_ROWS == 0 and stop.is_set():
                    raise Stopped
        except CreatedAnew as told:
            self._copy_again(told.stream)
        more = messages >= MOST_CHANGES
        end = (changes.end or upto) if more else upto
        if self._publish(end):
            self._database.advance_slot(end)
        self.seen = end
        return more

    def _notice_created_anew(self) -> None:
        if time.monotonic() - self._catalog_at < CATALOG_SECONDS:
            return
        now, self._catalog_at = self._read_catalog(), time.monotonic()
        for name, one in now.items():
            if one.oid != self._catalog[name].oid:
                self._copy_again(self._tables[name])

    def _copy_again(self, stream: TableStream) -> NoReturn:
        _LOG.warning("%s: the table was created again. A new snapshot of it follows.", stream.stream)
        stream.begin_generation()
        raise Stopped

    def _publish(self, end: int) -> bool:
        """Write the segments of a look; whether some stream now stands at its end, so that the slot may follow."""
        changed = [stream for stream in self._tables.values() if stream.is_writing]
        last = min(self._tables.values(), key=lambda stream: stream.end)
        furthest = max(stream.end for stream in self._tables.values())
        if not changed and end - furthest >= QUIET_BYTES:
            changed = [last]
        for stream in changed:
            stream.land(end)
        return bool(changed)

    def _layout(self, stream: TableStream) -> tuple[list[str], LineLayout]:
        columns = self._catalog[stream.table].columns
        return list(columns), LineLayout(list(columns.items()), stream.source, stream.options, self._base_types)


class _Copying:
    """Tables being copied from one snapshot, one after the other, piece by piece."""

    def __init__(
        self,
        snapshot: TableSnapshot,
        tables: Sequence[TableStream],
        layout: Callable[[TableStream], tuple[list[str], LineLayout]],
        ways: Ways,
    ) -> None:
        self._snapshot, self._ways, self._layout = snapshot, ways, layout
        self._left = list(tables)
        self._lines: Iterator[bytes] | None = None

    def close(self) -> None:
        self._snapshot.close()

    def advance(self, stop: threading.Event) -> bool:
        """Write one piece; whether there is more."""
        stream = self._left[0]
        if self._lines is None:
            if stream.end:  # a snapshot that was not finished: its rows are older than these
                stream.begin_generation()
            self._lines = self._lines_of(stream)
        until, size = time.monotonic() + PIECE_SECONDS, 0
        # One by one: what is gone is asked when every row before it is in the file.
        for number, line in enumerate(self._lines, 1):
            stream.file.add(line)
            size += len(line)
            if number % CHECKED_ROWS == 0:
                if stop.is_set():
                    raise Stopped
                if size >= PIECE_BYTES or time.monotonic() >= until:
                    stream.land(stream.end + 1)
                    return True
        stream.land(self._snapshot.position)
        self._lines = None
        del self._left[0]
        return bool(self._left)

    def _lines_of(self, stream: TableStream) -> Iterator[bytes]:
        """Every row as an insert, then a deletion of every row that is told of no longer."""
        columns, layout = self._layout(stream)
        changed_at = stream.at(max(self._snapshot.micros, stream.newest + 1))
        for values in self._snapshot.rows(stream.table, columns):
            yield layout.line(b"insert", changed_at, 0, values)
        if stream.position is not None and stream.position.generation:
            yield from deletions(stream, self._ways, changed_at, 0, before=True)
