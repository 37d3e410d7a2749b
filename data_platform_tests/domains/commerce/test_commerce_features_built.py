"""Commerce features built from received lines by dbt and Polars: which days are computed again, what is remembered, and
a home without a shop. Not here: what the features mean (test_commerce_features)."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.lake import bitemporal
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.commerce.contracts.star import FctEmailEngagement, FctOrders, FctOrderVersions, FctPayments
from data_platform.domains.commerce.reporting_currency import planning_rates
from data_platform_tests.support import oracles
from data_platform_tests.support.commerce_homes import drop, email, moment, order, refund, user
from data_platform_tests.support.commerce_oracle import Trade, commerce_rows
from data_platform_tests.support.homes import Home, Row, event

CHURN = PlayerChurnFeatures.key
TABLES = (FctOrderVersions, FctPayments, FctEmailEngagement, PlayerCommerceFeatures, PlayerChurnFeatures)
FIRST, LAST = dt.date(2024, 2, 1), dt.date(2024, 3, 12)
"""Over the leap day, and longer than a window."""
DAYS = [FIRST + dt.timedelta(n) for n in range((LAST - FIRST).days + 1)]


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(moment(text))


ORDERS = [
    order("o-1", "2024-02-10 10:00", "20.00", "pending"),
    order("o-1", "2024-02-10 10:00", "20.00", changed_at=moment("2024-02-11 00:00"), operation="update"),
    order("o-jpy", "2024-02-29 23:59", "1500", user_id="u-2", currency="JPY"),
    order("o-guest", "2024-03-01 09:00", user_id=None),
    order("o-bad", "2024-03-01 10:00", "1.005"),
    order("o-back", "2024-03-02 09:00", "4.00", order_type="return"),
]
EMAILS = [
    email("e-1", "u-1", "2024-02-12 10:00", "delivered"),
    email("e-2", "u-1", "2024-02-14 10:00", "open"),
    email("e-2", "u-1", "2024-02-14 10:00", "open"),
]
LATE_REFUND = refund("re-1", "o-1", "2024-02-20 10:00", 500)
LATE_CHANGE = order("o-1", "2024-02-10 10:00", "20.00", "refunded", operation="update",
                    changed_at=moment("2024-03-05 08:00"))  # fmt: skip
EVENTS = [
    event(event_id=f"e-{day}", player_id="u-1", timestamp=f"{day}T12:00:00Z", session_id=f"s-{day}") for day in DAYS
]


def trade(orders: list[Row], refunds: list[Row]) -> Trade:
    """The lines as the oracle takes them."""
    return Trade(
        [
            {**one, "amount": Decimal(one["total_amount"]), "rejected": one["order_id"] == "o-bad",
             "ordered_at": dt.datetime.fromisoformat(one["ordered_at"]),
             "changed_at": dt.datetime.fromisoformat(one["changed_at"])}
            for one in orders
        ],
        [
            {**one["payload"], "order_id": one["payload"]["metadata"]["order_id"], "currency": "USD",
             "amount": Decimal(one["payload"]["amount"]) / 100, "created_at": at("2024-02-20 10:00")}
            for one in refunds
        ],
        [
            {"user_id": one["payload"]["user_id"], "event": one["payload"]["event"],
             "at": dt.datetime.fromisoformat(one["created_at"])}
            for one in EMAILS[:2]
        ],
    )  # fmt: skip


def built_days(home: Home) -> dict[str, dict[str, frozenset[str]]]:
    return {table.key: home.files(table) for table in TABLES}


def written_again(before: dict[str, frozenset[str]], after: dict[str, frozenset[str]]) -> list[str]:
    return sorted(day for day in after if after[day] != before.get(day))


def assert_equal_to_the_oracle(home: Home, trade: Trade) -> None:
    rows = commerce_rows(trade, planning_rates(), DAYS)
    wanted = pl.DataFrame(rows, schema=PlayerCommerceFeatures.schema())
    key = PlayerCommerceFeatures.primary_key
    assert home.rows(PlayerCommerceFeatures).sort(key).equals(wanted.sort(key))
    events = [{**one, "timestamp": dt.datetime.fromisoformat(one["timestamp"])} for one in EVENTS]
    churn = [
        {name: row[name] for name in PlayerChurnFeatures.columns}
        for row in oracles.churn_rows(events, [], [], [], DAYS, rows)
    ]
    columns = ["snapshot_date", "player_id", "total_events", "orders", "spend", "refund_share", "email_open_rate"]
    found = home.rows(PlayerChurnFeatures).filter(pl.col("snapshot_date") >= FIRST).sort("snapshot_date", "player_id")
    wanted = pl.DataFrame(churn, schema=PlayerChurnFeatures.schema())
    assert found.select(columns).equals(wanted.select(columns))


@pytest.fixture(scope="module")
def shop() -> Iterator[Home]:
    """A game with a shop, built before anything came late."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        drop(home, "first", {"users": [user("u-1", "2024-02-01 08:00")], "orders": ORDERS, "sendgrid_events": EMAILS})
        home.drop("events.ndjson", EVENTS)
        home.build([CHURN])
        yield home


def test_late_refunds_and_changes_compute_exactly_the_days_that_depend_on_them(shop: Home) -> None:
    assert_equal_to_the_oracle(shop, trade(ORDERS, []))
    was_known = dt.datetime.now(dt.UTC)
    before = built_days(shop)
    drop(shop, "refund", {"stripe_refunds": [LATE_REFUND]})
    shop.build([CHURN])
    after = built_days(shop)
    again = {table: written_again(before[table.key], after[table.key]) for table in TABLES}
    window = [str(dt.date(2024, 2, 20) + dt.timedelta(n)) for n in range((LAST - dt.date(2024, 2, 20)).days + 1)]
    assert again[FctOrderVersions] == again[FctEmailEngagement] == []
    assert again[FctPayments] == ["2024-02-20"]
    assert again[PlayerCommerceFeatures] == again[PlayerChurnFeatures] == window[:30]
    assert_equal_to_the_oracle(shop, trade(ORDERS, [LATE_REFUND]))

    before = after
    drop(shop, "change", {"orders": [LATE_CHANGE]})
    shop.build([CHURN])
    after = built_days(shop)
    again = {table: written_again(before[table.key], after[table.key]) for table in TABLES}
    days = [str(dt.date(2024, 2, 10) + dt.timedelta(n)) for n in range(30)]
    assert again[FctOrderVersions] == ["2024-02-10"]
    assert again[FctPayments] == []
    assert again[PlayerCommerceFeatures] == days[1:], "a day without rows has no files; it was paid on the 11th"
    assert again[PlayerChurnFeatures] == days
    assert_equal_to_the_oracle(shop, trade([*ORDERS, LATE_CHANGE], [LATE_REFUND]))

    # What was known before the refund can still be asked for.
    day = dt.date(2024, 2, 25)
    history = bitemporal.open_history(shop.lake, PlayerChurnFeatures)
    then = bitemporal.scan_as_known(history, was_known, day, day).collect()
    now = shop.lake.scan(PlayerChurnFeatures, day, day).collect()
    assert (then["refund_share"].to_list(), now["refund_share"].to_list()) == ([0.0], [0.25])


def test_incremental_equals_rebuild(shop: Home, tmp_path: Path) -> None:
    """After whatever the test before it did to the shop."""
    whole = Home(tmp_path / "whole")
    late = {"orders": [LATE_CHANGE], "stripe_refunds": [LATE_REFUND]}
    drop(shop, "late-again", late)  # what is known already changes nothing
    shop.build([CHURN])
    drop(whole, "all", {"users": [user("u-1", "2024-02-01 08:00")], "orders": [LATE_CHANGE, *ORDERS[::-1]],
                        "sendgrid_events": EMAILS[::-1], "stripe_refunds": [LATE_REFUND]})  # fmt: skip
    whole.drop("events.ndjson", EVENTS[::-1])
    whole.build([CHURN])
    for table in TABLES:
        pieces, once = (home.rows(table).sort(table.primary_key) for home in (shop, whole))
        assert pieces.equals(once), table.key
        assert len(once)


def test_a_game_without_a_shop_has_zeros_and_computes_nothing_for_it(home: Home) -> None:
    home.drop("events.ndjson", EVENTS[:3])
    ranged = home.build([CHURN], first=DAYS[0], last=DAYS[2])
    computed = {table.key for table in (*TABLES, FctOrders) if home.lake.exists(table)}
    assert computed == {CHURN}, "no SQL is started for a shop that is not there"
    assert ranged.runs == 2, "landing, and one run for all tables"
    rows = home.rows(PlayerChurnFeatures)
    assert len(rows) == 3
    assert rows.select("orders", "spend", "emails_delivered").unique().rows() == [(0, Decimal("0.00"), 0)]
    nulls = ["days_since_last_order", "refund_share", "email_open_rate", "email_click_rate"]
    assert rows.select(pl.col(nulls).null_count()).row(0) == (3, 3, 3, 3)
    assert home.build([CHURN]).runs == 0, "nothing is out of date"
