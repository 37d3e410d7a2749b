"""A profiled table with a column of each kind, its rows, and made-up histories of its profiles."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl

from data_platform.core.contract.table import JsonObject, Personal, Table, column
from data_platform.core.quality.profile import MEASURES

DAY = dt.date(2024, 3, 4)
NOW = dt.datetime(2024, 12, 1, 12, tzinfo=dt.UTC)


class Measured(Table):
    """A table with a column of each kind."""

    key = "testing/measured"
    partition = "day"
    primary_key = ("day", "id")
    owner = "team:test"
    profiled_by = {"payload": "colour"}

    day: dt.date = column("Day.")
    id: str = column("Id.")
    person: str = column("Who.", personal=Personal.PSEUDONYM)
    colour: str | None = column("Colour.")
    number: float | None = column("Number.")
    count: int = column("Count.")
    flag: bool = column("Flag.")
    at: dt.datetime = column("When.")
    payload: JsonObject | None = column("Payload.", personal=Personal.CONTENT)


def rows_of(day: dt.date, rows: list[dict[str, Any]]) -> pl.DataFrame:
    base = {"day": day, "person": "p-1", "count": 1, "flag": True, "at": dt.datetime(2024, 3, 4, 7, tzinfo=dt.UTC)}
    made = [{**base, "id": f"i-{number}", **row} for number, row in enumerate(rows)]
    return pl.DataFrame(made, schema=Measured.schema())


def made_history(days: int, seed: int = 1, **measured: Any) -> pl.DataFrame:
    """Days before DAY: rows around 1000, more on weekends, `share:colour=a` around 0.3, and `name=function of day`."""
    random = np.random.default_rng(seed)
    rows: list[tuple[dt.date, str, float]] = []
    for back in range(days, 0, -1):
        day = DAY - dt.timedelta(back)
        level = 1000 * (1.5 if day.weekday() >= 5 else 1.0) * random.lognormal(0, 0.05)
        rows += [(day, "rows", round(level)), (day, "share:colour=a", 0.3 + random.normal(0, 0.01))]
        rows += [(day, "share:colour=b", 0.7 + random.normal(0, 0.01)), (day, "null_share:number", 0.0)]
        rows += [(day, name, value(day)) for name, value in measured.items()]
    return pl.DataFrame(rows, schema=MEASURES, orient="row")


def today(day: dt.date = DAY, **changes: float) -> pl.DataFrame:
    usual: dict[str, float] = {"rows": 1000, "share:colour=a": 0.3, "share:colour=b": 0.7, "null_share:number": 0.0}
    kept = {name: value for name, value in (usual | changes).items() if value is not None}
    return pl.DataFrame([(day, name, float(value)) for name, value in kept.items()], schema=MEASURES, orient="row")
