"""How simulated values become text: UUIDs, timestamps and `"name":value` fragments, whole columns at a time.

Nothing here knows what a player or an event is.
"""

from datetime import date
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

# Every moment in the simulation is a whole number of milliseconds since 1970, UTC.
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_HEX = np.array([f"{byte:02x}" for byte in range(256)], dtype="S2").view(np.uint16)
# Where the five groups of a UUID's 32 hex digits land among its 36 characters.
_GROUPS = ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24))
_ISO = "%FT%T%.3fZ"


def midnight(day: date) -> int:
    """The first millisecond of a UTC day."""
    return (day - date(1970, 1, 1)).days * DAY


def uuids(rng: np.random.Generator, count: int, before: str = "", after: str = "") -> pl.Series:
    """`count` random version-4 UUIDs as strings, each between `before` and `after`.

    Filled as one byte matrix: 90 ns per id, where `uuid.UUID` takes 2,000.
    """
    raw = np.frombuffer(rng.bytes(16 * count), np.uint8).reshape(count, 16).copy()
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = _HEX[raw].view(np.uint8)
    template = f"{before}{'-' * 36}{after}".encode()
    text = np.tile(np.frombuffer(template, np.uint8), (count, 1))
    for first, last, at in _GROUPS:
        text[:, len(before) + at : len(before) + at + last - first] = digits[:, first:last]
    return pl.Series(text.reshape(-1).view(f"S{len(template)}"), dtype=pl.Binary).cast(pl.String)


def iso(column: str) -> pl.Expr:
    """A column of milliseconds as `2024-01-01T12:34:56.789Z`."""
    return pl.from_epoch(column, "ms").dt.to_string(_ISO)


def iso_fragment(name: str, column: str) -> pl.Expr:
    """A column of milliseconds as `"name":"2024-01-01T12:34:56.789Z"`."""
    return pl.from_epoch(column, "ms").dt.to_string(f'"{name}":"{_ISO}"')
