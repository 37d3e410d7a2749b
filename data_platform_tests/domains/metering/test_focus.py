"""Costs as FOCUS: rows pass a validator that is not ours, sum to the tables to the last digit, and come back by the
reader of bills. Not here: the HTTP door (web), reading others' bills (test_invoices)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from focus_data_toolkit.model.validator import lint_focus_1_4_structure
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.domains.metering.closing import month_of, obstacles
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.contracts.invoices import RawProviderInvoices
from data_platform.domains.metering.contracts.shared_costs import RawAllocationRules, RawSharedCosts
from data_platform.domains.metering.focus.files import write_focus
from data_platform.domains.metering.focus.reading import read_focus
from data_platform.domains.metering.focus.rows import SCHEMA, Issuer, focus_rows
from data_platform.domains.metering.transforms.invoices import invoice_reconciliation
from data_platform.domains.metering.transforms.shared_costs import cost_allocation
from data_platform_tests.support.metering_rows import (
    OCTOBER,
    allocation_rule,
    daily_cost,
    frame_of,
    invoice_line,
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
    return cost_allocation(*frames, [OCTOBER])


def rows_of(daily: list[dict[str, Any]], costs: list[dict[str, Any]]) -> pl.LazyFrame:
    return focus_rows(frame_of(TenantDailyCosts, daily), allocation(costs, daily).lazy(), OCTOBER, ISSUER)


DAILY = [
    daily_cost("a", "0.123456789012345678", project_id="p", feature="chat", user_id="u1"),
    daily_cost("a", "1", project_id="p", feature="chat", user_id="u2"),
    daily_cost("b", "2.5", currency="USD", usage_date=dt.date(2026, 10, 31)),
    daily_cost("b", "0", currency="", unpriced_calls=1),
    daily_cost("b", "9", usage_date=dt.date(2026, 11, 1)),
]
COSTS = [shared_cost(cost_id=kind, cost_kind=kind, amount="-10" if kind == "credit" else "10") for kind in KINDS]
COSTS.append(shared_cost(cost_id="lost", rule_id="nothing", amount="7", description="=2+2"))


def linted(file: Path) -> list[str]:
    """What the validator says of a CSV file, once the two columns of 1.2 are taken out."""
    rows = pl.read_csv(file, infer_schema=False).fill_null("").drop(ONLY_1_2).to_dicts()
    return list(lint_focus_1_4_structure("Cost and Usage", rows).messages())


def test_a_foreign_validator_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "october.csv"
    written = write_focus(rows_of(DAILY, COSTS), file)
    assert written == len(pl.read_csv(file)) == 2 + 6 * 2 + 1
    assert linted(file) == []
    spoilt = pl.read_csv(file, infer_schema=False).with_columns(BillingCurrency=pl.lit("EURO"))
    spoilt.write_csv(tmp_path / "spoilt.csv")
    assert linted(tmp_path / "spoilt.csv"), "a validator that never finds anything"


def test_the_columns_of_1_2_are_there_too(tmp_path: Path) -> None:
    assert set(MANDATORY_1_2.split()) <= SCHEMA.keys()
    not_null = set(MANDATORY_1_2.split()) - {"ChargeClass", "PricingQuantity", "PricingUnit", "ChargeDescription"}
    found = rows_of(DAILY, COSTS).collect()
    assert found.select(pl.col(not_null).is_null().any()).row(0) == (False,) * len(not_null)
    assert found.schema == SCHEMA


def test_rows_tell_projects_and_no_users() -> None:
    found = rows_of(DAILY, []).collect()
    row = found.filter(SubAccountId="a").row(0, named=True)
    assert (row["BilledCost"], row["x_Calls"], row["ConsumedQuantity"]) == (Decimal("1.123456789012345678"), 2, 30)
    assert (row["x_ProjectId"], row["x_Feature"], row["SkuId"]) == ("p", "chat", "gpt-4o")
    assert "u1" not in found.write_csv()


def test_what_nobody_bears_is_there_and_no_formula(tmp_path: Path) -> None:
    write_focus(rows_of(DAILY, COSTS), tmp_path / "o.csv")
    lost = pl.read_csv(tmp_path / "o.csv", infer_schema=False).filter(x_SharedCostId="lost").row(0, named=True)
    assert (lost["SubAccountId"], lost["x_NotAllocatedReason"]) == (None, "no_rule")
    assert lost["ChargeDescription"] == "'=2+2"
    with pytest.raises(PlatformError, match="format"):
        write_focus(rows_of(DAILY, COSTS), tmp_path / "o.xlsx")


MONEY = st.integers(0, 10**24).map(lambda units: str(Decimal(units).scaleb(-18)))


@given(
    costs=st.lists(st.tuples(st.sampled_from("abc"), MONEY, st.integers(1, 31)), max_size=8),
    shared=st.lists(st.integers(-(10**9), 10**9), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_billed_cost_is_what_the_tables_say(costs: list[tuple[str, str, int]], shared: list[int]) -> None:
    daily = [
        daily_cost(tenant, cost, usage_date=dt.date(2026, 10, day), user_id=str(n))
        for n, (tenant, cost, day) in enumerate(costs)
    ]
    lines = [shared_cost(cost_id=str(n), amount=f"{Decimal(cents).scaleb(-2)}") for n, cents in enumerate(shared)]
    found = rows_of(daily, lines).collect()
    expected = sum((int(Decimal(cost).scaleb(18)) for _, cost, _ in costs), 0) + sum(shared) * 10**16
    assert sum((int(cost.scaleb(18)) for cost in found["BilledCost"]), 0) == expected


def test_our_export_is_a_bill_that_reconciles(tmp_path: Path) -> None:
    """Who is billed by us reads our file as a provider's, and finds usage equal to it."""
    daily = [row for row in DAILY if row["currency"] and row["usage_date"] < dt.date(2026, 11, 1)]
    for name in ("o.csv", "o.parquet"):
        write_focus(rows_of(daily, []), tmp_path / name)
        lines = [
            invoice_line(
                **{**line, "period_start": dt.datetime.fromisoformat(str(line["period_start"])), "period_end": None}
            )
            for line in read_focus(tmp_path / name).lines
        ]
        found = invoice_reconciliation(frame_of(TenantDailyCosts, daily), frame_of(RawProviderInvoices, lines))
        assert found["status"].to_list() == ["equal", "equal"]


# ------------------------------------------------------------------------------------------------- closing
def open_points(daily: list[dict[str, Any]], costs: list[dict[str, Any]], lines: list[dict[str, Any]]) -> list[str]:
    frame = frame_of(TenantDailyCosts, daily)
    reconciled = invoice_reconciliation(frame, frame_of(RawProviderInvoices, lines))
    found = obstacles(OCTOBER, dt.date(2026, 11, 3), frame, allocation(costs, daily).lazy(), reconciled.lazy())
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
    reconciled = invoice_reconciliation(empty, frame_of(RawProviderInvoices, [])).lazy()
    (found,) = obstacles(month_of("2026-10"), dt.date(2026, 10, 31), empty, allocation([], []).lazy(), reconciled)
    assert found.problem == "2026-10 ends with 2026-10-31"
