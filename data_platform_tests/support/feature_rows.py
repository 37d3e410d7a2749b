"""Made-up rows of any feature contract, published as an asset does. Not here: any assertion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.lake import bitemporal
from data_platform.core.lake.commits import Commit
from data_platform.core.lake.store import Lake

Numbers = Mapping[dt.date, Mapping[str, int]]
"""Day → player → the number that all features of the row are made of."""


def feature_frame(table: type[Table], numbers: Numbers) -> pl.DataFrame:
    """One row per day and player: whole numbers are the number, floats its half, texts `t<number>`."""
    rows = [
        {"snapshot_date": day, "player_id": player, **{name: _value(dtype, number) for name, dtype in _values(table)}}
        for day, found in numbers.items()
        for player, number in found.items()
    ]
    return pl.DataFrame(rows, schema=table.schema())


def publish(lake: Lake, table: type[Table], numbers: Numbers, moment: dt.datetime | None = None) -> Commit:
    """Publish the days with exactly these rows; `moment` is what the publisher's clock says."""
    staged = lake.stage(table, feature_frame(table, numbers))
    days = [str(day) for day in numbers]
    if moment is None:
        return bitemporal.commit(lake, table, staged, days)
    return bitemporal.commit(lake, table, staged, days, clock=lambda: moment)


def _values(table: type[Table]) -> list[tuple[str, pl.DataType]]:
    return [(name, dtype) for name, dtype in table.schema().items() if name not in table.primary_key]


def _value(dtype: pl.DataType, number: int) -> Any:
    return f"t{number}" if dtype == pl.String() else number / 2 if dtype.is_float() else number
