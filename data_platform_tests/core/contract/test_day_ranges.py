"""Days as ranges of consecutive ones, and back."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.contract.day_ranges import as_ranges, consecutive, days_in, in_ranges


@given(st.sets(st.dates(dt.date(2023, 12, 1), dt.date(2024, 4, 1))))
def test_ranges_hold_exactly_their_days_and_are_as_few_as_can_be(dates: set[dt.date]) -> None:
    days = [str(date) for date in sorted(dates)]
    ranges = as_ranges(days)
    assert in_ranges(ranges) == set(days)
    assert sum(map(days_in, ranges)) == len(days)
    assert len(ranges) == sum(date - dt.timedelta(1) not in dates for date in dates)
    assert [day for run in consecutive(days) for day in run] == days


def test_a_range_of_a_day_is_the_day() -> None:
    assert as_ranges(["2024-02-28", "2024-02-29", "2024-03-02"]) == ["2024-02-28..2024-02-29", "2024-03-02"]
