"""What became of orders and payments later: paid and cancelled, moved to another day, given back, disputed.
Each test is one small shop whose right figures are told by hand. Random histories: test_commerce_incremental."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal

import polars as pl

from data_platform.commerce.contracts.metrics import (
    MvDailyMetrics,
    RevenueReconciliation,
    RevenueReconciliationDifferences,
)
from data_platform.commerce.contracts.star import FctOrderItems, FctOrders, FctOrderVersions, FctPayments
from data_platform.commerce.sources import ORDERS, STRIPE_CHARGES
from data_platform.core.contract import Table
from data_platform.core.moved_rows import MovedRows
from data_platform.sources.ingestion import carry_out, landing_of
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


# ------------------------------------------------------------------------------------------- rows that move
def test_an_order_told_of_two_days_is_one_order_on_the_newest(home: Home) -> None:
    """Clocks rounded to whole seconds over midnight: one order, one charge, and nothing on the day it left."""
    placed, rounded = at(10, "23:59"), at(11, "00:00")
    tell(home, "placed", {
        "orders": [order("o-1", placed, "50.00")],
        "order_items": [item("i-1", "o-1", placed, "50.00")],
        "stripe_charges": [charge("ch-1", "o-1", rounded, 5000)],
    })  # fmt: skip
    assert rows(home, FctOrders, "order_date") == [(dt.date(2024, 3, 10),)]
    moved = order("o-1", rounded, "50.00", "fulfilled", operation="update", changed_at=moment(at(11, "12:00")))
    tell(home, "rounded", {"orders": [moved]})
    assert rows(home, FctOrders, "order_date", "order_id", "status") == [(dt.date(2024, 3, 11), "o-1", "fulfilled")]
    assert total(home, "gross_revenue") == 50
    assert rows(home, RevenueReconciliationDifferences) == []
    items = rows(home, FctOrderItems, "order_date", "order_item_id", "revenue")
    assert items == [(dt.date(2024, 3, 10), "i-1", D("50.00"))], "a line stays where it was told"
    versions = rows(home, FctOrderVersions, "order_date", "valid_from", "valid_to", "is_current")
    first, second = dt.datetime(2024, 3, 10, 23, 59, tzinfo=dt.UTC), dt.datetime(2024, 3, 11, 12, tzinfo=dt.UTC)
    assert versions == [
        (dt.date(2024, 3, 10), first, second, False),
        (dt.date(2024, 3, 11), second, None, True),
    ]


def test_what_is_told_of_a_day_that_a_row_left_reaches_the_day_it_is_on(home: Home) -> None:
    """A late change of the old day says that it had been paid: the order is on the new one."""
    there = order("o-1", at(9), "50.00", "cancelled", operation="update", changed_at=moment(at(9, "12:00")))
    tell(home, "newest", {"orders": [there]})
    assert rows(home, FctOrders, "order_date", "is_paid") == [(dt.date(2024, 3, 9), False)]
    tell(home, "late", {"orders": [order("o-1", at(2), "50.00")]})
    assert rows(home, FctOrders, "order_date", "is_paid") == [(dt.date(2024, 3, 9), True)]
    assert total(home, "gross_revenue") == 50


def test_payments_that_move_count_once_and_the_run_that_was_killed_is_reported_again(home: Home) -> None:
    tell(home, "first", {"stripe_charges": [charge("ch-1", "o-1", at(2), 5000)], "orders": [order("o-1", at(2))]})
    moved = charge("ch-1", "o-1", at(4), 1000, observed=at(6))
    home.drop("moved.ndjson", [moved], "stripe_charges")
    landing = landing_of(STRIPE_CHARGES, home.lake, home.landing)
    with landing.locked():
        plan = next(landing.batches())
        touched = [set(carry_out(landing, plan).days) for _ in range(2)]  # the second after a crash
        landing.finish(plan)
    assert touched == [{"2024-03-02", "2024-03-04"}] * 2
    assert len(home.rows(MovedRows)) == 2
    bring_up_to_date(home, {STRIPE_CHARGES.table: touched[0]}, TABLES, DAYS)
    assert rows(home, FctPayments, "payment_date", "payment_id", "amount") == [
        (dt.date(2024, 3, 4), "ch-1", D("10.00"))
    ]


def test_rows_that_moved_before_the_lake_kept_a_record_of_it_are_found_by_the_next_batch(home: Home) -> None:
    moved = [order("o-1", at(day), changed_at=moment(at(day, "12:00"))) for day in (3, 5)]
    receive(home, "before", {"orders": moved})
    shutil.rmtree(home.path / "lake" / "raw" / "moved_rows")
    written = receive(home, "after", {"orders": [order("o-2", at(4))]})
    assert {"2024-03-03", "2024-03-05"} <= written[ORDERS.table]
    bring_up_to_date(home, written, TABLES, DAYS)
    assert rows(home, FctOrders, "order_id", "order_date") == [
        ("o-2", dt.date(2024, 3, 4)), ("o-1", dt.date(2024, 3, 5)),
    ]  # fmt: skip
