"""The messages of PostgreSQL's logical decoding plugin `pgoutput`, protocol version 1, as bytes → values.
Belongs here: their layout. Not here: fetching them (database), what they mean for a table (changes)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""Moments are told in microseconds since then."""

BEGIN, COMMIT, RELATION, INSERT, UPDATE, DELETE, TRUNCATE = b"BCRIUDT"
OLD_ROW, KEY, NEW_ROW = b"OKN"
"""What follows: the whole row as it was, only its replica identity, the row as it is."""
_NULL, _UNCHANGED, _TEXT = b"nut"

UNCHANGED = b"\0"
"""Stands for a large value stored out of line that an update left alone; no text of PostgreSQL holds this character."""
Values = list[bytes | None]
"""A row's values as PostgreSQL writes them as text, in the order of its columns."""


@dataclass(frozen=True)
class Relation:
    """A table as the changes after this message have it."""

    oid: int
    name: str
    """`schema.table`."""
    columns: tuple[tuple[str, int], ...]
    """(name, oid of the type)."""


def number(message: bytes, at: int, size: int) -> int:
    return int.from_bytes(message[at : at + size], "big")


def committed(message: bytes) -> tuple[int, int]:
    """Of BEGIN: where the transaction's commit stands in the log, and its time in microseconds since EPOCH."""
    return number(message, 1, 8), int.from_bytes(message[9:17], "big", signed=True)


def commit_end(message: bytes) -> int:
    """Of COMMIT: the position behind it."""
    return number(message, 10, 8)


def relation(message: bytes) -> Relation:
    oid, at = number(message, 1, 4), 5
    schema, at = _name(message, at)
    table, at = _name(message, at)
    count, at = number(message, at + 1, 2), at + 3
    columns = []
    for _ in range(count):
        name, at = _name(message, at + 1)
        columns.append((name, number(message, at, 4)))
        at += 8
    return Relation(oid, f"{schema}.{table}", tuple(columns))


def truncated(message: bytes) -> list[int]:
    """Of TRUNCATE: the oids of the tables."""
    return [number(message, 6 + 4 * n, 4) for n in range(number(message, 1, 4))]


def values(message: bytes, at: int) -> tuple[Values, int]:
    """The row whose number of columns stands at this place, and the place behind it. The hot loop: 0.2 µs a value."""
    count = message[at] << 8 | message[at + 1]
    at += 2
    found: Values = []
    append, whole = found.append, int.from_bytes
    for _ in range(count):
        kind = message[at]
        if kind == _TEXT:
            begin = at + 5
            at = begin + whole(message[at + 1 : begin], "big")
            append(message[begin:at])
        elif kind == _NULL:
            append(None)
            at += 1
        elif kind == _UNCHANGED:
            append(UNCHANGED)
            at += 1
        else:
            raise ValueError(f"pgoutput: a value of kind {chr(kind)!r} is not known to protocol version 1")
    return found, at


def _name(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(b"\0", at)
    return message[at:end].decode(), end + 1
