"""A month from landing to its export, through Dagster and the command line: shared costs, an invoice, budgets, savings.
Not here: the rules of each (tests of its own)."""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from data_platform.domains.metering.contracts.billing import RawBilledCharges, TenantSkuCosts
from data_platform.domains.metering.contracts.budgets import BudgetStatus
from data_platform.domains.metering.contracts.costs import CostAdjustments, TenantDailyCosts
from data_platform.domains.metering.contracts.invoices import InvoiceReconciliation
from data_platform.domains.metering.contracts.savings import SavingsOpportunities
from data_platform.domains.metering.contracts.shared_costs import CostAllocation, RawSharedCostsRejected
from data_platform_tests.support.command_line import Run, assert_one_paragraph
from data_platform_tests.support.homes import Home
from data_platform_tests.support.jumping_clock import JumpingClock
from data_platform_tests.support.usage_rows import usage

MADE = (BudgetStatus, InvoiceReconciliation, SavingsOpportunities, CostAllocation, TenantSkuCosts, CostAdjustments)
TABLES = [table.key for table in MADE]
SINCE = "2023-06-01T00:00:00Z"


def price(model: str, token_class: str, unit_price: str) -> dict[str, Any]:
    """Of a million tokens."""
    return {
        "valid_from": SINCE,
        "provider": "openai",
        "model": model,
        "token_class": token_class,
        "unit_price": unit_price,
        "per_tokens": 1_000_000,
        "currency": "USD",
        "source": "list",
    }


def calls() -> list[dict[str, Any]]:
    """Two of acme and one of globex, 3 USD each; one that nobody has a price of."""
    made = {"input_tokens": 1_000_000, "output_tokens": 100_000, "model": "big"}
    return [
        usage(usage_id="1", request_id="1", **made),
        usage(usage_id="2", request_id="2", started_at="2024-01-04T08:00:00Z", **made),
        usage(usage_id="3", request_id="3", tenant_id="globex", project_id=None, **made),
        usage(usage_id="4", request_id="4", tenant_id="globex", **made | {"model": "new"}),
    ]


def land(home: Home) -> None:
    home.drop("calls.ndjson", calls(), "llm_usage")
    prices = [price("big", "input", "2"), price("big", "output", "10")]
    prices += [price("small", "input", "1"), price("small", "output", "1")]
    home.drop("prices.ndjson", prices, "model_prices")
    shared = {"cost_id": "seats", "cost_kind": "subscription", "currency": "USD", "rule_id": "by_cost"}
    home.drop("shared.ndjson", [shared | {"starts_at": "2024-01-01T00:00:00Z", "amount": "100"}], "shared_costs")
    rule = {"rule_id": "by_cost", "rule_version": 1, "method": "cost", "valid_from": SINCE}
    home.drop("rules.ndjson", [rule], "allocation_rules")
    budget = {"budget_id": "all", "tenant_id": "acme", "budget_period": "month", "amount": "7", "currency": "USD"}
    home.drop("budgets.ndjson", [budget | {"valid_from": SINCE}], "budgets")
    classes = [{"valid_from": SINCE, "provider": "openai", "model": m, "model_class": "chat"} for m in ("big", "small")]
    home.drop("classes.ndjson", classes, "model_classes")


BILL = {
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2024-01-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ProviderName": "OpenAI",
}


def bill(file: Path, *rows: tuple[str, str, str]) -> Path:
    """A provider's FOCUS file: day, model, amount."""
    lines = [
        BILL | {"ChargePeriodStart": f"{day}T00:00:00Z", "SkuId": model, "BilledCost": amount}
        for day, model, amount in rows
    ]
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return file


FEBRUARY = {"input_tokens": 1_000_000, "output_tokens": 0, "model": "big", "started_at": "2024-02-01T08:00:00Z"}


def january(home: Home) -> pl.DataFrame:
    """What corrections made of January's days since it was closed."""
    closed_at = home.rows(RawBilledCharges)["closed_at"].max()
    return home.rows(CostAdjustments).filter(pl.col("adjusted_at") > closed_at)


def test_a_month_is_closed_once_everything_is_settled(home: Home, run: Run, tmp_path: Path) -> None:
    land(home)
    assert run("build", *TABLES).code == 0
    parts = home.rows(CostAllocation).sort("tenant_id")
    assert parts.select("tenant_id", pl.col("amount").cast(pl.String).str.slice(0, 5)).rows() == [
        ("acme", "66.67"),
        ("globex", "33.33"),
    ]
    status = home.rows(BudgetStatus).sort("status_date")
    assert status.tail(1).select("spent", "reached_percent").row(0) == (Decimal(6), 80)

    report = " ".join(run("metering", "savings", "--month", "2024-01").out.split())
    assert (
        "acme saves 3.80 USD: call openai small instead of openai big. "
        "2 calls on 2 days cost 6.00 USD and would have cost 2.20 USD." in report
    )
    assert "globex" not in run("metering", "savings", "--month", "2024-01", "--tenant", "acme").out

    # The model without a price, and a bill that charges a cent too much.
    wrong = bill(tmp_path / "wrong.csv", ("2024-01-03", "big", "6.00"), ("2024-01-04", "big", "3.01"))
    imported = run("focus", "import", wrong)
    assert "2 rows of" in imported.out
    assert "(2 usage)" in imported.out
    closed = run("metering", "close", tmp_path / "january.csv", "--month", "2024-01")
    assert "files wait in landing: provider_invoices" in closed.err
    assert run("build", *TABLES).code == 0
    closed = run("metering", "close", tmp_path / "january.csv", "--month", "2024-01")
    assert closed.code == 1
    assert "1 call without a price: openai new" in closed.err
    assert "2024-01-04 openai big (amount_differs)" in closed.err
    assert "2024-01 cannot be closed: 2 open points." in closed.err
    assert not (tmp_path / "january.csv").exists()

    home.drop("more.ndjson", [price("new", "input", "0.5"), price("new", "output", "0")], "model_prices")
    right = bill(tmp_path / "right.csv", ("2024-01-03", "new", "0.50"), ("2024-01-04", "big", "-0.01"))
    assert run("focus", "import", right).code == 0
    assert run("build", *TABLES).code == 0
    assert set(home.rows(InvoiceReconciliation)["status"]) == {"equal"}
    closed = run("metering", "close", tmp_path / "january.csv", "--month", "2024-01", "--issuer", "Studio")
    assert closed.code == 0, closed.err
    assert "calls: 9.5 USD" in closed.out
    assert "shared costs: 100 USD" in closed.out
    exported = pl.read_csv(tmp_path / "january.csv", infer_schema=False)
    billed = sum((Decimal(cost) for cost in exported["BilledCost"]), Decimal(0))
    assert billed == sum(home.rows(TenantDailyCosts)["cost"]) + 100
    assert set(exported["InvoiceIssuerName"]) == {"Studio"}
    assert exported.drop_nulls("x_Model").select("SkuMeter").n_unique() == 2
    again = run("metering", "close", tmp_path / "twice.csv", "--month", "2024-01")
    assert "files wait in landing: billed_charges" in again.err

    # A price that was wrong all along, found after the month was closed: its bill stays, the next one corrects it.
    home.drop("corrected.ndjson", [price("small", "input", "1") | {"model": "big", "unit_price": "3"}], "model_prices")
    home.drop("february.ndjson", [usage(usage_id="9", request_id="9", **FEBRUARY)], "llm_usage")
    assert run("build", *TABLES).code == 0
    again = run("metering", "close", tmp_path / "twice.csv", "--month", "2024-01", "--issuer", "Studio")
    assert "2024-01 was closed before" in again.out
    assert (tmp_path / "twice.csv").read_bytes() == (tmp_path / "january.csv").read_bytes()
    told = run("focus", "export", tmp_path / "february.csv", "--month", "2024-02")
    assert "corrections, calls: 3 USD" in told.out
    assert "corrections, shared costs: 0 USD" in told.out
    corrected = pl.read_csv(tmp_path / "february.csv", infer_schema=False)
    both = [*exported["BilledCost"], *corrected["BilledCost"]]
    assert sum(map(Decimal, both)) == sum(home.rows(TenantDailyCosts)["cost"]) + 100
    corrections = corrected.filter(pl.col("ChargeClass") == "Correction", pl.col("x_SharedCostId").is_null())
    assert sum(map(Decimal, corrections["BilledCost"])) == sum(january(home)["amount"]) == 3
    assert {moment[:10] for moment in corrections["ChargePeriodStart"]} == {"2024-01-03", "2024-01-04"}
    assert {moment[:10] for moment in corrections["BillingPeriodStart"]} == {"2024-02-01"}

    skipped = run("metering", "close", tmp_path / "march.csv", "--month", "2024-03")
    assert "2024-02 is open. Close it first." in skipped.err

    assert run("focus", "export", tmp_path / "acme.parquet", "--month", "2024-01", "--tenant", "acme").code == 0
    assert set(pl.read_parquet(tmp_path / "acme.parquet")["SubAccountId"]) == {"acme"}


def test_a_bill_that_is_issued_again_is_imported_as_a_whole(home: Home, run: Run, tmp_path: Path) -> None:
    home.drop("calls.ndjson", calls()[:1], "llm_usage")
    first = bill(tmp_path / "first.csv", ("2024-01-03", "big", "1.00"), ("2024-01-03", "small", "2"))
    assert run("focus", "import", first).code == 0
    again = bill(tmp_path / "again.csv", ("2024-01-03", "big", "1.25"))
    assert_one_paragraph(run("focus", "import", again, "--replace"), "Invoices wait in landing")
    home.build([InvoiceReconciliation.key])
    assert "2 rows of earlier imports: replaced" in run("focus", "import", again, "--replace").out
    home.build([InvoiceReconciliation.key])
    billed = home.rows(InvoiceReconciliation).drop_nulls("invoiced_amount")
    assert billed.select("model", "invoiced_amount").rows() == [("big", Decimal("1.25"))]


def test_a_shared_cost_of_months_to_come_waits_for_them(home: Home) -> None:
    """Sent in January for February and March, said again for February before it begins: each is borne in its month."""
    cost = {"cost_id": "seats", "cost_kind": "subscription", "currency": "USD", "rule_id": "even"}
    now = dt.datetime.now(dt.UTC)
    with JumpingClock() as clock:
        clock.jump_to(dt.datetime(2024, 1, 20, 12, tzinfo=dt.UTC) - now)
        rule = {"rule_id": "even", "rule_version": 1, "method": "even", "valid_from": SINCE}
        home.drop("rules.ndjson", [rule], "allocation_rules")
        home.drop("calls.ndjson", calls()[:1], "llm_usage")
        announced = [cost | {"starts_at": f"2024-0{month}-01T00:00:00Z", "amount": f"{month}00"} for month in (2, 3)]
        home.drop("costs.ndjson", announced, "shared_costs")
        home.build([CostAllocation.key, RawSharedCostsRejected.key])
        assert home.rows(RawSharedCostsRejected).is_empty()
        assert home.rows(CostAllocation).is_empty()
        clock.jump_to(dt.datetime(2024, 1, 25, 12, tzinfo=dt.UTC) - now)
        home.drop("again.ndjson", [announced[0] | {"amount": "250", "note": "\u00fc"}], "shared_costs")
        home.build([CostAllocation.key])
        clock.jump_to(dt.datetime(2024, 2, 2, 12, tzinfo=dt.UTC) - now)
        home.drop("february.ndjson", [usage(usage_id="9", request_id="9", **FEBRUARY)], "llm_usage")
        home.build([CostAllocation.key])
        borne = home.rows(CostAllocation).select("cost_month", "tenant_id", pl.col("amount").cast(pl.Int64))
        assert borne.rows() == [(dt.date(2024, 2, 1), "acme", 250)]
        # What is said on a later day of a month that has begun is of it, too.
        clock.jump_to(dt.datetime(2024, 2, 20, 12, tzinfo=dt.UTC) - now)
        home.drop("late.ndjson", [announced[0] | {"amount": "260"}], "shared_costs")
        home.build([CostAllocation.key])
        assert home.rows(CostAllocation)["amount"].to_list() == [260]


def test_mistakes_are_told_in_a_paragraph(home: Home, run: Run, tmp_path: Path) -> None:
    assert_one_paragraph(run("focus", "export", tmp_path / "o.csv", "--month", "2024-01"), "No costs have been built.")
    assert_one_paragraph(run("metering", "savings", "--month", "2024-01"), "No savings have been worked out.")
    assert_one_paragraph(run("focus", "import", tmp_path / "none.csv"), "There is no file")
    home.lake.replace(TenantDailyCosts, TenantDailyCosts.empty(), [])
    assert_one_paragraph(run("focus", "export", tmp_path / "o.csv", "--month", "Jan"), "Jan is no month.")
    assert_one_paragraph(run("focus", "export", tmp_path / "o.txt", "--month", "2024-01"), "The format of")
