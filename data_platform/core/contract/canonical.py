"""One text for one value: rows of a contract and JSON texts in a canonical form, so that two spellings of one content
are one content, and its digest. Not here: which of several rows counts (transforms of domains)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS, Column

FORMATTED_MICROSECONDS = 8 * 10**18
"""Times up to about the year 255,000 can be written as text."""
MAX_JSON_DEPTH = 100
"""Deeper payloads are compared as text. A fixed bound: Python's own depends on how deep the caller's stack is."""


def canonical_row(columns: Mapping[str, Column], row: Mapping[str, str | None]) -> str:
    """The content of a row (these columns of its contract as text, see `as_text`) as JSON, one text per value.

    Sorted keys, no spaces, ASCII only; UTC times with microseconds and Z.
    """
    fields = (f"{json.dumps(name)}:{_canonical_field(columns[name], row[name])}" for name in sorted(columns))
    return "{" + ",".join(fields) + "}"


def row_digest(canonical: str) -> str:
    """BLAKE2b of the canonical content, 16 bytes as hex: the same in every process, on every machine, for ever."""
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def as_text(columns: Mapping[str, Column]) -> list[pl.Expr]:
    """Every column as text. Polars writes the times: Python has no year 10,000, which ingestion once let in."""
    return [_column_as_text(declared) for declared in columns.values()]


def _column_as_text(declared: Column) -> pl.Expr:
    if declared.dtype.is_temporal():
        return _time_as_text(declared)
    value = pl.col(declared.name)
    return value if declared.dtype == pl.String() else value.cast(pl.String)


class _Number(str):
    """A JSON number as text, so that no digit is lost to a float."""


_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _number(text: str) -> _Number:
    """One spelling per number: 1, 1.0 and 1e0 are the same, and 1e400 stays what it is."""
    try:
        exact = Decimal(text).normalize(_EXACT)
    except InvalidOperation:  # an exponent of more than 18 digits
        return _Number(text)
    if not exact:
        return _Number("0")
    return _Number(format(exact, "f") if -20 < exact.adjusted() < 20 else str(exact))


def _time_as_text(declared: Column) -> pl.Expr:
    time = pl.col(declared.name)
    if declared.dtype != UTC_MICROSECONDS:
        return time.dt.strftime("%Y-%m-%d")
    # Formatting panics from the year 262,143 on: such a time is told by its number of microseconds.
    can_be_written = time.to_physical().is_between(-FORMATTED_MICROSECONDS, FORMATTED_MICROSECONDS)
    written = pl.when(can_be_written).then(time).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return pl.coalesce(written, time.to_physical().cast(pl.String)).alias(declared.name)


def _canonical_field(declared: Column, value: str | None) -> str:
    if value is None:
        return "null"
    return _canonical_text(value) if declared.is_json else json.dumps(value)


def _canonical_text(text: str) -> str:
    """The canonical form of a JSON text; a text that is no JSON, or too deep, stands for itself as a string."""
    try:
        return _canonical_value(json.loads(text, parse_int=_number, parse_float=_number), MAX_JSON_DEPTH)
    except (ValueError, RecursionError):
        return json.dumps(text)


def _canonical_value(value: Any, depth: int) -> str:
    if depth == 0:
        raise RecursionError(f"JSON deeper than {MAX_JSON_DEPTH}")
    if isinstance(value, _Number):
        return value
    if isinstance(value, dict):
        fields = (f"{json.dumps(key)}:{_canonical_value(value[key], depth - 1)}" for key in sorted(value))
        return "{" + ",".join(fields) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_canonical_value(item, depth - 1) for item in value) + "]"
    return json.dumps(value)
