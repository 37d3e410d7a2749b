"""Features of the past over HTTP: an Arrow stream of players and moments in, the same rows with features out.
Belongs here: bounds, and proof that bytes from outside are sound Arrow. Not here: the point-in-time join."""

from __future__ import annotations

import datetime as dt
import io
import struct
from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.http.problems import Problem, quoted
from data_platform.core.http.requests import read_body
from data_platform.features.api.requests import chosen_features, listed, parameters
from data_platform.features.online.vectors import feature_names
from data_platform.features.store.client import FeatureStore

ARROW = "application/vnd.apache.arrow.stream"
MOST_BYTES = 32 * 1024 * 1024
MOST_ROWS = 200_000
MOST_COLUMNS = 50
AT_ONCE = 2
"""Joins that run at a time; each holds its rows and their features in memory, about 100 MB at most."""
RETRY_SECONDS = "5"
EPOCH = dt.date(1970, 1, 1)
FIRST_DAY, LAST_DAY = (dt.date(2, 1, 1) - EPOCH).days, (dt.date(9998, 12, 31) - EPOCH).days
UNITS_PER_DAY = {"ms": 86_400 * 10**3, "us": 86_400 * 10**6}
"""64 bits of nanoseconds are the years 1677 to 2262: all sound."""


class Historical:
    """Answers `:historical` by the point-in-time join of the Python client."""

    def __init__(self, features: FeatureStore) -> None:
        self._features = features
        self._running = 0

    async def answer(self, table: type[Table], scope: Scope, receive: Receive) -> bytes:
        """The Arrow stream of the answer. Raises Problem."""
        given = parameters(scope, ("features", "known_at"))
        names = chosen_features(table, listed(given.get("features"))) or feature_names(table)
        if self._running >= AT_ONCE:
            detail = f"{AT_ONCE} historical requests are being answered."
            raise Problem(503, "busy", detail, f"Retry after {RETRY_SECONDS} s.", {"retry-after": RETRY_SECONDS})
        self._running += 1
        try:
            body = await read_body(scope, receive, ARROW, MOST_BYTES)
            return await run_in_threadpool(self._joined, table, body, names, given.get("known_at"))
        finally:
            self._running -= 1

    def _joined(self, table: type[Table], body: bytes, names: Sequence[str], known_at: str | None) -> bytes:
        entities = read_stream(body)
        references = [f"{table.table_name()}:{name}" for name in names]
        try:
            found = self._features.get_historical_features(entities, references, known_at=known_at).to_polars()
        except PlatformError as error:
            raise Problem(422, "unusable-entities", error.problem, error.remedy) from None
        written = io.BytesIO()
        found.write_ipc_stream(written, compat_level=pl.CompatLevel.oldest())
        return written.getvalue()


def read_stream(body: bytes) -> pl.DataFrame:
    """The rows of an Arrow IPC stream from outside. Raises Problem for what is malformed, too large, or of types that
    no entity needs; nothing is allocated on the word of the sender."""
    try:
        rows = sum(_rows_of(message) for message in pa.ipc.MessageReader.open_stream(body))
        if rows > MOST_ROWS:
            detail = f"{rows:,} rows are more than the {MOST_ROWS:,} that one request may ask for."
            raise Problem(422, "too-many-rows", detail, "Send them in parts, or use the Python client.")
        with pa.ipc.open_stream(body) as stream:
            _require_plain(stream.schema)
            found = stream.read_all()
        found.validate(full=True)
        # Without the metadata of schema and columns: nothing here needs it, and Polars panics where it is no UTF-8.
        plain = pa.schema([(field.name, field.type) for field in found.schema])
        frame = pl.from_arrow(pa.table(found.columns, schema=plain))
    except (pa.ArrowException, OSError, struct.error, ValueError, TypeError, pl.exceptions.PolarsError):
        detail = "The body is not a sound Arrow IPC stream."
        remedy = "Write it with `DataFrame.write_ipc_stream` or pyarrow."
        raise Problem(400, "malformed-arrow", detail, remedy) from None
    assert isinstance(frame, pl.DataFrame)
    _require_calendar_times(frame)
    return frame


def _require_calendar_times(frame: pl.DataFrame) -> None:
    """Polars panics when it converts a moment of which Python knows no year: refuse it before."""
    for name, dtype in frame.schema.items():
        if not isinstance(dtype, pl.Date | pl.Datetime):
            continue
        per_day = UNITS_PER_DAY.get(dtype.time_unit) if isinstance(dtype, pl.Datetime) else 1
        if per_day is None:
            continue
        held = frame[name].to_physical().cast(pl.Int64).drop_nulls()
        if ((held < FIRST_DAY * per_day) | (held > LAST_DAY * per_day)).any():
            detail = f"The column {name[:80]} holds moments of no calendar year."
            raise Problem(422, "impossible-time", detail, "Check its unit: seconds, milliseconds or microseconds?")


def _require_plain(schema: Any) -> None:
    if len(schema) > MOST_COLUMNS:
        raise Problem(422, "too-many-columns", f"{len(schema)} columns are more than {MOST_COLUMNS}.")
    if len(set(schema.names)) < len(schema):
        raise Problem(422, "repeated-column", "Two columns have the same name.")
    for field in schema:
        if not _is_plain(field.type):
            detail = f"The column {quoted(field.name)} is of type {str(field.type)[:80]}."
            raise Problem(422, "unsupported-column", detail, "Send text, numbers, booleans, dates and timestamps.")


def _is_plain(kind: Any) -> bool:
    """Types that entities need and Polars holds: what is not named here is refused, whatever Arrow may yet invent."""
    types = pa.types
    if types.is_timestamp(kind):
        return kind.tz is None or bool(kind.tz)  # reading it raises ValueError where it is no UTF-8
    return bool(
        not isinstance(kind, pa.BaseExtensionType)
        and (
            types.is_string(kind)
            or types.is_large_string(kind)
            or types.is_integer(kind)
            or types.is_float32(kind)
            or types.is_float64(kind)
            or types.is_boolean(kind)
            or types.is_date(kind)
            or types.is_decimal128(kind)
        )
    )


def _rows_of(message: Any) -> int:
    """Rows that a message of the stream claims to hold, read from its header alone.

    Compressed bodies are refused: a few bytes of them can ask for all the memory there is.
    """
    if message.type != "record batch":
        if message.type == "dictionary":
            raise Problem(422, "unsupported-column", "Dictionary-encoded columns are not taken.", "Send plain text.")
        return 0
    header = memoryview(message.metadata)
    root = struct.unpack_from("<I", header, 0)[0]
    batch = _place(header, root, 2)
    batch += struct.unpack_from("<I", header, batch)[0]
    if _place(header, batch, 3):
        raise Problem(415, "unsupported-encoding", "The Arrow stream must not be compressed.")
    length = _place(header, batch, 0)
    return int(struct.unpack_from("<q", header, length)[0]) if length else 0


def _place(buffer: memoryview, table: int, field: int) -> int:
    """Where a field of a flatbuffer table stands; 0 when the table has not got it."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    size = struct.unpack_from("<H", buffer, vtable)[0]
    entry = 4 + 2 * field
    offset = struct.unpack_from("<H", buffer, vtable + entry)[0] if entry < size else 0
    return table + offset if offset else 0
