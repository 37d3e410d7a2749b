"""A row's values as PostgreSQL writes them → a line of a change file, as the source's contract wants them.
Belongs here: how a type is written in JSON. Not here: where values come from, what a contract asks (landing judges)."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS, Column
from data_platform.core.errors import PlatformError
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.postgres.options import TableOptions
from data_platform.sources.postgres.pgoutput import EPOCH, Values

OPERATION, CHANGED_AT, SEQUENCE = CAPTURED = ("operation", "changed_at", "sequence")
"""Fields that capture fills in itself."""
_ESCAPED = re.compile(rb'["\\\x00-\x1f]')
_BOOL, _JSON, _JSONB, _DATE, _TIMESTAMP, _TIMESTAMPTZ = 16, 114, 3802, 1082, 1114, 1184
_MOMENTS = (_DATE, _TIMESTAMP, _TIMESTAMPTZ)
_WHOLE = frozenset((20, 21, 23))
_NUMBERS = _WHOLE | {26, 700, 701, 1700}
_EXTRA_NUMBERS = _WHOLE | {700, 701}
"""Oids of types, the same in every PostgreSQL. A `numeric` that no field knows stays text: a JSON number might be read
as the nearest double."""
Written = Callable[[bytes], bytes]


class LineLayout:
    """How rows of some columns are written: `name` and type of each, by the source's fields and the table's options."""

    def __init__(
        self,
        columns: Sequence[tuple[str, int]],
        source: LandingSource,
        options: TableOptions,
        base_types: Mapping[int, int],
    ) -> None:
        fields = {field.name: field for field in source.fields()}
        require_own_names([name for name, _ in columns], options)
        self._columns: list[tuple[bytes, Written] | None] = []
        for name, oid in columns:
            if name in options.leave_out:
                self._columns.append(None)
                continue
            field = options.field(name)
            written = _written(base_types.get(oid, oid), fields.get(field))
            self._columns.append((b"," + json.dumps(field, ensure_ascii=False).encode() + b":", written))

    def line(self, operation: bytes, changed_at: bytes, sequence: int, values: Values) -> bytes:
        """Absent values are left out: 5 µs for eight columns."""
        parts = [b'{"operation":"%b","changed_at":"%b","sequence":%d' % (operation, changed_at, sequence)]
        append = parts.append
        for column, value in zip(self._columns, values, strict=True):
            if value is not None and column is not None:
                append(column[0])
                append(column[1](value))
        append(b"}\n")
        return b"".join(parts)


def require_own_names(columns: Sequence[str], options: TableOptions) -> None:
    """Raise PlatformError where two columns would be one field, or one a field that capture fills in."""
    taken = dict.fromkeys(CAPTURED, "change capture itself")
    for column in columns:
        if column not in options.leave_out:
            field = options.field(column)
            if field in taken:
                raise PlatformError(
                    f"The column {column} of a table for {options.source} would be {field}, as {taken[field]}.",
                    f'Name another field for it in the table\'s `columns`, or put "{column}" into its `leave_out`.',
                )
            taken[field] = f"the column {column}"


def moment(micros: int) -> bytes:
    """Microseconds since EPOCH as text of fixed width: later is larger."""
    return (EPOCH + dt.timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


def micros(text: str) -> int:
    """The other way round."""
    return (dt.datetime.fromisoformat(text) - EPOCH) // dt.timedelta(microseconds=1)


def _written(oid: int, field: Column | None) -> Written:
    """How values of a type are written for a field of the contract, or for one that it does not know (None)."""
    if oid in (_JSON, _JSONB):
        # As text where no field is an object: JSON within a line would have its numbers written anew.
        return _as_json if field is not None and field.is_json else _text
    if oid == _BOOL:
        return _bool_text if field is not None and field.dtype == pl.String() else _bool
    if oid in _MOMENTS and field is not None and field.dtype == UTC_MICROSECONDS:
        return _moment
    if oid == _TIMESTAMPTZ:
        return _zoned
    if oid == _TIMESTAMP:
        return _unzoned
    if field is None:
        return _number if oid in _EXTRA_NUMBERS else _text
    return _number if oid in _NUMBERS and field.dtype in (pl.Int64(), pl.Float64()) else _text


def _text(value: bytes) -> bytes:
    if _ESCAPED.search(value) is None:
        return b'"%b"' % value
    # What is no UTF-8 (a database of encoding SQL_ASCII) is handed on as it is: ingestion rejects the line.
    return json.dumps(value.decode(errors="surrogateescape"), ensure_ascii=False).encode(errors="surrogateescape")


def _as_json(value: bytes) -> bytes:
    """`json` keeps line breaks between its parts; inside its texts they are escaped."""
    return re.sub(rb"[\r\n\t]", b" ", value)


def _number(value: bytes) -> bytes:
    return value if value[-1] <= 57 else _text(value)  # NaN and Infinity end with a letter, numbers with a digit


def _bool(value: bytes) -> bytes:
    return b"true" if value == b"t" else b"false"


def _bool_text(value: bytes) -> bytes:
    return b'"%b"' % _bool(value)


def _moment(value: bytes) -> bytes:
    """2026-11-27 10:11:12.5+00, as the session is in UTC; without a zone it is taken as UTC. `infinity` and years
    before our era end with a letter and stay as they are: no moment, so that the line is rejected."""
    if value[-1] > 57:
        return _text(value)
    return b'"%bZ"' % value.removesuffix(b"+00").replace(b" ", b"T", 1) if len(value) > 10 else b'"%b"' % value


def _zoned(value: bytes) -> bytes:
    """As text. What is no moment stays as it is."""
    return b'"%bZ"' % value[:-3].replace(b" ", b"T", 1) if value.endswith(b"+00") else _text(value)


def _unzoned(value: bytes) -> bytes:
    return b'"%b"' % (value.replace(b" ", b"T", 1) if value[-1] <= 57 else value)
