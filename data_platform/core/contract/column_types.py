"""The types a column may have: what is annotated in a contract → what Polars holds.
Not here: anything else that a contract says of a column (table)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import polars as pl

UTC_MICROSECONDS = pl.Datetime("us", "UTC")
DIGITS = 38
"""Of a Decimal that says how many decimals it has: what 128 bits hold."""
MOST_DECIMALS = 30


class JsonObject(str):
    """Column type for a JSON object kept as minified text."""


class LogPosition(str):
    """Column type for a position in a log, kept as decimal digits: the longer is the later, then the larger text."""


class HalfVector(bytes):
    """Column type for a vector, kept as its numbers one after another: IEEE 754 half precision, little-endian."""


_DTYPES: Mapping[Any, pl.DataType] = {
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
    JsonObject: pl.String(),
    LogPosition: pl.String(),
    bytes: pl.Binary(),
    HalfVector: pl.Binary(),
    dt.date: pl.Date(),
    dt.datetime: UTC_MICROSECONDS,
    Decimal: pl.Decimal(18, 2),
    list[int]: pl.List(pl.Int64()),
    list[str]: pl.List(pl.String()),
}


def column_type(stated: Any, decimals: int | None) -> pl.DataType:
    """The Polars type of an annotation (without its `| None`). Raises TypeError for one that no column may have."""
    dtype = _DTYPES.get(stated)
    if dtype is None:
        raise TypeError(f"{stated} is no column type; use one of {', '.join(kind.__name__ for kind in _DTYPES)}")
    if decimals is None:
        return dtype
    if stated is not Decimal or not 0 <= decimals <= MOST_DECIMALS:
        raise TypeError(f"decimals is {decimals}; write 0 to {MOST_DECIMALS}, of a Decimal")
    return pl.Decimal(DIGITS, decimals)
