"""The messages of one look at a slot → lines of the tables they are about.
Belongs here: what each kind of change is for a table. Not here: the bytes (pgoutput), fetching, landing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from data_platform.core.errors import PlatformError
from data_platform.sources.connectors import Ways
from data_platform.sources.postgres import known_rows, pgoutput
from data_platform.sources.postgres.catalog import CapturedTable
from data_platform.sources.postgres.lines import LineLayout
from data_platform.sources.postgres.pgoutput import UNCHANGED, Values
from data_platform.sources.postgres.table_stream import TableStream

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """A table as the messages that follow have it."""

    stream: TableStream
    line: LineLayout
    key: tuple[int, ...]
    """Places of the columns that name a row."""


class CreatedAnew(Exception):
    """A table was dropped and created again: nobody told which rows went with the old one."""

    def __init__(self, stream: TableStream) -> None:
        super().__init__(stream.stream)
        self.stream = stream


class Changes:
    """Takes messages in order. What a table has received already, as its position says, is passed over."""

    def __init__(
        self,
        tables: Mapping[str, TableStream],
        base_types: Mapping[int, int],
        catalog: Mapping[str, CapturedTable],
        ways: Ways,
    ) -> None:
        self._tables, self._base_types, self._catalog, self._ways = tables, base_types, catalog, ways
        self._names = {one.oid: name for name, one in catalog.items()}
        self._layouts: dict[int, Layout] = {}
        self._commit = self._time = 0
        self.end: int | None = None
        """Behind the last whole transaction; None before the first."""

    def take(self, sequence: int, message: bytes) -> None:
        """Raises PlatformError for a change that cannot be taken over right, and CreatedAnew."""
        kind = message[0]
        if kind in (pgoutput.INSERT, pgoutput.UPDATE, pgoutput.DELETE):
            layout = self._layouts.get(pgoutput.number(message, 1, 4))
            if layout is not None and self._commit >= layout.stream.end:
                self._row(kind, layout, sequence, message)
        elif kind == pgoutput.BEGIN:
            self._commit, self._time = pgoutput.committed(message)
        elif kind == pgoutput.COMMIT:
            self.end = pgoutput.commit_end(message)
        elif kind == pgoutput.RELATION:
            self._relation(pgoutput.relation(message))
        elif kind == pgoutput.TRUNCATE:
            for oid in pgoutput.truncated(message):
                layout = self._layouts.get(oid)
                if layout is not None and self._commit >= layout.stream.end:
                    self._truncate(layout.stream, sequence)

    def _row(self, kind: int, layout: Layout, sequence: int, message: bytes) -> None:
        stream, line = layout.stream, layout.line.line
        changed_at, add = stream.at(self._time), stream.file.add
        if kind == pgoutput.INSERT:
            add(line(b"insert", changed_at, sequence, pgoutput.values(message, 6)[0]))
            return
        old, at = None, 6
        if message[5] == pgoutput.OLD_ROW:
            old, at = pgoutput.values(message, 6)
            at += 1
        elif message[5] == pgoutput.KEY:
            raise _without_old_row(stream)
        if kind == pgoutput.DELETE:
            assert old is not None
            add(line(b"delete", changed_at, sequence, old))
            return
        new = pgoutput.values(message, at)[0]
        if UNCHANGED in new:
            new = _completed(stream, old, new)
        if old is not None and any(old[place] != new[place] for place in layout.key):
            add(line(b"delete", changed_at, sequence, old))
            add(line(b"insert", changed_at, sequence, new))
        else:
            add(line(b"update", changed_at, sequence, new))

    def _truncate(self, stream: TableStream, sequence: int) -> None:
        at = stream.at(self._time)
        for line in known_rows.deletions(stream, self._ways, at, sequence, before=False):
            stream.file.add(line)

    def _relation(self, relation: pgoutput.Relation) -> None:
        known = self._names.get(relation.oid, relation.name)
        if known != relation.name:
            raise PlatformError(
                f"{self._tables[known].stream}: the table is called {relation.name} now.",
                "Name it so in the section: a new snapshot follows.",
            )
        stream = self._tables.get(relation.name)
        if stream is None:
            return
        if relation.oid not in self._names and self._commit >= stream.end:
            raise CreatedAnew(stream)
        names = [name for name, _ in relation.columns]
        missing = [name for name in stream.key if name not in names]
        if missing:
            raise PlatformError(
                f"{stream.stream}: the column {missing[0]}, which names its rows, is gone from the table.",
                "Say in `key` of the table which columns name a row now, and drop the slot: a new snapshot follows.",
            )
        self._notice_types(stream, relation)
        layout = LineLayout(relation.columns, stream.source, stream.options, self._base_types)
        self._layouts[relation.oid] = Layout(stream, layout, tuple(map(names.index, stream.key)))

    def _notice_types(self, stream: TableStream, relation: pgoutput.Relation) -> None:
        known = self._catalog[relation.name].columns
        changed = [name for name, oid in relation.columns if known.get(name, oid) != oid]
        if changed:
            stream.alarm = f"{relation.name}: {', '.join(changed)} changed its type"
            _LOG.warning("%s: %s. Lines that no longer fit the contract are rejected.", stream.stream, stream.alarm)


def _completed(stream: TableStream, old: Values | None, new: Values) -> Values:
    """Large values that an update left alone are those of the row before it."""
    if old is None:
        raise _without_old_row(stream)
    return [before if value == UNCHANGED else value for before, value in zip(old, new, strict=True)]


def _without_old_row(stream: TableStream) -> PlatformError:
    return PlatformError(
        f"{stream.stream}: the log lacks rows as they were before a change: its replica identity was not FULL.",
        f"ALTER TABLE {stream.table} REPLICA IDENTITY FULL; then drop the slot: a new snapshot follows.",
    )
