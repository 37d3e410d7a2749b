"""Rows in the order of their key: as Polars sorts them, whatever the values, and the same rows."""

from __future__ import annotations

import datetime as dt
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core import sorting
from data_platform.core.sorting import is_sorted_by, sorted_by, summed_by

TEXT = st.one_of(
    st.text(max_size=3),
    st.sampled_from(["", "\0", "a", "a\0", "z", "é", "ÿ", "\U0001f409", "same beginning"]),
    st.builds("user-00000000000000000000{:03}{}".format, st.integers(0, 999), st.sampled_from(["", "-again", "é"])),
    st.uuids().map(str),
)
COLUMNS: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "few": (pl.String(), st.sampled_from(["a", "b", "B", "", "aa", "é"])),
    "text": (pl.String(), TEXT),
    "day": (pl.Date(), st.dates(dt.date(1969, 1, 1), dt.date(2030, 1, 1))),
    "moment": (pl.Datetime("us", "UTC"), st.datetimes(timezones=st.just(dt.UTC))),
    "whole": (pl.Int64(), st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))),
    "flag": (pl.Boolean(), st.booleans()),
    "number": (pl.Float64(), st.floats(allow_nan=False)),
}


@st.composite
def frames(draw: st.DrawFn) -> tuple[pl.DataFrame, list[str]]:
    names = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4, unique=True))
    count = draw(st.integers(1, 60))
    repeated = draw(st.booleans())
    columns = {}
    for name in names:
        dtype, values = COLUMNS[name]
        pool = draw(st.lists(st.one_of(st.none(), values), min_size=1, max_size=3 if repeated else count))
        columns[name] = pl.Series(draw(st.lists(st.sampled_from(pool), min_size=count, max_size=count)), dtype=dtype)
    return pl.DataFrame(columns).with_row_index("row"), names


@settings(max_examples=150, deadline=None)
@given(frames())
def test_rows_come_in_the_order_that_sorting_gives(given_frame: tuple[pl.DataFrame, list[str]]) -> None:
    frame, key = given_frame
    with mock.patch.object(sorting, "FEWEST_ROWS", 1):
        ordered = sorted_by(frame, key)
    assert ordered.select(key).equals(frame.select(key).sort(key))
    assert ordered.sort("row").equals(frame)
    assert not is_sorted_by(frame, key) or ordered.equals(frame)
    if not ordered.select(pl.any_horizontal(pl.col(key).is_null().any())).item():
        assert is_sorted_by(ordered, key)


@settings(max_examples=150, deadline=None)
@given(frames())
def test_sums_are_those_of_polars_in_the_order_of_their_key(given_frame: tuple[pl.DataFrame, list[str]]) -> None:
    frame, key = given_frame
    row = pl.col("row").cast(pl.Int64)
    money = pl.when(row % 3 > 0).then((row * 7).cast(pl.Decimal(38, 18)))
    numbers = frame.with_columns(row, one=pl.lit(1, pl.Int64), money=money, none=pl.lit(None, pl.Int64))
    with mock.patch.object(sorting, "FEWEST_ROWS", 1):
        summed = summed_by(numbers, key)
    expected = numbers.group_by(key).agg(pl.exclude(key).sum()).sort(key)
    assert summed.columns == numbers.columns
    assert summed.select(expected.columns).equals(expected)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_large_frame_is_sorted_without_comparing_its_rows(seed: int) -> None:
    """Few tenants, many ids that are alike at their beginning or differ only far behind it."""
    count = sorting.FEWEST_ROWS
    number = pl.int_range(count, eager=True)
    rows = pl.DataFrame(
        {
            "tenant": "t" + (number % 97).cast(pl.String),
            "usage": pl.Series([f"2024-{n:06}" if n % 50 else f"2024-000000-0000000000-{n:06}" for n in range(count)]),
            "at": (number * 7919 % 86_400_000).cast(pl.Datetime("ms")),
            "same": pl.repeat(7, count, eager=True),
            "none": pl.repeat(None, count, dtype=pl.String, eager=True),
        }
    ).sample(fraction=1, shuffle=True, seed=seed)
    for key in (["tenant", "usage"], ["tenant", "at"], ["usage", "tenant"]):
        expected = rows.sort(key, maintain_order=True)
        with mock.patch.object(pl.DataFrame, "sort", side_effect=AssertionError("rows are compared")):
            ordered = sorted_by(rows, key)
        assert ordered.equals(expected)
