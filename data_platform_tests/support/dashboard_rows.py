"""Rows of marts for dashboards: what a test says of them, and anything the contract takes for the rest.
Not here: any assertion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from data_platform.core.contract.table import Table


def rows_of(table: type[Table], **columns: Sequence[Any]) -> pl.DataFrame:
    """The columns given, as the contract types them; others are null."""
    given = pl.DataFrame(columns)
    return given.select(
        (pl.col(name) if name in columns else pl.lit(None).alias(name)).cast(dtype)
        for name, dtype in table.schema().items()
    )
