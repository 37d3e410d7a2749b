"""What the models make of users, orders and payments: history, rejections, money, calendars, reconciliation.
One crafted shop, built once through Dagster. Not here: incremental runs, the bridge itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

import polars as pl
import pytest

from data_platform.core.contract.table import Table
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.domains.commerce.contracts.metrics import (
    CustomerLifetime,
    FctDailyActiveUsers,
    MvDailyMetrics,
    RevenueReconciliation,
    RevenueReconciliationDifferences,
    RevenueRetentionCohorts,
)
from data_platform.domains.commerce.contracts.star import (
    BalanceTransactions,
    DimDate,
    DimProducts,
    DimUsers,
    FctEmailEngagement,
    FctEvents,
    FctOrderItems,
    FctOrders,
    FctPayments,
    RejectedRows,
)
from data_platform_tests.support.commerce_homes import (
    charge,
    compute_and_publish,
    drop,
    email,
    envelope,
    item,
    moment,
    order,
    payout,
    product,
    receive,
    refund,
    user,
)
from data_platform_tests.support.homes import Home, event

D = Decimal
DAY = dt.date
TABLES: tuple[type[Table], ...] = (
    DimUsers, DimProducts, DimDate, FctOrders, FctOrderItems, BalanceTransactions, FctPayments, RejectedRows, FctEvents,
    FctEmailEngagement, FctDailyActiveUsers, MvDailyMetrics, RevenueReconciliationDifferences,
    RevenueRetentionCohorts, CustomerLifetime,
)  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A shop of five days with one of everything that can go wrong."""
    home = Home(tmp_path_factory.mktemp("shop") / "home")
    orders = [
        order("o-1", "2024-01-30 10:00", "10.00", "pending"),
        order("o-1", "2024-01-30 10:00", "10.00", operation="update", changed_at=moment("2024-01-30 10:01")),
        order("o-before", "2024-01-30 09:00", "7.00", "cancelled"),
        order("o-jpy", "2024-01-31 23:59", "1500", user_id="u-2", currency="jpy"),
        order("o-guest", "2024-02-01 00:30", "3.50", user_id=None),
        order("o-bad", "2024-02-01 12:00", "1.005"),
        order("o-odd", "2024-02-01 12:00", "5.00", currency="XXX"),
        order("o-gone", "2024-02-01 13:00", "5.00", operation="delete"),
        order("o-late", "2024-02-02 09:00", "20.00"),
        order("o-back", "2024-02-03 09:00", "4.00", order_type="return"),
    ]
    drop(home, "all", {
        "users": [
            user("u-1", "2024-01-30 08:00", email=" U-1@Example.org"),
            user("u-1", "2024-01-30 09:30", "update", plan="gold"),
            user("u-1", "2024-01-30 09:45", "update", plan="gold"),
            user("u-1", "2024-01-31 08:00", "delete"),
            user("u-1", "2024-02-02 08:00", "insert"),
            user("u-2", "2024-01-30 08:00", country="jp"),
        ],
        "products": [product("gem", "2024-01-30 00:00"), product("gem", "2024-02-02 00:00", "6.00", "update")],
        "orders": [*orders, orders[0]],
        "order_items": [
            item("i-1", "o-1", "2024-01-30 10:00", "2.50", 4),
            item("i-minus", "o-1", "2024-01-30 10:00", quantity=-1),
            item("i-foreign", "o-1", "2024-01-30 10:00", currency="EUR"),
            item("i-late", "o-late", "2024-02-02 09:00", "20.00"),
            item("i-lost", "o-nobody", "2024-02-02 09:00"),
        ],
        "stripe_charges": [
            charge("ch-1", "o-1", "2024-01-30 10:01", 1000, status="pending", observed="2024-01-30 10:01"),
            charge("ch-1", "o-1", "2024-01-30 10:01", 1000, observed="2024-01-30 10:02"),
            charge("ch-jpy", "o-jpy", "2024-02-01 00:00", 1500, "jpy"),
            charge("ch-guest", "o-guest", "2024-02-01 00:31", 350),
            charge("ch-late", "o-late", "2024-02-02 09:00", 1999),
            charge("ch-stray", "o-unknown", "2024-02-02 10:00", 100),
            charge("ch-minus", "o-1", "2024-02-02 11:00", -5),
        ],
        "stripe_refunds": [
            refund("re-1", "o-1", "2024-02-01 10:00", 400),
            refund("re-unpaid", "o-guest", "2024-02-03 10:00", 50),
        ],
        "stripe_payouts": [payout("po-1", "2024-02-02 06:00", ("refund", "re-1", -400), ("charge", "ch-guest", 350))],
        "sendgrid_events": [
            email("e-1", "u-1", "2024-01-30 10:05", "delivered"),
            email("e-2", "u-1", "2024-01-30 10:06", "open"),
            email("e-2", "u-1", "2024-01-30 10:06", "open"),
            email("e-3", None, "2024-01-30 10:06", "open"),
        ],
    })  # fmt: skip
    days = ("2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02", "2024-02-03")
    home.drop("events.ndjson", [
        event(event_id=f"ev-{day}", player_id="u-1", timestamp=f"{day}T12:00:00Z") for day in days
    ] + [event(event_id="ev-other", player_id="u-2", timestamp="2024-01-30T12:00:00Z")])  # fmt: skip
    with home.used():
        home.build([table.key for table in TABLES])
        yield home


def rows(home: Home, table: type[Table], *columns: str, **equal: object) -> list[tuple[object, ...]]:
    frame = home.rows(table).sort(table.primary_key)
    for name, value in equal.items():
        frame = frame.filter(pl.col(name) == value)
    return frame.select(columns).rows()


def test_versions_of_a_user_follow_one_another_and_changes_that_change_nothing_make_none(shop: Home) -> None:
    found = sorted(rows(shop, DimUsers, "valid_from", "valid_to", "plan", "is_current", user_id="u-1"))
    at = [dt.datetime(2024, 1, 30, 8, tzinfo=dt.UTC), dt.datetime(2024, 1, 30, 9, 30, tzinfo=dt.UTC),
          dt.datetime(2024, 1, 31, 8, tzinfo=dt.UTC), dt.datetime(2024, 2, 2, 8, tzinfo=dt.UTC)]  # fmt: skip
    assert found == [
        (at[0], at[1], "free", False),
        (at[1], at[2], "gold", False),
        (at[3], None, "free", True),
    ]
    assert set(rows(shop, DimUsers, "email", user_id="u-1")) == {("u-1@example.org",)}


def test_facts_name_the_version_that_held_at_the_time(shop: Home) -> None:
    users = {(u, f): key for u, f, key in rows(shop, DimUsers, "user_id", "plan", "user_key", is_current=False)}
    keys = dict(rows(shop, FctOrders, "order_id", "user_key"))
    assert keys["o-before"] == users["u-1", "free"]  # half an hour before the change to gold
    assert keys["o-1"] == users["u-1", "gold"]
    assert keys["o-late"] not in users.values()  # signed up anew
    assert keys["o-guest"] is None
    assert keys["o-back"] == keys["o-late"]
    events = dict(rows(shop, FctEvents, "event_id", "user_key", user_id="u-1"))
    assert events["ev-2024-01-30"] == users["u-1", "gold"]
    assert events["ev-2024-02-01"] is None  # deleted then
    prices = {price: key for price, key in rows(shop, DimProducts, "list_price", "product_key")}
    items = dict(rows(shop, FctOrderItems, "order_item_id", "product_key"))
    assert items == {"i-1": prices[D("5.00")], "i-late": prices[D("6.00")]}


def test_every_order_is_in_the_fact_or_rejected_with_a_reason(shop: Home) -> None:
    assert rows(shop, FctOrders, "order_date", "order_id", "amount", "currency", "revenue") == [
        (DAY(2024, 1, 30), "o-1", D("10.00"), "USD", D("10.00")),
        (DAY(2024, 1, 30), "o-before", D("7.00"), "USD", D("0.00")),
        (DAY(2024, 1, 31), "o-jpy", D("1500.00"), "JPY", D("1500.00")),
        (DAY(2024, 2, 1), "o-guest", D("3.50"), "USD", D("3.50")),
        (DAY(2024, 2, 2), "o-late", D("20.00"), "USD", D("20.00")),
        (DAY(2024, 2, 3), "o-back", D("4.00"), "USD", D("-4.00")),
    ]
    assert rows(shop, RejectedRows, "row_type", "row_id", "reason") == [
        ("order_item", "i-foreign", "currency_mismatch"),
        ("order_item", "i-minus", "negative_quantity"),
        ("order", "o-bad", "amount_is_no_exact_decimal"),
        ("order", "o-odd", "unknown_currency"),
        ("charge", "ch-minus", "negative_amount"),
        ("order_item", "i-lost", "no_order"),
    ]


def test_minor_units_become_decimals_by_currency_and_the_newest_version_of_an_object_counts(shop: Home) -> None:
    assert rows(shop, FctPayments, "payment_id", "payment_type", "amount", "cash", "currency", "status") == [
        ("ch-1", "charge", D("10.00"), D("10.00"), "USD", "succeeded"),
        ("ch-guest", "charge", D("3.50"), D("3.50"), "USD", "succeeded"),
        ("ch-jpy", "charge", D("1500.00"), D("1500.00"), "JPY", "succeeded"),
        ("re-1", "refund", D("4.00"), D("-4.00"), "USD", "succeeded"),
        ("ch-late", "charge", D("19.99"), D("19.99"), "USD", "succeeded"),
        ("ch-stray", "charge", D("1.00"), D("1.00"), "USD", "succeeded"),
        ("re-unpaid", "refund", D("0.50"), D("-0.50"), "USD", "succeeded"),
    ]


def test_a_local_business_day_is_not_the_utc_day(shop: Home) -> None:
    found = dict(rows(shop, FctOrders, "order_id", "business_date"))
    assert found["o-jpy"] == DAY(2024, 2, 1)  # 23:59 UTC is past midnight in Berlin
    assert found["o-guest"] == DAY(2024, 2, 1)


def test_the_calendar_knows_iso_weeks_the_fiscal_year_and_holidays(shop: Home) -> None:
    calendar = shop.rows(DimDate).sort("date_day")
    assert calendar["date_day"].to_list() == [DAY(2024, 1, 1) + dt.timedelta(n) for n in range(366)]
    for day, *stored in calendar.select("date_day", "iso_year", "iso_week", "iso_weekday").iter_rows():
        assert tuple(stored) == day.isocalendar()
    by_day = {row["date_day"]: row for row in calendar.iter_rows(named=True)}
    assert by_day[DAY(2024, 12, 30)]["iso_week_label"] == "2025-W01"
    march, april = by_day[DAY(2024, 3, 31)], by_day[DAY(2024, 4, 1)]
    assert (march["fiscal_year"], march["fiscal_quarter"], march["fiscal_month"]) == (2024, 4, 12)
    assert (april["fiscal_year"], april["fiscal_quarter"], april["fiscal_month"]) == (2025, 1, 1)
    assert by_day[DAY(2024, 12, 25)]["holiday"] == "Christmas Day"
    assert by_day[DAY(2024, 2, 29)]["is_month_end"]
    assert not by_day[DAY(2024, 2, 28)]["is_month_end"]


def test_differences_are_listed_by_order(shop: Home) -> None:
    columns = ("reconciliation_date", "comparison", "order_id", "subject_id", "expected", "found", "difference")
    assert rows(shop, RevenueReconciliationDifferences, *columns) == [
        (DAY(2024, 2, 2), "order_vs_charge", "o-unknown", "ch-stray", D("0.00"), D("1.00"), D("1.00")),
        (DAY(2024, 2, 2), "order_vs_charge", "o-late", "o-late", D("20.00"), D("19.99"), D("-0.01")),
        (DAY(2024, 2, 3), "refund_vs_payout", "o-guest", "re-unpaid", D("0.50"), D("0.00"), D("-0.50")),
    ]


def test_days_that_do_not_reconcile_are_refused_and_the_others_published(shop: Home) -> None:
    with pytest.raises(AssertionError, match="reconciled_to_the_cent"), shop.used():
        shop.build([RevenueReconciliation.key])
    columns = ("reconciliation_date", "currency", "ordered_amount", "charged_amount", "refunded_amount")
    assert rows(shop, RevenueReconciliation, *columns) == [
        (DAY(2024, 1, 30), "USD", D("10.00"), D("10.00"), D("0.00")),
        (DAY(2024, 1, 31), "JPY", D("1500.00"), D("1500.00"), D("0.00")),
        (DAY(2024, 2, 1), "USD", D("3.50"), D("3.50"), D("4.00")),
    ]
    by_day = shop.verdicts(RevenueReconciliation, "closed_days_agree_to_the_cent")
    assert {day: verdict.passed for day, verdict in by_day.items() if day and day >= "2024-01-30"} == {
        "2024-01-30": True, "2024-01-31": True, "2024-02-01": True, "2024-02-02": False, "2024-02-03": False,
    }  # fmt: skip
    ledger = shop.rows(CheckResults).filter(pl.col("asset") == RevenueReconciliation.key)
    failed = ledger.filter(pl.col("check_name") == "closed_days_agree_to_the_cent", pl.col("status") == "failed")
    assert sorted(failed["asset_partition"]) == ["2024-02-02", "2024-02-03"]


def test_daily_metrics_count_money_by_currency_and_the_game_once(shop: Home) -> None:
    names = ("metric_date", "currency", "active_users", "orders", "gross_revenue", "returns", "refunds", "net_revenue")
    assert rows(shop, MvDailyMetrics, *names) == [
        (DAY(2024, 1, 30), "USD", 2, 1, D("10.00"), D("0.00"), D("0.00"), D("10.00")),
        (DAY(2024, 1, 31), "JPY", 1, 1, D("1500.00"), D("0.00"), D("0.00"), D("1500.00")),
        (DAY(2024, 2, 1), "USD", 1, 1, D("3.50"), D("0.00"), D("4.00"), D("-0.50")),
        (DAY(2024, 2, 2), "USD", 1, 1, D("20.00"), D("0.00"), D("0.00"), D("20.00")),
        (DAY(2024, 2, 3), "USD", 1, 0, D("0.00"), D("4.00"), D("0.50"), D("-4.50")),
    ]
    conversion = dict(rows(shop, MvDailyMetrics, "metric_date", "conversion"))
    assert conversion[DAY(2024, 1, 30)] == 0.5
    assert rows(shop, FctDailyActiveUsers, "daily_active_users", "weekly_active_users", "monthly_active_users") == [
        (2, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 2),
    ]  # fmt: skip
    assert rows(shop, FctEmailEngagement, "user_id", "delivered", "opens", "clicks") == [("u-1", 1, 1, 0)]


def test_cohorts_and_lifetime_across_a_month_end(shop: Home) -> None:
    columns = ("cohort_month", "months_since", "currency", "cohort_users", "users", "revenue", "retained_share")
    assert rows(shop, RevenueRetentionCohorts, *columns) == [
        (DAY(2024, 1, 1), 0, "JPY", 2, 1, D("1500.00"), 0.5),
        (DAY(2024, 1, 1), 0, "USD", 2, 1, D("10.00"), 0.5),
        (DAY(2024, 1, 1), 1, "USD", 2, 1, D("20.00"), 0.5),
    ]
    lifetime = ("user_id", "frequency", "recency", "observed_days", "revenue", "monetary_value")
    assert rows(shop, CustomerLifetime, *lifetime) == [
        ("u-1", 1, 3, 4, D("30.00"), D("20.00")),
        ("u-2", 0, 0, 3, D("1500.00"), None),
    ]


def test_money_is_what_was_captured_and_expanded_objects_are_understood(home: Home) -> None:
    """Charges, refunds and balance transactions as Stripe's API gives them, also with `expand[]`."""
    at = "2024-03-01 10:00"
    charges = {
        "ch_held": {"amount": 500, "amount_captured": 0, "captured": False},
        "ch_part": {"amount": 500, "amount_captured": 300, "captured": True},
        "ch_whole": {"amount": 500, "amount_captured": 500, "captured": True},
        "ch_old": {"amount": 500, "captured": True},
        "ch_old_held": {"amount": 500, "captured": False},
        "ch_failed": {"amount": 500, "amount_captured": 0, "captured": False, "status": "failed"},
    }
    charged = {"object": "charge", "currency": "usd", "status": "succeeded"}
    expanded = {"id": "ch_part", "object": "charge", "metadata": {"order_id": "o-part"}}
    common = {"object": "refund", "currency": "usd", "status": "succeeded", "amount": 100, "metadata": {}}
    moved = {"id": "txn_1", "amount": -100, "currency": "usd", "type": "payment_refund", "source": {"id": "re_whole"}}
    receive(home, "stripe", {
        "stripe_charges": [
            envelope(name, at, charged | fields | {"metadata": {"order_id": name.replace("ch_", "o-")}})
            for name, fields in charges.items()
        ],
        "stripe_refunds": [
            envelope("re_part", at, common | {"charge": expanded}),
            envelope("re_whole", at, common | {"charge": "ch_whole", "metadata": {"order_id": "o-whole"}}),
        ],
        "stripe_payouts": [envelope("po_1", at, {"status": "paid", "balance_transactions": {"data": [moved]}})],
    })  # fmt: skip
    day = DAY(2024, 3, 1)
    compute_and_publish(home, BalanceTransactions, [day])
    compute_and_publish(home, FctPayments, [day])
    assert rows(home, FctPayments, "payment_id", "charge_id", "order_id", "amount", "cash") == [
        ("ch_failed", "ch_failed", "o-failed", D("5.00"), D("0.00")),
        ("ch_held", "ch_held", "o-held", D("0.00"), D("0.00")),
        ("ch_old", "ch_old", "o-old", D("5.00"), D("5.00")),
        ("ch_old_held", "ch_old_held", "o-old_held", D("0.00"), D("0.00")),
        ("ch_part", "ch_part", "o-part", D("3.00"), D("3.00")),
        ("ch_whole", "ch_whole", "o-whole", D("5.00"), D("5.00")),
        ("re_part", "ch_part", "o-part", D("1.00"), D("-1.00")),
        ("re_whole", "ch_whole", "o-whole", D("1.00"), D("-1.00")),
    ]
    compute_and_publish(home, RevenueReconciliationDifferences, [day])
    unpaid = rows(home, RevenueReconciliationDifferences, "subject_id", comparison="refund_vs_payout")
    assert unpaid == [("re_part",)]
