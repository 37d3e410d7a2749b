"""A contract with a column of each kind, and its rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl

from data_platform.core.contract.table import JsonObject, Personal, Rule, Severity, Table, column
from data_platform_tests.support.homes import FIRST_DAY


def make_table() -> type[Table]:
    class Orders(Table):
        """Orders of
        a day."""

        key = "testing/orders"
        partition = "order_date"
        primary_key = ("order_date", "order_id")
        owner = "team:testing"
        row_rules = (
            Rule("paid_after_ordered", "paid_at ≥ ordered_at", pl.col("paid_at") >= pl.col("ordered_at")),
            Rule("round", "amount is round", pl.col("amount") % 1 == 0, Severity.WARNING),
        )

        order_id: str = column("Id.", min_length=2, pattern="^o")
        order_date: dt.date = column("Day.")
        ordered_at: dt.datetime = column("When.")
        paid_at: dt.datetime | None = column("When paid.")
        amount: Decimal = column("Price.", unit="EUR", ge=Decimal(0), le=Decimal(1000))
        status: str | None = column("State.", isin=("new", "paid"), severity=Severity.WARNING)
        details: JsonObject | None = column("More.", personal=Personal.CONTENT)
        tags: list[str] | None = column("Tags.")

    return Orders


def order(**changes: Any) -> dict[str, Any]:
    return {
        "order_date": FIRST_DAY, "order_id": "o-1",
        "ordered_at": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "paid_at": None,
        "amount": Decimal("5.00"), "status": "new", "details": None, "tags": None,
    } | changes  # fmt: skip
