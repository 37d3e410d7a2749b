"""Which partitions there are, how windows of days map them, and how many are computed at a time."""

from __future__ import annotations

import datetime as dt

from data_platform.core.contract.day_slices import slices
from data_platform.core.contract.table import (
    Days,
)
from data_platform.core.orchestration.partitions import daily, partition_mapping
from data_platform_tests.support.contracts import make_table
from data_platform_tests.support.homes import FIRST_DAY


def test_partitions_go_from_the_first_day_to_today() -> None:
    keys = daily().get_partition_keys()
    assert (keys[0], keys[-1]) == (FIRST_DAY.isoformat(), dt.datetime.now(dt.UTC).date().isoformat())


def test_mappings_name_the_days_of_a_window() -> None:
    orders = make_table()
    keys = daily().get_partition_keys()

    def upstream(days: Days, key: str) -> list[str]:
        subset = daily().empty_subset().with_partition_keys([key])
        found = partition_mapping(days).get_upstream_mapped_partitions_result_for_partitions(subset, daily(), daily())
        return sorted(found.partitions_subset.get_partition_keys())

    assert upstream(orders.days(), keys[50]) == [keys[50]]
    assert upstream(orders.days(-29), keys[50]) == keys[21:51]
    assert upstream(orders.days(-29), keys[3]) == keys[:4], "days before the first do not exist"
    assert upstream(orders.days(-1, 1), keys[50]) == keys[49:52]
    assert upstream(orders.days(0, 1), keys[-1]) == [keys[-1]], "nor does tomorrow"
    assert upstream(orders.until(), keys[50]) == keys[:51]


def test_slices_bound_the_rows_and_keep_every_day_once() -> None:
    orders = make_table()
    days = [FIRST_DAY + dt.timedelta(n) for n in (0, 1, 2, 3, 4, 7, 8)]
    held = {str(day): 10 for day in days}
    assert list(slices(days, [(orders.days(), held)], 25, 0)) == [days[0:2], days[2:4], days[4:5], days[5:7]]
    assert list(slices(days, [(orders.days(), held)], 1)) == [[day] for day in days], "one day at least"
    assert list(slices(days, [(orders.days(-1), held)], 40, 0)) == [days[0:2], days[2:4], days[4:5], days[5:7]]
    assert list(slices(days, [(orders.until(), held)], 5, 0)) == [days[0:5], days[5:7]], "unbounded inputs do not count"
    assert list(slices([], [], 5)) == []


def test_slices_go_over_gaps_that_cost_less_than_a_slice() -> None:
    orders = make_table()
    days = [FIRST_DAY + dt.timedelta(n) for n in (0, 3, 4)]
    held = {str(FIRST_DAY + dt.timedelta(n)): 10 for n in range(5)}
    assert list(slices(days, [(orders.days(), held)], 100)) == [days]
    assert list(slices(days, [(orders.days(), held)], 100, 20)) == [days]
    assert list(slices(days, [(orders.days(), held)], 100, 19)) == [days[:1], days[1:]], "the gap holds 20 rows"
    assert list(slices(days, [(orders.days(), held)], 39)) == [days[:1], days[1:]], "they count for the bound"
    assert list(slices(days, [(orders.days(), held)], 40)) == [days[:2], days[2:]]
    far = [FIRST_DAY, FIRST_DAY + dt.timedelta(33)]
    assert list(slices(far, [(orders.until(), held)], 100)) == [far[:1], far[1:]], "rows of all days cost, uncounted"
