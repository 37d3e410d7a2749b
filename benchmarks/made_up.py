"""Columns of made-up data, a few million rows a second.
Not here: any table."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from data_platform.core.contract.table import Table


def amounts(random: Any, count: int) -> pl.Series:
    """Decimals of 1 to 200, in cents."""
    return (pl.Series(random.integers(100, 20_000, count)).cast(pl.Decimal(18, 2)) / 100).cast(pl.Decimal(18, 2))


def picked(random: Any, count: int, *values: str) -> pl.Series:
    return pl.Series(values).gather(random.integers(0, len(values), count))


def numbered(prefix: str, numbers: Any, digits: int) -> pl.Series:
    return prefix + pl.Series(numbers).cast(pl.String).str.zfill(digits)


def moments(random: Any, day: dt.date, count: int) -> pl.Series:
    """Any time of the day."""
    midnight = int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * 1_000_000
    return pl.Series(midnight + random.integers(0, 86_400_000_000, count)).cast(pl.Datetime("us", "UTC"))


def rows_of(table: type[Table], **columns: Any) -> pl.DataFrame:
    """The columns given (a single value stands for all rows), as the contract types them; others are null."""
    given = pl.select(**{name: pl.lit(value) if isinstance(value, str) else value for name, value in columns.items()})
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None).alias(name)).cast(dtype)
        for name, dtype in table.schema().items()
    )
