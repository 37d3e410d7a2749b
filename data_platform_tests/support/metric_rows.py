"""Rows of the inputs of daily metrics: numbered days, change logs, and what of a frame and an oracle is compared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

from data_platform.core.contract.frames import require_schema
from data_platform.core.contract.table import Table

Row = dict[str, Any]
START = dt.date(2024, 2, 1)
FAR = 75
"""Days of activity in a drawn history: more than any window here."""


def day(n: int) -> dt.date:
    return START + dt.timedelta(n)


def at(n: int, minutes: float) -> dt.datetime:
    return dt.datetime.combine(day(n), dt.time(), dt.UTC) + dt.timedelta(minutes=minutes)


def frame(contract: type[Table], rows: Iterable[Row]) -> pl.LazyFrame:
    """A frame of the contract; text columns the rows do not name are null, numbers are zero."""
    fill = {name: 0 if dtype.is_numeric() else None for name, dtype in contract.schema().items()}
    return pl.LazyFrame([fill | row for row in rows], schema=contract.schema())


def found(contract: type[Table], lazy: pl.LazyFrame) -> list[tuple[Any, ...]]:
    require_schema(contract, lazy)
    assert lazy.collect_schema().names() == list(contract.columns)
    return sorted(lazy.collect().rows(), key=repr)


def tuples_of(contract: type[Table], rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[name] for name in contract.columns) for row in rows), key=repr)


def agree(
    contract: type[Table], compute: Callable[[Sequence[dt.date]], pl.LazyFrame], days: set[int], expected: list[Row]
) -> None:
    """The same rows from one call for all days, from a call per day, and from the oracle."""
    wanted = [day(n) for n in days]
    together = found(contract, compute(wanted))
    assert together == tuples_of(contract, expected)
    one_by_one = [row for each in wanted for row in found(contract, compute([each]))]
    assert together == sorted(one_by_one, key=repr)


players = st.sampled_from(["p", "q", "r"])
some_days = st.sets(st.integers(0, 45), min_size=1, max_size=4) | st.integers(0, 40).map(lambda n: set(range(n, n + 5)))


TYPES = ["combat_start", "party_join", "message_sent", "trade_completed", "level_up", "login"]


def change_log(
    fields: dict[str, st.SearchStrategy[Any]], key: Sequence[str], last: int = 45
) -> st.SearchStrategy[list[Row]]:
    """One row per entity and instant; several changes a day."""
    one = st.fixed_dictionaries(
        fields
        | {
            "changed_at": st.builds(at, st.integers(0, last), st.sampled_from([0, 600, 1439])),
            "operation": st.sampled_from(["insert", "update", "update", "delete"]),
        }
    ).map(lambda row: {**row, "change_date": row["changed_at"].date()})
    return st.lists(one, max_size=12, unique_by=lambda row: tuple(row[name] for name in [*key, "changed_at"]))
