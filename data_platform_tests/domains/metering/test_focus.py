"""Costs as FOCUS: rows pass a validator that is not ours, sum to the tables to the last digit, and come back by the
reader of bills. Not here: the HTTP door (web), reading others' bills (test_invoices)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from focus_data_toolkit.model.validator import COND_UNIT_PRICING, lint_focus_1_4_structure
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.domains.metering.closing import first_open_month, month_of, obstacles
from data_platform.domains.metering.contracts.billing import RawBilledCharges, TenantSkuCosts
from data_platform.domains.metering.contracts.costs import CostAdjustments, TenantDailyCosts
from data_platform.domains.metering.contracts.shared_costs import RawAllocationRules, RawSharedCosts
from data_platform.domains.metering.focus.charges import CORRECTION, Books, as_lines, charges
from data_platform.domains.metering.focus.files import write_focus
from data_platform.domains.metering.focus.reading import read_focus
from data_platform.domains.metering.focus.rows import SCHEMA, Issuer, focus_rows
from data_platform.domains.metering.money import EXACT, total
from data_platform.domains.metering.transforms.shared_costs import cost_allocation
from data_platform_tests.support.metering_rows import (
    OCTOBER,
    allocation_rule,
    billed_rows,
    daily_cost,
    frame_of,
    invoice_line,
    reconciled,
    shared_cost,
)

ISSUER = Issuer("Studio GmbH", "studio")
ONLY_1_2 = {"ProviderName", "PublisherName"}
MANDATORY_1_2 = """BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd BillingPeriodStart
    ChargeCategory ChargeClass ChargeDescription ChargePeriodEnd ChargePeriodStart ContractedCost EffectiveCost
    InvoiceIssuerName ListCost PricingQuantity PricingUnit ProviderName PublisherName ServiceCategory ServiceName"""
KINDS = ["subscription", "provisioned_throughput", "tax", "credit", "idle", "adjustment"]


def allocation(costs: list[dict[str, Any]], daily: list[dict[str, Any]], method: str = "even") -> pl.DataFrame:
    rules = [allocation_rule(method=method)]
    frames = frame_of(RawSharedCosts, costs), frame_of(RawAllocationRules, rules), frame_of(TenantDailyCosts, daily)
    return cost_allocation(*frames, MONTHS)


def sku_cost(tenant: str, tokens: int, unit_price: str, **changes: Any) -> dict[str, Any]:
    """A row of metering/tenant_sku_costs."""
    row = {
        "usage_date": dt.date(2026, 10, 5),
        "tenant_id": tenant,
        "project_id": "",
        "feature": "",
        "provider": "openai",
        "model": "gpt-4o-2024-08-06",
        "price_id": f"price of {unit_price}",
        "token_class": "input",
        "currency": "EUR",
        "calls": 1,
        "tokens": tokens,
        "unit_price": Decimal(unit_price),
    } | changes
    return row | {"sku_id": f"openai/gpt-4o/{row['token_class']}", "cost": EXACT.multiply(tokens, row["unit_price"])}


def books_of(
    skus: list[dict[str, Any]],
    costs: list[dict[str, Any]],
    adjusted: Iterable[dt.date] = (),
    billed: pl.LazyFrame | None = None,
    month: dt.date = OCTOBER,
) -> Books:
    daily = [daily_cost(row["tenant_id"], "1", usage_date=month) for row in skus]
    adjustments = frame_of(CostAdjustments, [{"usage_date": day} for day in adjusted])
    lines = RawBilledCharges.empty().lazy() if billed is None else billed
    return Books(frame_of(TenantSkuCosts, skus), allocation(costs, daily).lazy(), adjustments, lines)


def rows_of(skus: list[dict[str, Any]], costs: list[dict[str, Any]]) -> pl.LazyFrame:
    return focus_rows(charges(books_of(skus, costs), OCTOBER), OCTOBER, ISSUER)


SKUS = [
    sku_cost("a", 123, "0.000000000000000001", project_id="p", feature="chat"),
    sku_cost("a", 7, "0.00001", project_id="p", feature="chat", token_class="cache_read"),
    sku_cost("b", 5, "0.5", currency="USD", usage_date=dt.date(2026, 10, 31)),
    sku_cost("b", 9, "1", usage_date=dt.date(2026, 11, 1)),
]
COSTS = [shared_cost(cost_id=kind, cost_kind=kind, amount="-10" if kind == "credit" else "10") for kind in KINDS]
COSTS.append(shared_cost(cost_id="lost", rule_id="nothing", amount="7", description="=2+2"))
COSTS.append(shared_cost(cost_id="given back", amount="-3.01"))
DECLARED = {COND_UNIT_PRICING}
"""What the export declares that it supports: the validator then asks for what follows from it."""


def linted(file: Path) -> list[str]:
    """What the validator says of a CSV file, once the two columns of 1.2 are taken out."""
    rows = pl.read_csv(file, infer_schema=False).fill_null("").drop(ONLY_1_2).to_dicts()
    return list(lint_focus_1_4_structure("Cost and Usage", rows, supported_conditions=DECLARED).messages())


def test_a_foreign_validator_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "october.csv"
    written = write_focus(rows_of(SKUS, COSTS), file)
    assert written == len(pl.read_csv(file)) == 3 + 7 * 2 + 1
    assert linted(file) == []
    for wrong in ({"BillingCurrency": "EURO"}, {"SkuPriceId": ""}, {"ListUnitPrice": "2"}):
        spoilt = pl.read_csv(file, infer_schema=False).with_columns(**{k: pl.lit(v) for k, v in wrong.items()})
        spoilt.write_csv(tmp_path / "spoilt.csv")
        assert linted(tmp_path / "spoilt.csv"), "a validator that never finds anything"


def test_the_columns_of_1_2_are_there_too(tmp_path: Path) -> None:
    assert set(MANDATORY_1_2.split()) <= SCHEMA.keys()
    not_null = set(MANDATORY_1_2.split()) - {"ChargeClass", "PricingQuantity", "PricingUnit", "ChargeDescription"}
    found = rows_of(SKUS, COSTS).collect()
    assert found.select(pl.col(not_null).is_null().any()).row(0) == (False,) * len(not_null)
    assert found.schema == SCHEMA


def test_rows_tell_skus_and_projects() -> None:
    found = rows_of(SKUS, []).collect()
    cached, fresh = found.filter(SubAccountId="a").iter_rows(named=True)
    assert (fresh["BilledCost"], fresh["ConsumedQuantity"], fresh["SkuMeter"]) == (Decimal("123e-18"), 123, "input")
    assert (cached["BilledCost"], cached["PricingQuantity"], cached["SkuMeter"]) == (
        Decimal("0.00007"),
        7,
        "cache_read",
    )
    assert (cached["ListUnitPrice"], cached["SkuId"]) == (Decimal("0.00001"), "openai/gpt-4o/cache_read")
    assert (cached["x_ProjectId"], cached["x_Feature"], cached["x_Model"]) == ("p", "chat", "gpt-4o-2024-08-06")
    by_price = found.drop_nulls("SkuPriceId").group_by("SkuPriceId")
    assert by_price.agg(pl.col("SkuId", "ListUnitPrice").n_unique()).select(pl.col("SkuId", "ListUnitPrice").max()).row(
        0
    ) == (1, 1)


def test_what_nobody_bears_is_there_and_no_formula(tmp_path: Path) -> None:
    write_focus(rows_of(SKUS, COSTS), tmp_path / "o.csv")
    lost = pl.read_csv(tmp_path / "o.csv", infer_schema=False).filter(x_SharedCostId="lost").row(0, named=True)
    assert (lost["SubAccountId"], lost["x_NotAllocatedReason"]) == (None, "no_rule")
    assert lost["ChargeDescription"] == "'=2+2"
    with pytest.raises(PlatformError, match="format"):
        write_focus(rows_of(SKUS, COSTS), tmp_path / "o.xlsx")


# ------------------------------------------------------------------------------------------------- all bills
MONTHS = [dt.date(2026, month, 1) for month in (8, 9, 10)]
USED = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from(MONTHS), st.integers(0, 2), st.sampled_from(["input", "output"])),
    st.tuples(st.integers(1, 10**12), st.sampled_from(["0.000000000000000001", "0.25", "3.1"])),
    max_size=6,
)
SHARED = st.dictionaries(st.sampled_from(MONTHS), st.integers(-(10**6), 10**6), max_size=3)


@given(
    states=st.lists(st.tuples(USED, SHARED), min_size=3, max_size=3), order=st.just(MONTHS) | st.permutations(MONTHS)
)
@settings(max_examples=20, deadline=None)
def test_all_bills_sum_to_the_tables_whatever_is_corrected_in_between(
    states: list[tuple[Any, Any]], order: list[dt.date]
) -> None:
    """Each month is closed on what is known then, in any order; then everything is something else, in any month. What
    was issued stays, to the byte; corrections are of closed months alone, on the first open one's bill, and pass the
    validator."""
    issued: list[pl.DataFrame] = []
    bills: dict[dt.date, pl.DataFrame] = {}
    days = [month + dt.timedelta(day) for month in MONTHS for day in range(3)]
    for month, (used, shared) in zip(order, states, strict=True):
        closed = set(bills)
        skus = [
            sku_cost(tenant, tokens, price, usage_date=first + dt.timedelta(day), token_class=name)
            for (tenant, first, day, name), (tokens, price) in used.items()
        ]
        costs = [
            shared_cost(amount=f"{Decimal(cents).scaleb(-2)}", starts_at=dt.datetime.combine(first, dt.time(), dt.UTC))
            for first, cents in shared.items()
        ]
        lines = RawBilledCharges.empty() if not issued else pl.concat(issued)
        books = books_of(skus, costs, days, lines.lazy(), MONTHS[0])
        for before in closed:
            assert charges(books, before).collect().equals(bills[before])
        bill = bills[month] = charges(books, month).collect()
        corrected = bill.filter(pl.col("charge_class") == CORRECTION)
        assert set(corrected["charge_start"].dt.date().dt.month_start()) <= closed
        said = focus_rows(bill.lazy(), month, ISSUER).collect()
        if len(said):
            text = said.with_columns(pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%SZ")).cast(pl.String)
            found = lint_focus_1_4_structure(
                "Cost and Usage", text.fill_null("").drop(ONLY_1_2).to_dicts(), supported_conditions=DECLARED
            )
            assert list(found.messages()) == []
        closed_at = dt.datetime(2026, month.month + 1, 3, tzinfo=dt.UTC)
        issued.append(frame_of(RawBilledCharges, billed_rows(as_lines(bill, month, closed_at))).collect())
        if closed and month != first_open_month(closed):
            assert corrected.is_empty()
            continue
        now = [row["cost"] for row in skus if row["usage_date"].replace(day=1) in bills]
        parts = books.allocation.filter(pl.col("cost_month").is_in(list(bills))).collect()["amount"].to_list()
        billed = [Decimal(amount) for one in issued for amount in one["amount"]]
        assert total(billed) == total([*now, *parts])


def test_our_export_is_a_bill_that_reconciles(tmp_path: Path) -> None:
    """Who is billed by us reads our file as a provider's, and finds usage equal to it."""
    daily = [
        daily_cost("a", "0.000070000000000123", total_tokens=130, model="gpt-4o-2024-08-06"),
        daily_cost(
            "b", "2.5", currency="USD", total_tokens=5, model="gpt-4o-2024-08-06", usage_date=dt.date(2026, 10, 31)
        ),
    ]
    for name in ("o.csv", "o.parquet"):
        write_focus(rows_of(SKUS, []), tmp_path / name)
        lines = [
            invoice_line(
                **{**line, "period_start": dt.datetime.fromisoformat(str(line["period_start"])), "period_end": None}
            )
            for line in read_focus(tmp_path / name).lines
        ]
        found = reconciled(daily, lines)
        assert found["status"].to_list() == ["equal", "equal"]


# ------------------------------------------------------------------------------------------------- closing
def open_points(daily: list[dict[str, Any]], costs: list[dict[str, Any]], lines: list[dict[str, Any]]) -> list[str]:
    frame = frame_of(TenantDailyCosts, daily)
    compared = reconciled(daily, lines).lazy()
    found = obstacles(OCTOBER, dt.date(2026, 11, 3), frame, allocation(costs, daily).lazy(), compared)
    return [one.problem for one in found]


def test_a_month_without_open_points_can_be_closed() -> None:
    assert open_points([daily_cost("a", "1")], [shared_cost()], [invoice_line(amount="1")]) == []
    assert open_points([daily_cost("a", "1")], [], []) == [], "a provider that never bills"


def test_open_points_are_named() -> None:
    daily = [daily_cost("a", "1"), daily_cost("a", "0", currency="", unpriced_calls=2, model="new")]
    daily.append(daily_cost("a", "1", usage_date=dt.date(2026, 10, 6)))
    found = open_points(daily, [shared_cost(rule_id="gone")], [invoice_line(amount="3")])
    assert found == [
        "2 calls without a price: openai new",
        "1 shared cost that nobody bears: c (no_rule)",
        "3 differences between usage and invoices: 2026-10-05 openai gpt-4o (amount_differs), "
        "2026-10-05 openai new (unpriced), 2026-10-06 openai gpt-4o (not_invoiced)",
    ]


def test_a_month_that_is_not_over_stays_open() -> None:
    empty = frame_of(TenantDailyCosts, [])
    compared = reconciled([], []).lazy()
    (found,) = obstacles(month_of("2026-10"), dt.date(2026, 10, 31), empty, allocation([], []).lazy(), compared)
    assert found.problem == "2026-10 ends with 2026-10-31"
