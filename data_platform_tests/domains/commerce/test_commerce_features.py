"""Commerce features equal the plain-Python oracle on random histories, and know nothing of what comes after their day.
Not here: how the facts are made and when days are computed again (test_commerce_features_built)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from data_platform.core.errors import PlatformError
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.transforms.features import churn_features
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.commerce.contracts.star import FctEmailEngagement, FctOrderVersions, FctPayments
from data_platform.domains.commerce.reporting_currency import CONFIGURATION, planning_rates
from data_platform.domains.commerce.transforms.player_features import commerce_features
from data_platform.domains.gameplay.contracts.features import PlayerEngagementFeatures
from data_platform_tests.domains.churn.test_churn_features import (
    History,
    at,
    campaigns_of,
    engagement_of,
    only_row,
    played,
)
from data_platform_tests.domains.gameplay.test_sessions import by_key, expected
from data_platform_tests.support.commerce_oracle import NO_PURCHASES, PAID, Trade, commerce_rows

LEAP_DAY = dt.date(2024, 2, 29)
FIRST_DAY = LEAP_DAY - dt.timedelta(days=40)
RATES = {"USD": Decimal(1), "EUR": Decimal("0.9"), "JPY": Decimal(150)}
PLAYERS = ["ann", "bob", None]


def moment(day: int, minute: int) -> dt.datetime:
    return dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC) + dt.timedelta(days=day, minutes=minute)


# Days crowd at the leap day and at both edges of its window, minutes around midnight.
days = st.one_of(st.integers(0, 49), st.sampled_from([9, 10, 11, 39, 40, 41]))
moments = st.builds(moment, days, st.sampled_from([0, 1, 720, 1439]))
amounts = st.decimals(0, 1000, places=2)
snapshots = st.sampled_from([LEAP_DAY + dt.timedelta(days=n) for n in (-30, -1, 0, 0, 1, 5, 8)])


@st.composite
def order_changes(draw: st.DrawFn, number: int) -> list[dict[str, Any]]:
    """What is told of one order: placed once, changed now and later, sometimes on another day, sometimes for good."""
    placed, currency = draw(moments), draw(st.sampled_from(list(RATES)))
    fixed = {"order_id": f"o-{number}", "currency": currency, "ordered_at": placed}
    fixed["order_type"] = draw(st.sampled_from(["sale", "sale", "sale", "return"]))
    fixed["user_id"] = draw(st.sampled_from(PLAYERS))
    waits = draw(
        st.lists(st.sampled_from([0, 1, 1440, 1439, 3 * 1440, 20 * 1440]), min_size=1, max_size=4, unique=True)
    )
    statuses = st.sampled_from(["pending", "paid", "paid", "cancelled", "refunded"])
    return [
        {
            **fixed,
            "status": draw(statuses),
            "amount": draw(amounts),
            "changed_at": placed + dt.timedelta(minutes=wait),
            "operation": draw(st.sampled_from(["insert", "update", "update", "update", "delete"])),
            "rejected": draw(st.sampled_from([False, False, False, True])),
        }
        for wait in waits
    ]


refunds = st.fixed_dictionaries(
    {
        "order_id": st.sampled_from([f"o-{n}" for n in range(7)]),
        "currency": st.sampled_from(list(RATES)),
        "amount": amounts,
        "status": st.sampled_from(["succeeded", "succeeded", "failed"]),
        "created_at": moments,
    }
)
emails = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(PLAYERS),
        "event": st.sampled_from(["delivered", "delivered", "open", "click", "bounce"]),
        "at": moments,
    }
)
trades = st.integers(0, 6).flatmap(
    lambda count: st.builds(
        lambda orders, refunded, mailed: Trade([c for changes in orders for c in changes], refunded, mailed),
        st.tuples(*(order_changes(number) for number in range(count))),
        st.lists(refunds, max_size=8),
        st.lists(emails, max_size=12),
    )
)


def versions_of(trade: Trade) -> pl.DataFrame:
    """FctOrderVersions, as their description says."""
    rows = []
    for order_id in {one["order_id"] for one in trade.changes}:
        log = sorted((c for c in trade.changes if c["order_id"] == order_id), key=lambda c: c["changed_at"])
        is_paid = False
        for change, later in zip(log, [*log[1:], None], strict=True):
            is_paid |= change["status"] in PAID
            if change["operation"] == "delete" or change["rejected"]:
                continue
            valid_to = later["changed_at"] if later else None
            known = {name: change[name] for name in change if name in FctOrderVersions.columns}
            rows.append(
                {
                    **known,
                    "order_date": change["ordered_at"].date(),
                    "is_paid": is_paid,
                    "valid_from": change["changed_at"],
                    "valid_to": valid_to,
                    "is_current": valid_to is None,
                }
            )
    return pl.DataFrame(rows, schema=FctOrderVersions.schema())


def payments_of(trade: Trade) -> pl.DataFrame:
    """FctPayments: the refunds, and a charge of each order that must not matter."""
    made = [
        {**one, "payment_type": "refund", "cash": -one["amount"] if one["status"] == "succeeded" else Decimal(0)}
        for one in trade.refunds
    ] + [
        {"order_id": one["order_id"], "currency": one["currency"], "amount": one["amount"], "status": "succeeded",
         "payment_type": "charge", "cash": one["amount"], "created_at": one["changed_at"]}
        for one in trade.changes
    ]  # fmt: skip
    rows = [{**one, "payment_id": f"p-{n}", "payment_date": one["created_at"].date()} for n, one in enumerate(made)]
    return pl.DataFrame(rows, schema=FctPayments.schema())


def emails_of(trade: Trade) -> pl.DataFrame:
    """FctEmailEngagement."""
    names = {"delivered": "delivered", "opens": "open", "clicks": "click", "bounces": "bounce"}
    none = dict.fromkeys(("unsubscribes", "spam_reports"), 0)
    rows = []
    for day, user_id in {(one["at"].date(), one["user_id"]) for one in trade.emails if one["user_id"]}:
        seen = [one["event"] for one in trade.emails if (one["at"].date(), one["user_id"]) == (day, user_id)]
        counts = {name: seen.count(event) for name, event in names.items()}
        rows.append({"event_date": day, "user_id": user_id, **counts, **none})
    return pl.DataFrame(rows, schema=FctEmailEngagement.schema())


def features_of(trade: Trade, on: list[dt.date], seed: int | None = None) -> pl.DataFrame:
    facts = [versions_of(trade), payments_of(trade), emails_of(trade)]
    if seed is not None:
        facts = [frame.sample(fraction=1, shuffle=True, seed=seed) for frame in facts]
    orders, payments, engagement = (frame.lazy() for frame in facts)
    return by_key(PlayerCommerceFeatures, commerce_features(orders, payments, engagement, RATES, on))


@settings(max_examples=150, deadline=None)
@given(trade=trades, day=snapshots)
def test_features_of_a_day_equal_the_oracle(trade: Trade, day: dt.date) -> None:
    wanted = expected(PlayerCommerceFeatures, commerce_rows(trade, RATES, [day]))
    assert_frame_equal(features_of(trade, [day]), wanted, rel_tol=1e-12, abs_tol=0)


@settings(max_examples=50, deadline=None)
@given(trade=trades, start=snapshots, length=st.integers(2, 35), skip=st.integers(0, 8), seed=st.integers(0, 99))
def test_many_days_in_any_order_of_rows_equal_one_call_per_day(
    trade: Trade, start: dt.date, length: int, skip: int, seed: int
) -> None:
    on = [start + dt.timedelta(days=n) for n in range(length) if n != skip]
    found = features_of(trade, on, seed)
    assert_frame_equal(found, pl.concat(features_of(trade, [day]) for day in on), check_exact=True)
    assert_frame_equal(found, expected(PlayerCommerceFeatures, commerce_rows(trade, RATES, on)), rel_tol=1e-12)


@settings(max_examples=50, deadline=None)
@given(trade=trades, other=trades, day=snapshots)
def test_nothing_after_the_day_leaks_into_its_features(trade: Trade, other: Trade, day: dt.date) -> None:
    """What is known later may be missing, or be anything else."""
    known, truth = trade.until(day), features_of(trade, [day])
    assert_frame_equal(features_of(known, [day]), truth, check_exact=True)
    taken = {(one["order_id"], one["changed_at"]) for one in known.changes}
    placed = {one["order_id"]: one for one in known.changes}
    later = [
        {**one, **{name: placed[one["order_id"]][name] for name in ("ordered_at", "user_id", "order_type")}}
        if one["order_id"] in placed else one
        for one in other.changes
        if one["changed_at"].date() > day and (one["order_id"], one["changed_at"]) not in taken
    ]  # fmt: skip
    future = Trade(
        [*known.changes, *later],
        [*known.refunds, *(one for one in other.refunds if one["created_at"].date() > day)],
        [*known.emails, *(one for one in other.emails if one["at"].date() > day)],
    )
    assert_frame_equal(features_of(future, [day]), truth, check_exact=True)


@settings(max_examples=50, deadline=None)
@given(trade=trades, day=snapshots)
def test_facts_of_the_window_suffice(trade: Trade, day: dt.date) -> None:
    """D-29..D of each fact is all that the asset declares to read."""
    first = day - dt.timedelta(29)
    versions = versions_of(trade).filter(pl.col("order_date").is_between(first, day))
    payments = payments_of(trade).filter(pl.col("payment_date").is_between(first, day))
    engagement = emails_of(trade).filter(pl.col("event_date").is_between(first, day))
    found = commerce_features(versions.lazy(), payments.lazy(), engagement.lazy(), RATES, [day])
    assert_frame_equal(by_key(PlayerCommerceFeatures, found), features_of(trade, [day]), check_exact=True)


# ------------------------------------------------------------------ one by one
def sale(at_: str, amount: str = "10.00", **changes: Any) -> dict[str, Any]:
    placed = at(at_)
    made = {"order_id": f"o-{at_}", "user_id": "ann", "order_type": "sale", "status": "paid", "currency": "USD"}
    more = {"amount": Decimal(amount), "ordered_at": placed, "changed_at": placed}
    return {**made, **more, "operation": "insert", "rejected": False, **changes}


def given_back(at_: str, order: dict[str, Any], amount: str, currency: str = "USD") -> dict[str, Any]:
    made = {"order_id": order["order_id"], "currency": currency, "amount": Decimal(amount)}
    return {**made, "status": "succeeded", "created_at": at(at_)}


def test_the_window_of_the_leap_day_begins_on_the_last_but_one_day_of_january() -> None:
    orders = [sale(t) for t in ("2024-01-30 23:59", "2024-01-31 00:00", "2024-02-29 23:59", "2024-03-01 00:00")]
    row = only_row(features_of(Trade(orders, [], []), [LEAP_DAY]))
    assert (row["orders"], row["spend"], row["days_since_last_order"]) == (2, Decimal("20.00"), 0)
    assert only_row(features_of(Trade(orders[1:2], [], []), [LEAP_DAY]))["days_since_last_order"] == 29


def test_an_order_that_is_paid_tomorrow_is_not_paid_today_however_late_today_is_computed() -> None:
    placed = sale("2024-02-28 23:59", status="pending")
    paid = {**placed, "status": "paid", "operation": "update", "changed_at": at("2024-02-29 00:00")}
    cancelled = {**placed, "status": "cancelled", "operation": "update", "changed_at": at("2024-03-02 12:00")}
    deleted = {**cancelled, "operation": "delete", "changed_at": at("2024-03-03 12:00")}
    on = [dt.date(2024, 2, 28) + dt.timedelta(n) for n in range(5)]
    found = features_of(Trade([placed, paid, cancelled, deleted], [], []), on)
    assert found["snapshot_date"].to_list() == [LEAP_DAY, dt.date(2024, 3, 1), dt.date(2024, 3, 2)]


def test_a_refund_counts_from_its_day_and_only_as_long_as_its_sale() -> None:
    bought = sale("2024-01-31 12:00", "20.00")
    trade = Trade([bought, sale("2024-02-20 12:00", "20.00")], [given_back("2024-02-10 00:00", bought, "5.00")], [])
    on = [dt.date(2024, 2, 9), dt.date(2024, 2, 10), LEAP_DAY, dt.date(2024, 3, 1)]
    assert features_of(trade, on)["refund_share"].to_list() == [0, 0.25, 0.125, 0]


def test_money_of_several_currencies_is_added_at_the_planning_rate_each_order_rounded_half_up() -> None:
    orders = [sale("2024-02-10 12:00", "0.75", currency="JPY"), sale("2024-02-11 12:00", "1500", currency="JPY")]
    row = only_row(features_of(Trade(orders, [], []), [LEAP_DAY]))
    assert row["spend"] == Decimal("0.01") + Decimal("10.00"), "0.75 yen are half a cent"
    largest = sale("2024-02-12 12:00", "9999999999999999.99")
    assert only_row(features_of(Trade([largest], [], []), [LEAP_DAY]))["spend"] == largest["amount"]


def test_a_spend_that_does_not_fit_is_null_never_wrapped_and_no_zero() -> None:
    orders = [sale("2024-02-10 12:00", "9999999999999999.99", order_id=f"o-{n}") for n in range(12)]
    trade = Trade(orders, [given_back("2024-02-11", orders[0], "9999999999999999.99")], [])
    row = only_row(features_of(trade, [LEAP_DAY]))
    assert (row["orders"], row["spend"]) == (12, None)
    assert row["refund_share"] == pytest.approx(1 / 12)
    history = History(played("ann", "2024-02-12"), [], [], [])
    engagement = by_key(PlayerEngagementFeatures, engagement_of(history, [LEAP_DAY])).lazy()
    purchases = features_of(trade, [LEAP_DAY]).lazy()
    churn = churn_features(engagement, campaigns_of(history, [LEAP_DAY]), purchases).collect()
    assert churn.select("player_id", "orders", "spend").rows() == [("ann", 12, None)]


def test_guests_are_nobody_and_opens_without_deliveries_have_no_rate() -> None:
    opened = [{"user_id": "ann", "event": "open", "at": at("2024-02-10")}]
    row = only_row(features_of(Trade([sale("2024-02-10", user_id=None)], [], opened), [LEAP_DAY]))
    assert {name: row[name] for name in NO_PURCHASES} == NO_PURCHASES


def test_churn_features_have_the_purchases_of_the_user_of_the_same_id_and_zeros_for_the_others() -> None:
    events = [*played("a", "2024-02-10"), *({**one, "player_id": "bob"} for one in played("b", "2024-02-10"))]
    history = History(events, [], [], [])
    trade = Trade([sale("2024-02-12"), sale("2024-02-13", user_id="not-a-player")], [], [])
    engagement = by_key(PlayerEngagementFeatures, engagement_of(history, [LEAP_DAY])).lazy()
    purchases = features_of(trade, [LEAP_DAY])
    found = by_key(PlayerChurnFeatures, churn_features(engagement, campaigns_of(history, [LEAP_DAY]), purchases.lazy()))
    ann, bob = found.select("player_id", *NO_PURCHASES).to_dicts()
    assert ann == {"player_id": "ann", **NO_PURCHASES, "orders": 1, "spend": Decimal("10.00"),
                   "days_since_last_order": 17, "refund_share": 0.0}  # fmt: skip
    assert bob == {"player_id": "bob", **NO_PURCHASES}


def test_no_days_and_no_facts_give_empty_frames_of_the_contract() -> None:
    assert features_of(Trade([sale("2024-02-12")], [], []), []).is_empty()
    assert features_of(Trade([], [], []), [LEAP_DAY]).is_empty()


# ------------------------------------------------------------------------ rates
def test_every_accepted_currency_has_a_planning_rate() -> None:
    rates = planning_rates()
    assert rates["USD"] == 1
    assert {"JPY", "EUR"} < rates.keys()


@pytest.mark.parametrize(
    ("line", "wrong"), [('EUR: "0.9"', 'EUR: "0"'), ('EUR: "0.9"', ""), ('EUR: "0.9"', 'EUR: "dear"'),
                        ('EUR: "0.9"', 'EUR: "0.12345678"'), ('USD: "1"', 'USD: "2"')]
)  # fmt: skip
def test_a_wrong_planning_rate_is_reported_by_currency(tmp_path: Path, line: str, wrong: str) -> None:
    file = tmp_path / "dbt_project.yml"
    text = CONFIGURATION.read_text()
    assert line in text
    file.write_text(text.replace(line, wrong))
    with pytest.raises(PlatformError, match=line[:3]):
        planning_rates(file)
