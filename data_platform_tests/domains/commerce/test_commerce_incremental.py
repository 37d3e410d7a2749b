"""Commerce computed day by day as things arrive equals computing it once, to the cent; and only dependent days are.
Not here: what a single table means (test_commerce_models)."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from data_platform.core.contract.table import Table
from data_platform.domains.commerce.contracts.metrics import (
    CustomerLifetime,
    CustomerLifetimeSnapshots,
    MvDailyMetrics,
    PaymentExceptions,
    RevenueReconciliation,
    RevenueReconciliationDifferences,
)
from data_platform.domains.commerce.contracts.star import (
    BalanceTransactions,
    FctOrderItems,
    FctOrders,
    FctOrderVersions,
    FctPayments,
    RejectedRows,
)
from data_platform.domains.commerce.sources import SOURCES
from data_platform_tests.support.commerce_homes import (
    bring_up_to_date,
    charge,
    contents,
    item,
    moment,
    order,
    payout,
    receive,
    refund,
    user,
)
from data_platform_tests.support.homes import Home, Row, assert_same_tables

DAYS = [dt.date(2024, 3, 28) + dt.timedelta(n) for n in range(6)]
"""Over a month's end and the night clocks change in Europe (March 31)."""
TABLES: tuple[type[Table], ...] = (
    FctOrders, FctOrderVersions, BalanceTransactions, FctPayments, MvDailyMetrics, RevenueReconciliationDifferences,
)  # fmt: skip
MORE_TABLES: tuple[type[Table], ...] = (
    *TABLES, FctOrderItems, RejectedRows, CustomerLifetime, CustomerLifetimeSnapshots, PaymentExceptions,
)  # fmt: skip
ALL_DAYS = [DAYS[0] + dt.timedelta(n) for n in range(-4, 12)]


def at(day: int, minute: int) -> str:
    return f"{DAYS[day]} {minute // 60:02}:{minute % 60:02}"


Line = tuple[str, Row]


@st.composite
def order_history(draw: st.DrawFn, number: int) -> list[Line]:
    """What is told of one order: its changes, a charge, perhaps a refund, perhaps its payout; now and then wrong."""
    day, minute = draw(st.integers(0, 3)), draw(st.integers(0, 1439))
    cents, currency = draw(st.integers(0, 99_999)), draw(st.sampled_from(["USD", "EUR", "JPY"]))
    amount = str(cents) if currency == "JPY" else f"{cents // 100}.{cents % 100:02}"
    name, user_id = f"o-{number}", draw(st.sampled_from(["u-1", "u-2", None]))
    lines: list[Line] = []
    statuses = draw(st.lists(st.sampled_from(["pending", "paid", "cancelled", "refunded"]), min_size=2, max_size=4))
    tied = draw(st.integers(0, 4)) == 0
    moves = [day, *draw(st.lists(st.sampled_from([day, day, day, (day + 1) % 4]), min_size=4, max_size=4))]
    for step, status in enumerate(statuses):
        line = order(name, at(moves[step], minute), amount, status, user_id=user_id, currency=currency)
        line |= {
            "operation": "update" if step else "insert",
            "changed_at": moment(at(day, minute) if tied else at(min(day + step, 5), minute)),
            # Without it the place in the files decides, and the same lines are in other files each time.
            "sequence": draw(st.sampled_from([8 + step, f"{8 + step}", f"0/{8 + step:X}"])),
        }
        lines.append(("orders", line))
    if draw(st.integers(0, 9)) == 0:
        lines.append(
            ("orders", {**lines[-1][1], "operation": "delete", "changed_at": moment(at(5, 1439)), "sequence": 99})
        )
    lines.append(("order_items", item(f"i-{number}", name, at(day, minute), amount,
                                      draw(st.sampled_from([1, 1, 1, -1, 0])), currency=currency)))  # fmt: skip
    charged = draw(st.sampled_from([cents, cents, cents, cents + 1]))
    if draw(st.booleans()):
        lines.append(("stripe_charges", charge(f"ch-{number}", name, at(day, minute), charged, currency.lower())))
        if draw(st.integers(0, 3)) == 0:  # created on another day, as its newest version says
            again = charge(f"ch-{number}", name, at(day + 1, 0), charged, currency.lower(), observed=at(5, 0))
            lines.append(("stripe_charges", again))
    if draw(st.booleans()):
        refunded = draw(st.integers(0, cents))
        lines.append(("stripe_refunds", refund(f"re-{number}", name, at(day + 1, minute), refunded, currency.lower())))
        if draw(st.booleans()):
            paid = payout(
                f"po-{number}", at(day + 2, 360), ("refund", f"re-{number}", -refunded), currency=currency.lower()
            )
            lines.append(("stripe_payouts", paid))
    return lines


@st.composite
def deliveries(draw: st.DrawFn, count: int) -> list[list[Line]]:
    """The histories of some orders, in so many batches: in any order, with copies."""
    lines = [one for number in range(draw(st.integers(6, 12))) for one in draw(order_history(number))]
    lines.append(("users", user("u-1", at(0, 0))))
    lines.append(("users", user("u-1", at(2, 600), "update", plan="gold")))
    lines += draw(st.lists(st.sampled_from(lines), max_size=5))
    batches: list[list[Line]] = [[] for _ in range(count)]
    for one in lines:
        batches[draw(st.integers(0, count - 1))].append(one)
    return batches


def by_folder(lines: Iterable[Line]) -> dict[str, list[Row]]:
    folders: dict[str, list[Row]] = defaultdict(list)
    for folder, row in lines:
        folders[folder].append(row)
    return folders


def every_day() -> dict[type[Table], set[str]]:
    return {source.table: {str(day) for day in ALL_DAYS} for source in SOURCES}


def check_incremental(batches: list[list[Line]], tables: tuple[type[Table], ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pieces, whole = Home(Path(folder) / "pieces"), Home(Path(folder) / "whole")
        with pieces.used():
            for number, batch in enumerate(batches):
                written = receive(pieces, f"batch-{number}", by_folder(batch))
                if number == 0:  # every day is computed once, also those without anything
                    written = every_day()
                bring_up_to_date(pieces, written, tables, ALL_DAYS)
        with whole.used():
            everything = [line for batch in batches for line in batch]
            receive(whole, "all", by_folder(reversed(everything)))
            bring_up_to_date(whole, every_day(), tables, ALL_DAYS)
        one, other = contents(pieces, tables), contents(whole, tables)
        assert_same_tables(one, other)
        check_totals(batches, whole)


def position(row: Row) -> int:
    """The sequence of a change: a number, its text, or PostgreSQL's hexadecimal."""
    text = str(row["sequence"])
    return int(text.removeprefix("0/"), 16 if "/" in text else 10)


def check_totals(batches: list[list[Line]], home: Home) -> None:
    """Orders and their money against plain Python over the lines."""
    rows = [row for batch in batches for folder, row in batch if folder == "orders"]
    newest: dict[str, Row] = {}
    for row in rows:
        known = newest.get(row["order_id"])
        if known is None or (row["changed_at"], position(row)) > (known["changed_at"], position(known)):
            newest[row["order_id"]] = row
    paid = {row["order_id"] for row in rows if row["status"] in ("paid", "refunded")}
    expected = {
        name: (row["status"], Decimal(row["total_amount"]) if name in paid else Decimal(0))
        for name, row in newest.items()
        if row["operation"] != "delete"
    }
    facts = home.rows(FctOrders)
    found = {name: (status, revenue) for name, status, revenue in facts.select("order_id", "status", "revenue").rows()}
    assert found == expected
    for table, name in ((FctOrders, "order_id"), (FctPayments, "payment_id")):
        assert not home.rows(table)[name].is_duplicated().any(), "one row, whatever days it was told of"
    same = [name for name in FctOrderVersions.columns if name in FctOrders.columns]
    current = home.rows(FctOrderVersions).filter("is_current").sort("order_id")
    assert current.select(same).equals(facts.sort("order_id").select(same)), "the order is its current version"
    assert current["valid_from"].equals(facts.sort("order_id")["changed_at"])
    gross = home.rows(MvDailyMetrics).group_by("currency").agg("gross_revenue").rows()
    assert sum(sum(days) for _, days in gross) == sum(revenue for _, revenue in expected.values())


# An example takes seconds, and shrinking one takes hundreds of them.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(max_examples=1, phases=UNSHRUNK)
@given(deliveries(2).filter(all))
def test_incremental_equals_full_refresh(batches: list[list[Line]]) -> None:
    """The first history that hypothesis makes has all in one batch, without a choice: nothing to build on."""
    check_incremental(batches, TABLES)


@pytest.mark.soak
@settings(max_examples=100, phases=UNSHRUNK)
@given(deliveries(3))
def test_incremental_equals_full_refresh_over_many_histories(batches: list[list[Line]]) -> None:
    check_incremental(batches, MORE_TABLES)


def test_late_changes_and_refunds_compute_exactly_the_days_that_depend_on_them(home: Home) -> None:
    tables = [
        FctOrders,
        FctOrderItems,
        BalanceTransactions,
        FctPayments,
        RevenueReconciliationDifferences,
        RevenueReconciliation,
    ]
    receive(home, "first", {
        "users": [user("u-1", at(0, 0))],
        "orders": [order(f"o-{n}", at(n, 600), status="pending") for n in range(5)],
        "stripe_charges": [charge(f"ch-{n}", f"o-{n}", at(n, 600), 1000) for n in range(5)],
    })  # fmt: skip
    late = {"orders": [order("o-1", at(1, 600), operation="update", changed_at=moment(at(4, 0)))]}
    done = bring_up_to_date(home, receive(home, "late", late), tables, DAYS)
    assert done[FctOrders.key] == [str(DAYS[1])]
    assert done[FctOrderItems.key] == [str(DAYS[1])]
    assert done[FctPayments.key] == []
    assert done[RevenueReconciliationDifferences.key] == [str(day) for day in DAYS[1:5]]

    refunds = {"stripe_refunds": [refund("re-2", "o-2", at(2, 700), 500)]}
    done = bring_up_to_date(home, receive(home, "refund", refunds), tables, DAYS)
    assert done[FctOrders.key] == []
    assert done[FctPayments.key] == [str(DAYS[2])]

    changed = {"users": [user("u-1", at(3, 0), "update", plan="gold")]}
    done = bring_up_to_date(home, receive(home, "user", changed), tables, DAYS)
    assert done[FctOrders.key] == [str(day) for day in DAYS[3:]]
    assert done[FctPayments.key] == []


def test_the_night_the_clocks_change_has_its_orders_once_on_their_days(home: Home) -> None:
    """Clocks go from 01:59 to 03:00 in Berlin at 01:00 UTC on 2024-03-31; UTC days do not notice."""
    hours = ((30, 22), (30, 23), (31, 0), (31, 1), (31, 21), (31, 22))
    lines = {"orders": [order(f"o-{n}", f"2024-03-{day} {hour:02}:30") for n, (day, hour) in enumerate(hours)]}
    bring_up_to_date(home, receive(home, "night", lines), [FctOrders], DAYS)
    found = home.rows(FctOrders).sort("ordered_at").select("order_date", "business_date").rows()
    thirtieth, thirty_first, first = dt.date(2024, 3, 30), dt.date(2024, 3, 31), dt.date(2024, 4, 1)
    assert found == [
        (thirtieth, thirtieth),  # 22:30 UTC is 23:30 in winter
        (thirtieth, thirty_first),
        (thirty_first, thirty_first),
        (thirty_first, thirty_first),
        (thirty_first, thirty_first),  # 21:30 UTC is 23:30 in summer
        (thirty_first, first),
    ]
