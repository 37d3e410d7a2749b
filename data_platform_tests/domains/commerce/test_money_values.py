"""Amounts that are none, too fine or too large: rejected with a reason or null and named, never rounded, and no model
ends because of one. Not here: what good amounts come to (test_commerce_models)."""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.contract.table import Table
from data_platform.domains.commerce.contracts.metrics import (
    CustomerLifetime,
    CustomerLifetimeSnapshots,
    MvDailyMetrics,
    PaymentExceptions,
    RevenueReconciliation,
    RevenueReconciliationDifferences,
    RevenueRetentionCohorts,
)
from data_platform.domains.commerce.contracts.star import (
    BalanceTransactions,
    DimProducts,
    FctOrderItems,
    FctOrders,
    FctOrderVersions,
    FctPayments,
    RejectedRows,
)
from data_platform.operations.staleness import in_build_order
from data_platform.warehouse.manifest import PROJECT
from data_platform_tests.support.commerce_homes import (
    charge,
    compute_and_publish,
    envelope,
    item,
    order,
    payout,
    product,
    receive,
    refund,
    user,
)
from data_platform_tests.support.homes import Home

AT = "2024-03-01 10:00"
DAYS = [dt.date(2024, 3, day) for day in (1, 2)]
MOST = "9999999999999999.99"
NO_NUMBERS = (
    "0x10",
    "1_000",
    "1e3",
    " 5",
    "5 ",
    "5\n",
    "+5",
    "true",
    "NaN",
    "inf",
    "",
    "1,000",
    "٥",
    "--5",
    "5-",
    "$5",
)
FINER_THAN_A_CENT = ("12.5000000000001", "1.005", "0.001", "12.50" + "0" * 300 + "1")
TOO_LARGE = ("10000000000000000", "-10000000000000000.00", "9" * 400)
MONEY: tuple[type[Table], ...] = (
    DimProducts, FctOrders, FctOrderVersions, FctOrderItems, BalanceTransactions, FctPayments, RejectedRows,
    MvDailyMetrics, RevenueReconciliationDifferences, RevenueReconciliation, RevenueRetentionCohorts, CustomerLifetime,
    CustomerLifetimeSnapshots, PaymentExceptions,
)  # fmt: skip


def rejected(home: Home) -> dict[str, set[str]]:
    """Ids of the rejected rows by reason."""
    compute_and_publish(home, RejectedRows, DAYS)
    found = home.rows(RejectedRows).group_by("reason").agg("row_id").iter_rows()
    return {reason: set(ids) for reason, ids in found}


def numbered(kind: str, values: Iterable[object]) -> dict[str, object]:
    return {f"{kind}-{n}": value for n, value in enumerate(values)}


def test_an_amount_in_minor_units_is_a_whole_number_as_it_is_written(home: Home) -> None:
    wrong = numbered("wrong", [*NO_NUMBERS, 1099.5, "1099.5", 1000.0, True, None, [5], {"a": 5}, "5.0"])
    large = numbered("large", [10**18, str(10**30), -(10**18), 10**400])
    right = {"number": 1099, "text": "1099", "most": 10**18 - 1}
    charges = {**wrong, **large, **right}
    moved = [{"id": name, "amount": amount, "currency": "usd", "type": "refund"} for name, amount in charges.items()]
    receive(home, "minor-units", {
        "stripe_charges": [
            *(charge(f"c-{name}", "o", AT, amount) for name, amount in charges.items()),  # type: ignore[arg-type]
            charge("c-yen", "o", AT, 10**16 - 1, "jpy"),
            charge("c-large-yen", "o", AT, 10**16, "jpy"),
        ],
        "stripe_refunds": [refund(f"r-{name}", "o", AT, amount) for name, amount in charges.items()],  # type: ignore[arg-type]
        "stripe_payouts": [
            envelope("po", AT, {"status": "paid", "balance_transactions": {"data": [*moved, {**moved[0], "id": None}]}})
        ],
    })  # fmt: skip
    found = rejected(home)
    assert found.pop("amount_is_no_whole_number") == {f"{kind}{name}" for kind in ("c-", "r-", "") for name in wrong}
    assert found.pop("amount_out_of_range") == {
        "c-large-yen", *(f"{kind}{name}" for kind in ("c-", "r-", "") for name in large)
    }  # fmt: skip
    assert found == {"missing_id": {"po"}}
    compute_and_publish(home, FctPayments, DAYS)
    charged = home.rows(FctPayments).filter(pl.col("payment_type") == "charge")
    assert dict(charged.select("payment_id", "amount").iter_rows()) == {
        "c-number": Decimal("10.99"), "c-text": Decimal("10.99"), "c-most": Decimal(MOST),
        "c-yen": Decimal("9999999999999999.00"),
    }  # fmt: skip


def test_a_decimal_is_no_finer_than_its_currency_and_never_rounded(home: Home) -> None:
    wrong = numbered("wrong", [*(text for text in NO_NUMBERS if text), *FINER_THAN_A_CENT, ".5", "5.", "1.5.0"])
    large = numbered("large", TOO_LARGE)
    right = {"plain": "12.5", "zeros": "12.5" + "0" * 300, "most": MOST, "whole": "12"}
    texts = {**wrong, **large, **right}
    receive(home, "decimals", {
        "orders": [
            order("o", AT, "1.00"),
            *(order(f"o-{name}", AT, text) for name, text in texts.items()),  # type: ignore[arg-type]
            order("o-wrong-yen", AT, "100.50", currency="JPY"),
            order("o-yen", AT, "100.00", currency="jpy"),
        ],
        "order_items": [
            *(item(f"i-{name}", "o", AT, text) for name, text in texts.items()),  # type: ignore[arg-type]
            item("i-many", "o", AT, "1.00", 2**63 - 1),
            item("i-dear", "o", AT, MOST, 2),
        ],
        "products": [
            product("kept", AT, ""),
            *(product(f"p-{name}", AT, text) for name, text in texts.items()),  # type: ignore[arg-type]
            product("p-wrong-yen", AT, "100.50", currency="JPY"),
            product("gone", AT, "none", "delete"),
            product("changed", AT, "1.00"),
            *[product("changed", "2024-03-01 11:00", "1.001", "update")] * 2,
        ],
    })  # fmt: skip
    found = rejected(home)
    assert found.pop("amount_is_no_exact_decimal") == {"o-wrong-yen", *(f"o-{name}" for name in wrong)}
    assert found.pop("price_is_no_exact_decimal") == {
        "p-wrong-yen", "changed", "kept", *(f"{kind}-{name}" for kind in "ip" for name in wrong)
    }  # fmt: skip
    assert found.pop("amount_out_of_range") == {"i-many", "i-dear", *(f"o-{name}" for name in large)}
    assert found.pop("price_out_of_range") == {f"{kind}-{name}" for kind in "ip" for name in large}
    assert found == {}
    for table in (FctOrders, FctOrderItems, DimProducts):
        compute_and_publish(home, table, DAYS if table.partition else [])
    amounts = {"plain": Decimal("12.50"), "zeros": Decimal("12.50"), "most": Decimal(MOST), "whole": Decimal("12.00")}
    orders = dict(home.rows(FctOrders).select("order_id", "amount").iter_rows())
    assert orders == {"o": 1, "o-yen": 100, **{f"o-{name}": amount for name, amount in amounts.items()}}
    items = dict(home.rows(FctOrderItems).select("order_item_id", "amount").iter_rows())
    assert items == {f"i-{name}": amount for name, amount in amounts.items()}
    products = home.rows(DimProducts)
    prices = dict(products.select("product_id", "list_price").iter_rows())
    assert prices == {"changed": 1, **{f"p-{name}": amount for name, amount in amounts.items()}}
    (ended,) = products.filter(pl.col("product_id") == "changed")["is_current"]
    assert not ended, "a change with a price that is none ends the version before it"


def test_a_sum_that_does_not_fit_is_null_and_the_rule_names_whose_it_is(home: Home) -> None:
    second = "2024-03-02 10:00"
    receive(home, "sums", {
        "orders": [
            *(order(f"o-{n}", at, MOST) for n, at in enumerate((AT, AT, second))),
            order("o-other", AT, "5.00", user_id="u-2"),
            order("o-euro", AT, "5.00", currency="EUR"),
            *(order(f"o-back-{n}", AT, MOST, order_type="return") for n in range(2)),
        ],
        "stripe_charges": [charge(f"c-{n}", "o-0", AT, 10**18 - 1) for n in range(2)]
        + [charge("c-2", "o-1", AT, 10**18 - 1), charge("c-3", "o-2", second, 10**18 - 1),
           charge("c-4", "o-other", AT, 500), charge("c-5", "o-euro", AT, 500, "eur")],
        "stripe_refunds": [refund(f"r-{n}", "o-0", AT, 10**18 - 1) for n in range(2)],
        "stripe_payouts": [payout("po", AT, *(("refund", "r-0", -(10**18 - 1)) for _ in range(2)))],
    })  # fmt: skip
    named: dict[str, set[object]] = {}
    for table in in_build_order(MONEY):
        publication = compute_and_publish(home, table, DAYS if table.partition else [])
        failed = [verdict for verdict in publication.verdicts.failures if verdict.rule == "totals_in_range"]
        named[table.table_name()] = {tuple(key.values()) for verdict in failed for key in verdict.sample}
    first, month = DAYS[0], dt.date(2024, 3, 1)
    assert {name: keys for name, keys in named.items() if keys} == {
        "customer_lifetime": {("u-1", "USD")},
        "customer_lifetime_snapshots": {(day, "u-1", "USD") for day in DAYS},
        "revenue_retention_cohorts": {(month, 0, "USD")},
        "mv_daily_metrics": {(first, "USD")},
        "revenue_reconciliation": {(first, "USD")},
        "revenue_reconciliation_differences": {(first, "order_vs_charge", "o-0", "USD"),
                                               (first, "refund_vs_payout", "r-0", "USD")},
    }  # fmt: skip
    lifetime = home.rows(CustomerLifetime).sort("user_id", "currency")
    assert lifetime.select("user_id", "currency", "frequency", "revenue", "monetary_value").rows() == [
        ("u-1", "EUR", 0, 5, None), ("u-1", "USD", 1, None, Decimal(MOST)), ("u-2", "USD", 0, 5, None),
    ]  # fmt: skip
    metrics = home.rows(MvDailyMetrics).filter(pl.col("currency") == "USD").sort("metric_date")
    assert metrics.select("orders", "gross_revenue", "returns", "refunds", "net_revenue").rows() == [
        (3, None, None, None, None), (1, Decimal(MOST), 0, 0, Decimal(MOST)),
    ]  # fmt: skip


HOSTILE = (*NO_NUMBERS, *FINER_THAN_A_CENT, *TOO_LARGE, MOST, f"-{MOST}", "0", "0.00", "-0", "5.00", "7")
HOSTILE_JSON = (*HOSTILE, 5, -5, 2**63 - 1, 2**63, 10**18 - 1, 10**18, 1.5, 1e300, True, None, [], {}, [1], {"a": [1]})
HOSTILE_LISTS = (None, 5, "x", {}, [], [5], [None], ["x"], [[]], [{}], {"data": {}})


@pytest.mark.parametrize("seed", range(3))
def test_no_value_of_a_row_ends_a_model(home: Home, seed: int) -> None:
    chance = random.Random(seed)
    ids = [f"o-{n}" for n in range(40)]

    def any_of(*values: object) -> object:
        return chance.choice(values)

    def stripe(kind: str, n: int) -> dict[str, object]:
        fields = {
            "object": kind, "amount": any_of(*HOSTILE_JSON), "amount_captured": any_of(*HOSTILE_JSON),
            "captured": any_of(True, False, None, "x", []), "status": any_of("succeeded", "succeeded", None, "", 5, {}),
            "currency": any_of("usd", "usd", "JPY", None, "", 5), "charge": any_of("c-0", None, {}, 5, [{"id": 5}]),
            "metadata": any_of({"order_id": any_of(*ids, 5, None, {})}, None, 5, [], "x"),
        }  # fmt: skip
        return envelope(f"{kind}-{n}", AT, {name: value for name, value in fields.items() if chance.random() > 0.05})

    def moved(n: int) -> dict[str, object]:
        return {"id": any_of(f"t-{n}", "t", "", None, 5), "type": any_of("refund", "payment_refund", None, 5),
                "source": any_of("refund-1", "refund-2", None, {}, {"id": 5}), "amount": any_of(*HOSTILE_JSON),
                "currency": any_of("usd", "jpy", None, 5)}  # fmt: skip

    def payout_of(n: int) -> dict[str, object]:
        data = any_of([moved(k) for k in range(10)], any_of(*HOSTILE_LISTS))
        transactions = any_of({"data": data}, {"data": data}, any_of(*HOSTILE_LISTS))
        return envelope(f"po-{n}", AT, {"status": any_of("paid", None, 5), "balance_transactions": transactions})

    receive(home, "hostile", {
        "users": [user("u-1", AT)],
        "products": [product(f"p-{n % 9}", AT, any_of(*HOSTILE), any_of("insert", "update", "delete"),  # type: ignore[arg-type]
                             currency=any_of("USD", "JPY", None, "", "x")) for n in range(40)],
        "orders": [order(any_of(*ids), any_of(AT, "2024-03-02 10:00"), any_of(*HOSTILE),  # type: ignore[arg-type]
                         any_of("paid", "refunded", "x"),  # type: ignore[arg-type]
                         currency=any_of("USD", "JPY", "EUR", "x"), order_type=any_of("sale", "return", None, "x"),
                         changed_at=any_of("2024-03-02T11:00:00Z", "2024-03-01T10:00:00Z")) for n in range(80)],
        "order_items": [item(f"i-{n}", any_of(*ids), AT, any_of(*HOSTILE), any_of(1, 0, -1, 2**63 - 1, -(2**63)))  # type: ignore[arg-type]
                        for n in range(80)],
        "stripe_charges": [stripe("charge", n) for n in range(80)],
        "stripe_refunds": [stripe("refund", n) for n in range(80)],
        "stripe_payouts": [payout_of(n) for n in range(20)],
    })  # fmt: skip
    for table in in_build_order(MONEY):
        publication = compute_and_publish(home, table, DAYS if table.partition else [])
        blocking = {verdict.rule for verdict in publication.verdicts.failures if verdict.severity == "error"}
        assert blocking <= {"reconciled_to_the_cent", "closed_days_agree_to_the_cent"}, table.key
    assert len(home.rows(RejectedRows)) > 50


BARE_CAST = re.compile(
    r"cast\s*\(|(?<!')::\s*(?!date\b|varchar\b|double\b)\w+|->>\s*'[^']*'\s*\)*\s*::|[\w'\"]\s*::\s*(?:date|double)\b",
    re.IGNORECASE,
)
"""To a number or a moment, and of what JSON or a column holds: days of moments, shares of counts, literals are left."""


@pytest.mark.parametrize("path", sorted((*PROJECT.glob("models/**/*.sql"), *PROJECT.glob("macros/*.sql"))), ids=str)
def test_models_cast_nothing_by_themselves(path: Path) -> None:
    found = [] if path.name == "money.sql" else BARE_CAST.findall(path.read_text())
    assert not found, (
        f"{path.relative_to(PROJECT)} casts by itself ({', '.join(found)}). DuckDB rounds, reads 0x10 and 1_000 as "
        "numbers, and a value out of range ends the model: dbt/macros/money.sql has macros that match a grammar first."
    )


@pytest.mark.parametrize(
    "sql",
    [
        "amount::bigint",
        "try_cast(amount as date)",
        "cast (a as int)",
        "(payload->>'$.at')::date",
        "x:: DECIMAL(18, 2)",
        "at::date",
    ],
)
def test_a_bare_cast_is_recognised(sql: str) -> None:
    assert BARE_CAST.search(sql)
