"""What a column may be declared as."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from data_platform.core.contract.column_types import column_type


def test_money_has_two_decimals_and_a_price_as_many_as_it_says() -> None:
    assert column_type(Decimal, None) == pl.Decimal(18, 2)
    assert column_type(Decimal, 18) == pl.Decimal(38, 18)


@pytest.mark.parametrize(("stated", "decimals"), [(int, 2), (Decimal, -1), (Decimal, 31), (dt.time, None)])
def test_what_no_column_holds_is_refused(stated: type, decimals: int | None) -> None:
    with pytest.raises(TypeError, match=r"write 0 to 30|no column type"):
        column_type(stated, decimals)
