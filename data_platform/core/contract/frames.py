"""A frame and its contract's shape: giving it to the result of a transform, and insisting on it.
Not here: anything that knows a table, stores it or judges its values."""

from __future__ import annotations

from typing import TypeVar

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def conform(table: type[Table], frame: Frame) -> Frame:
    """The frame with exactly the contract's columns, in its order and types; further columns are dropped.

    Casts are strict: a value that does not fit its declared type raises instead of becoming null.
    """
    return frame.select(pl.col(name).cast(dtype) for name, dtype in table.schema().items())


def require_schema(table: type[Table], frame: pl.DataFrame | pl.LazyFrame) -> None:
    """Raise PlatformError unless the frame has exactly the contract's columns and types: writers cast in silence."""
    found, expected = dict(frame.collect_schema()), table.schema()
    if found == expected:
        return
    wrong = [f"{n} is missing ({t})" for n, t in expected.items() if n not in found]
    wrong += [f"{n} is not declared" for n in found if n not in expected]
    wrong += [f"{n} is {found[n]}, declared {t}" for n, t in expected.items() if n in found and found[n] != t]
    wrong = wrong or [f"the column order is {', '.join(found)}"]
    raise PlatformError(
        f"{table.key}: the computed frame does not match its contract: {'; '.join(wrong)}.",
        f"Change the transform or the contract {table.__module__}.{table.__name__}.",
    )
