"""What every transform does with a frame whatever its domain: the shared tail that gives a result its contract's shape.
Not here: anything that knows a table, stores it or judges its values."""

from __future__ import annotations

import polars as pl

from data_platform.core.contract import Table


def conform(table: type[Table], frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with exactly the contract's columns, in its order and types; further columns are dropped.

    Casts are strict: a value that does not fit its declared type raises instead of becoming null.
    """
    return frame.select(pl.col(name).cast(dtype) for name, dtype in table.schema().items())
