"""Commerce's landing folders: what is taken in, what is refused, and the simulated shop that fills them.
Not here: what models make of it (test_commerce_models)."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections import Counter
from pathlib import Path

import polars as pl

from data_platform.domains.commerce.contracts.metrics import RevenueReconciliationDifferences
from data_platform.domains.commerce.contracts.sources import RawOrderChanges, RawOrderChangesRejected, RawStripeCharges
from data_platform.domains.commerce.contracts.star import (
    BalanceTransactions,
    FctOrderItems,
    FctOrders,
    FctPayments,
    RejectedRows,
)
from data_platform.domains.commerce.sources import SOURCES
from data_platform.simulation import simulate
from data_platform_tests.support.commerce_homes import charge, compute_and_publish, drop, moment, order, receive
from data_platform_tests.support.homes import Home, Row

START = dt.date(2024, 3, 1)
DAYS = [START + dt.timedelta(n) for n in range(8)]


def lines(landing: Path, folder: str) -> list[Row]:
    files = sorted((landing / folder).glob("*.gz"))
    return [json.loads(line) for file in files for line in gzip.open(file, "rt", encoding="utf-8")]


def test_late_changes_are_filed_under_the_day_of_their_order(home: Home) -> None:
    late = order("o-1", "2024-03-01 10:00", operation="update", changed_at=moment("2024-03-20 00:00"))
    assert receive(home, "late", {"orders": [late]}) == {RawOrderChanges: {"2024-03-01"}}


def test_an_object_of_an_api_is_kept_as_it_came(home: Home) -> None:
    sent = charge("ch-1", "o-1", "2024-03-01 10:00", 1000)
    sent["payload"]["nested"] = {"deep": [1, {"more": "ü"}], "none": None}
    receive(home, "charges", {"stripe_charges": [sent]})
    assert json.loads(home.rows(RawStripeCharges)["payload"][0]) == sent["payload"]


def test_what_cannot_be_a_change_is_rejected_with_a_reason_and_a_file_counts_once(home: Home) -> None:
    good = order("o-1", "2024-03-01 10:00")
    bad = {
        "missing_order_id": {**good, "order_id": ""},
        "missing_currency": {name: value for name, value in good.items() if name != "currency"},
        "wrong_type_total_amount": {**good, "total_amount": 10.0},
        "unknown_operation": {**good, "operation": "merge"},
        "ordered_at_before_first_day": {**good, "ordered_at": "2020-01-01T00:00:00Z"},
    }
    for name in ("a", "b"):
        drop(home, name, {"orders": [good, *bad.values()]})
        home.ingest()
    assert home.rows(RawOrderChanges).height == 1
    assert sorted(home.rows(RawOrderChangesRejected)["reason"]) == sorted(bad)


def test_the_simulated_shop_is_the_same_for_the_same_arguments(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for to in (one, other):
        simulate(40, 3, 7, START, to, dirty=True)
    not_simulated = {"stripe_customers", "stripe_subscriptions", "sendgrid_stats"}
    for source in SOURCES:
        if source.name in not_simulated:
            assert not (one / source.name).exists()
            continue
        files = sorted(path.name for path in (one / source.name).iterdir())
        assert files == sorted(path.name for path in (other / source.name).iterdir())
        for name in files:
            assert (one / source.name / name).read_bytes() == (other / source.name / name).read_bytes()


def test_the_simulated_shop_reconciles_and_its_bad_lines_are_rejected(home: Home) -> None:
    """Orders by players, payments in minor units, refunds days later, payouts the next morning: all agree."""
    simulate(150, len(DAYS), 3, START, home.landing, dirty=True)
    items, orders = lines(home.landing, "order_items"), lines(home.landing, "orders")
    users = {row["user_id"] for row in lines(home.landing, "users")}
    copies = len(orders) - len({json.dumps(row) for row in orders})
    statuses = Counter(row["status"] for row in orders)
    assert {row["user_id"] for row in orders} <= users
    assert copies > 0
    assert {"pending", "paid", "cancelled", "refunded"} <= statuses.keys()

    results = home.ingest()
    taken = {source.name for source in SOURCES}
    assert all(r.rejected == 0 for r in results if r.source.name in taken)
    assert home.rows(RawOrderChanges).height == len(orders)
    for table in (
        FctOrders,
        FctOrderItems,
        BalanceTransactions,
        FctPayments,
        RejectedRows,
        RevenueReconciliationDifferences,
    ):
        verdicts = compute_and_publish(home, table, DAYS).verdicts
        assert not verdicts.blocked(), verdicts.failures[:3]
        assert not [v for v in verdicts.failures if v.rule == "items_add_up_to_their_order"]

    facts = home.rows(FctOrders)
    assert set(facts["order_id"]) == {row["order_id"] for row in orders}
    assert facts["user_key"].null_count() == 0
    bad = {row["order_item_id"] for row in items if row["order_item_id"].startswith(("negative-", "foreign-"))}
    rejected = home.rows(RejectedRows).select("row_id", "reason").rows()
    reasons = {"n": "negative_quantity", "f": "currency_mismatch"}
    assert len(bad) > 2
    assert dict(rejected) == {name: reasons[name[0]] for name in bad}
    differences = home.rows(RevenueReconciliationDifferences).filter(pl.col("reconciliation_date") < DAYS[-2])
    assert differences.is_empty(), differences
    assert home.rows(FctPayments).filter(pl.col("payment_type") == "refund").height > 1
