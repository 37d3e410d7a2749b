"""Lake tables as SQL sees them: the days that are shown, columns that are newer than files, what comes back typed.
Not here: which days a model is shown (test_dbt_bridge)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import duckdb
import polars as pl
import pytest

from data_platform.core.contract.table import Table, column
from data_platform.core.errors import PlatformError
from data_platform.warehouse.computing import Computed, Computing
from data_platform.warehouse.relations import fetched, show_files
from data_platform_tests.support.homes import Home

DAYS = [dt.date(2024, 3, day) for day in (1, 2, 3)]


class Amounts(Table):
    """A table of these tests."""

    key = "testing/amounts"
    partition = "day"
    primary_key = ("day", "name")
    owner = "team:testing"

    day: dt.date = column("Day.")
    name: str = column("Name.")
    amount: Decimal = column("Amount.")
    count: int | None = column("Count.")


def amounts(*rows: tuple[str, str, str, int]) -> pl.DataFrame:
    made = [(dt.date.fromisoformat(day), name, Decimal(amount), count) for day, name, amount, count in rows]
    return pl.DataFrame(made, schema=Amounts.schema(), orient="row")


def test_sql_sees_the_days_it_is_shown_of_the_table_as_it_stood(home: Home) -> None:
    home.lake.replace(Amounts, amounts(("2024-03-01", "a", "1.10", 1), ("2024-03-02", "b", "2.20", 2)), DAYS)
    connection = duckdb.connect()
    snapshot = home.lake.snapshot(Amounts)
    show_files(connection, home.lake, Amounts, snapshot.paths(DAYS[1], DAYS[2]), name="shown")
    show_files(connection, home.lake, Amounts, snapshot.paths())
    home.lake.replace(Amounts, amounts(("2024-03-02", "later", "9.00", 9)), [DAYS[1]])
    assert connection.sql("SELECT day, name, amount FROM testing.shown").fetchall() == [(DAYS[1], "b", Decimal("2.20"))]
    assert connection.sql("SELECT count(*) FROM testing.amounts").fetchall() == [(2,)]


def test_a_table_that_was_never_written_is_empty_and_typed(home: Home) -> None:
    connection = duckdb.connect()
    show_files(connection, home.lake, Amounts, [])
    columns = connection.sql("DESCRIBE testing.amounts").fetchall()
    assert [(name, type_) for name, type_, *_ in columns] == [
        ("day", "DATE"), ("name", "VARCHAR"), ("amount", "DECIMAL(18,2)"), ("count", "BIGINT"),
    ]  # fmt: skip


def test_columns_newer_than_the_files_are_null(home: Home) -> None:
    class Wider(Amounts):
        """The same table with a column more."""

        key = "testing/amounts"
        note: str | None = column("Note.")

    home.lake.replace(Amounts, amounts(("2024-03-01", "a", "1.10", 1)), DAYS)
    connection = duckdb.connect()
    show_files(connection, home.lake, Wider, home.lake.snapshot(Wider).paths())
    assert connection.sql("SELECT name, note FROM testing.amounts").fetchall() == [("a", None)]


def test_some_days_are_shown_and_then_all_of_them_again(home: Home) -> None:
    three = amounts(("2024-03-01", "a", "1.10", 1), ("2024-03-02", "b", "2.20", 2), ("2024-03-03", "c", "3.30", 3))
    home.lake.replace(Amounts, three, DAYS)
    connection = duckdb.connect()
    computing = Computing(connection, home.lake, DAYS[2], None, 1000)

    def shown(*days: dt.date) -> list[str]:
        computing.show(Amounts, *days)
        return [name for (name,) in connection.sql("SELECT name FROM testing.amounts ORDER BY name").fetchall()]

    assert shown() == ["a", "b", "c"]
    for _ in range(2):
        assert shown(DAYS[0], DAYS[0]) == ["a"]
        assert shown(DAYS[1], DAYS[2]) == ["b", "c"]
        assert shown() == ["a", "b", "c"]
    computing.computed[Amounts.key] = Computed(Amounts, "")
    home.lake.replace(Amounts, amounts(("2024-03-02", "other", "9.00", 9)), [DAYS[1]])
    assert shown(DAYS[1], DAYS[2]) == ["b", "c"], "as the run found it"
    computing.published(Amounts.key)
    assert shown() == ["a", "c", "other"]
    assert shown(DAYS[1], DAYS[1]) == ["other"]
    assert shown() == ["a", "c", "other"]


def test_wider_numbers_come_back_as_declared_but_money_is_never_rounded() -> None:
    connection = duckdb.connect()
    good = "SELECT DATE '2024-03-01' AS day, 'a' AS name, 1.5::DECIMAL(38, 2) AS amount, 3::INTEGER AS count"
    connection.execute(f"CREATE TABLE good AS {good}")
    assert fetched(connection, "good", Amounts).rows() == [(DAYS[0], "a", Decimal("1.50"), 3)]
    for finer in ("1.005::DECIMAL(18, 3)", "1.5::DOUBLE"):
        connection.execute(f"CREATE OR REPLACE TABLE bad AS {good.replace('1.5::DECIMAL(38, 2)', finer)}")
        with pytest.raises(PlatformError, match=r"amount is .*, declared Decimal"):
            fetched(connection, "bad", Amounts)
