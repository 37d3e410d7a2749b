"""What became of orders and payments later: paid and cancelled, moved to another day, given back, disputed.
Each test is one small shop whose right figures are told by hand. Random histories: test_commerce_incremental."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal

import polars as pl

from data_platform.commerce.contracts.metrics import (
    MvDailyMetrics,
    RevenueReconciliation,
    RevenueReconciliationDifferences,
)
from data_platform.commerce.contracts.star import FctOrderItems, FctOrders, FctOrderVersions, FctPayments
from data_platform.core.contract import Table
from data_platform_tests.commerce_homes import (
    bring_up_to_date,
    charge,
    item,
    moment,
    order,
    payout,
    receive,
    refund,
)
from data_platform_tests.homes import Home, Row

D = Decimal
FIRST = dt.date(2024, 3, 1)
DAYS = [FIRST + dt.timedelta(n) for n in range(15)]
TABLES: tuple[type[Table], ...] = (
    FctOrders, FctOrderVersions, FctOrderItems, FctPayments, MvDailyMetrics, RevenueReconciliationDifferences,
    RevenueReconciliation,
)  # fmt: skip


def at(day: int, clock: str = "10:00") -> str:
    """The `day`th of March."""
    return f"2024-03-{day:02} {clock}"


def tell(home: Home, name: str, folders: Mapping[str, Sequence[Row]], tables: Sequence[type[Table]] = TABLES) -> None:
    """Take the lines in and compute what depends on them, as the platform would."""
    bring_up_to_date(home, receive(home, name, folders), tables, DAYS)


def rows(home: Home, table: type[Table], *columns: str) -> list[tuple[object, ...]]:
    return home.rows(table).sort(table.primary_key).select(columns).rows()


def total(home: Home, column: str) -> Decimal:
    return sum(home.rows(MvDailyMetrics)[column].to_list(), D(0))


def changed(order_id: str, placed: str, changes: Sequence[tuple[str, str]], amount: str = "100.00") -> list[Row]:
    """An order's changes: (status, when)."""
    return [
        order(order_id, placed, amount, status, operation="update" if n else "insert", changed_at=moment(when))
        for n, (status, when) in enumerate(changes)
    ]


def test_an_order_that_was_paid_stays_paid_whatever_became_of_it(home: Home) -> None:
    """Paid, refunded, then cancelled: revenue on its day, refunds on theirs, nothing left and nothing differing."""
    tell(home, "first", {
        "orders": [
            *changed("o-cancelled", at(5), [("pending", at(5)), ("paid", at(5)), ("cancelled", at(7))]),
            *changed("o-reopened", at(5), [("fulfilled", at(5)), ("pending", at(6))]),
            *changed("o-never", at(5), [("pending", at(5)), ("cancelled", at(6))]),
        ],
        "order_items": [item("i-1", "o-cancelled", at(5), "100.00"), item("i-2", "o-never", at(5), "100.00")],
        "stripe_charges": [
            charge("ch-1", "o-cancelled", at(5), 10000), charge("ch-2", "o-reopened", at(5), 10000),
        ],
        "stripe_refunds": [refund("re-1", "o-cancelled", at(7), 10000)],
        "stripe_payouts": [payout("po-1", at(8, "00:00"), ("refund", "re-1", -10000))],
    })  # fmt: skip
    assert rows(home, FctOrders, "order_id", "status", "is_paid", "revenue") == [
        ("o-cancelled", "cancelled", True, D("100.00")),
        ("o-never", "cancelled", False, D("0.00")),
        ("o-reopened", "pending", True, D("100.00")),
    ]
    assert rows(home, FctOrderItems, "order_item_id", "revenue") == [("i-1", D("100.00")), ("i-2", D("0.00"))]
    versions = rows(home, FctOrderVersions, "order_id", "status", "is_paid")
    assert versions == [
        ("o-cancelled", "paid", True),  # the pending of the same instant is no version
        ("o-cancelled", "cancelled", True),
        ("o-never", "pending", False),
        ("o-never", "cancelled", False),
        ("o-reopened", "fulfilled", True),
        ("o-reopened", "pending", True),
    ]
    assert (total(home, "gross_revenue"), total(home, "refunds"), total(home, "net_revenue")) == (200, 100, 100)
    assert rows(home, RevenueReconciliationDifferences) == []
    fifth = home.rows(RevenueReconciliation).filter(pl.col("reconciliation_date") == dt.date(2024, 3, 5))
    assert fifth.select("ordered_amount", "charged_amount", "differences").rows() == [(D(200), D(200), 0)]
