"""Changes of one transaction share `changed_at`: which of them holds, in the SQL models (of gameplay: test_registry).
Not here: what the change means for money."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_platform.core.contract.table import Table
from data_platform.domains.commerce.contracts.star import (
    DimProducts,
    DimUsers,
    FctOrderItems,
    FctOrders,
    FctOrderVersions,
)
from data_platform_tests.support.commerce_homes import bring_up_to_date, item, order, product, receive, user
from data_platform_tests.support.homes import Home, Row

DAYS = [dt.date(2024, 3, 1) + dt.timedelta(n) for n in range(5)]
TABLES: tuple[type[Table], ...] = (DimUsers, DimProducts, FctOrders, FctOrderVersions, FctOrderItems)
BEFORE, AT = "2024-03-01 00:00", "2024-03-03 09:00"
Files = Mapping[str, Sequence[Row]]


def files_of(numbered: Mapping[str, Sequence[Any]]) -> Files:
    """A transaction over all tables; `numbered` gives the sequences, if any, of each user's changes."""
    users = {
        "u-gold": [user("u-gold", AT, "update", plan="silver"), user("u-gold", AT, "update", plan="gold")],
        "u-back": [user("u-back", AT, "delete"), user("u-back", AT, "insert", plan="silver")],
        "u-gone": [user("u-gone", AT, "update", plan="gold"), user("u-gone", AT, "delete")],
        "u-number": [user("u-number", AT, "update", plan="gold"), user("u-number", AT, "update", plan="silver")],
    }
    for name, sequences in numbered.items():
        for change, sequence in zip(users[name], sequences, strict=True):
            change["sequence"] = sequence
    return {
        "users": [user(name, BEFORE) for name in users] + [change for some in users.values() for change in some],
        "products": [
            product("gem", BEFORE), product("gem", AT, "7.00", "update"), product("gem", AT, "6.00", "update"),
        ],
        "orders": [
            order("o-1", AT, status="shipped"), order("o-1", AT, status="paid", operation="update"),
            order("o-2", AT), order("o-2", AT, operation="delete"), order("o-2", AT, "20.00"),
        ],
        "order_items": [item("i-1", "o-1", AT, "1.00"), item("i-1", "o-1", AT, "10.00", operation="update")],
    }  # fmt: skip


@pytest.fixture(scope="module", params=["one file", "three files", "told again"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The same lines, whole, cut into files that arrive one by one, and with the first of them delivered once more."""
    home = Home(Path(tmp_path_factory.mktemp("shop")))
    everything = files_of({"u-number": ["0/A", 9]})
    with home.used():
        if request.param == "three files":
            for n in range(3):
                part = {
                    folder: some[len(some) * n // 3 : len(some) * (n + 1) // 3] for folder, some in everything.items()
                }
                bring_up_to_date(home, receive(home, f"part-{n}", part), TABLES, DAYS)
        else:
            bring_up_to_date(home, receive(home, "part-0", everything), TABLES, DAYS)
        if request.param == "told again":
            again = {folder: [line for line in some if line["changed_at"][8:10] == "03"][:1]
                     for folder, some in everything.items()}  # fmt: skip
            bring_up_to_date(home, receive(home, "part-9", again), TABLES, DAYS)
    return home


def test_the_last_change_of_a_transaction_holds(shop: Home) -> None:
    now = shop.rows(DimUsers).filter("is_current").sort("user_id")
    assert now.select("user_id", "plan").rows() == [("u-back", "silver"), ("u-gold", "gold"), ("u-number", "gold")]
    assert shop.rows(DimUsers)["user_id"].to_list().count("u-back") == 2, "the deleted version and the new one"
    assert shop.rows(DimProducts).filter("is_current")["list_price"].to_list() == [6]
    orders = shop.rows(FctOrders).sort("order_id").select("order_id", "status", "amount").rows()
    assert orders == [("o-1", "paid", 10), ("o-2", "paid", 20)]
    assert shop.rows(FctOrderVersions)["is_current"].to_list() == [True, True]
    assert shop.rows(FctOrderItems)["unit_price"].to_list() == [10]
