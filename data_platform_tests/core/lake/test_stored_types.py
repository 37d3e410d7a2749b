"""A column whose type the contract changed: no file of the new type under a log of the old one, nothing is called
damaged, and a command rewrites the table. Not here: columns that are new (test_lake)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pytest

from data_platform.core.contract.table import Table, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake import schema as lake_schema
from data_platform.core.lake.damage import Reading, reporting_damage
from data_platform.core.lake.rewriting import compact, migrate
from data_platform.core.lake.schema import StoredOtherwise
from data_platform.core.lake.store import Lake
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform_tests.support.homes import FIRST_DAY, Home

COLUMN = "total_events"
OTHER = pl.Float64()
TOLD = f"{PlayerDailyActivity.key} stores {COLUMN} as .*long.*, which the contract calls .*double.*lake migrate"


def one_row(total: float = 3) -> pl.DataFrame:
    schema = PlayerDailyActivity.schema()
    given = {PlayerDailyActivity.partition: FIRST_DAY, "player_id": "p", COLUMN: total}
    return pl.DataFrame({name: [given.get(name)] for name in schema}, schema=schema, strict=False)


@contextmanager
def column_became(dtype: pl.DataType) -> Iterator[type[Table]]:
    column = PlayerDailyActivity.columns[COLUMN]
    before = column.dtype
    object.__setattr__(column, "dtype", dtype)  # a contract does not change while it is in use, but here
    lake_schema._types.cache_clear()
    try:
        yield PlayerDailyActivity
    finally:
        object.__setattr__(column, "dtype", before)
        lake_schema._types.cache_clear()


def filled(lake: Lake, total: float = 3) -> None:
    lake.replace(PlayerDailyActivity, one_row(total), [FIRST_DAY])
    lake.append(PlayerDailyActivity, one_row(total))


def test_a_write_of_another_type_is_refused_before_the_commit(home: Home) -> None:
    filled(home.lake)
    version = home.lake.version(PlayerDailyActivity)
    with column_became(OTHER) as table, pytest.raises(StoredOtherwise, match=TOLD):
        home.lake.replace(table, one_row(), [FIRST_DAY])
    assert home.lake.version(PlayerDailyActivity) == version
    assert home.rows(PlayerDailyActivity)[COLUMN].to_list() == [3, 3]


def test_a_reader_says_so_and_speaks_of_no_damage(home: Home) -> None:
    filled(home.lake)
    with (
        column_became(OTHER) as table,
        pytest.raises(StoredOtherwise, match=TOLD),
        reporting_damage(home.lake, [Reading(table)]),
    ):
        home.lake.scan(table).collect()


def test_a_migrated_table_holds_the_same_values_in_one_commit(home: Home) -> None:
    filled(home.lake)
    version = home.lake.version(PlayerDailyActivity) or 0
    with column_became(OTHER) as table:
        assert migrate(home.lake, table) == 2
        assert home.lake.version(table) == version + 1
        assert home.rows(table)[COLUMN].to_list() == [3.0, 3.0]
        assert migrate(home.lake, table) == 0
        home.lake.replace(table, one_row(1.5), [FIRST_DAY])
        home.lake.append(table, one_row(2.5))
        assert compact(home.lake, table, at_least_files=2) == 2
        assert sorted(home.rows(table)[COLUMN]) == [1.5, 2.5]


def test_values_that_do_not_fit_are_not_changed_and_the_table_can_be_emptied(home: Home) -> None:
    filled(home.lake, 2**53 + 1)
    with column_became(OTHER) as table:
        with pytest.raises(PlatformError, match=f"values of {COLUMN} do not fit Float64; nothing was changed"):
            migrate(home.lake, table)
        assert migrate(home.lake, table, empty=True) == 0
        assert home.rows(table).is_empty()
        home.lake.replace(table, one_row(1.5), [FIRST_DAY])
        assert home.rows(table)[COLUMN].to_list() == [1.5]


def test_every_contract_stores_what_it_says(home: Home) -> None:
    """Otherwise a table that was just created would be refused."""
    for table in list(contracts().values())[::6]:
        assert lake_schema.other_types(home.lake.ensure(table), table) == {}
