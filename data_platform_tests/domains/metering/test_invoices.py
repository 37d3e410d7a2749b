"""Usage is held against invoices with tolerance zero; a FOCUS file's rows are all read or refused with a reason.
Not here: how files get into landing (cli), the step in Dagster."""

from __future__ import annotations

import csv
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.contracts.invoices import (
    InvoiceReconciliation,
    RawProviderInvoices,
)
from data_platform.domains.metering.focus.reading import as_ndjson, lines_of, read_focus
from data_platform.domains.metering.transforms.invoices import invoice_reconciliation
from data_platform_tests.support.metering_rows import daily_cost, frame_of, invoice_line
from data_platform_tests.support.shared_data import SHARED_DATA

SAMPLE = SHARED_DATA / "focus_sample" / "focus_sample_a.csv"


def reconciled(daily: list[dict[str, Any]], lines: list[dict[str, Any]]) -> pl.DataFrame:
    return invoice_reconciliation(frame_of(TenantDailyCosts, daily), frame_of(RawProviderInvoices, lines))


USED = [daily_cost("a", "0.1234"), daily_cost("b", "1.0000004")]
"""30 tokens and 1.1234004 of one model and day."""


@pytest.mark.parametrize(
    ("status", "daily", "lines"),
    [
        ("equal", USED, [{"amount": "1.1234004"}]),
        ("equal", USED, [{"amount": "1", "tokens": 10}, {"line_id": "2", "amount": "0.1234004", "tokens": 20}]),
        ("equal", USED, [{"amount": "9"}, {"amount": "1.1234004", "source_line": 2}]),
        ("equal", USED, [{"amount": "1.1234004", "provider": "OpenAI", "line_kind": "usage"}]),
        ("rounded", USED, [{"amount": "1.12"}]),
        ("rounded", USED, [{"amount": "1.123400"}]),
        ("rounded", [daily_cost("a", "0.125")], [{"amount": "0.12"}]),
        ("rounded", [daily_cost("a", "0.125")], [{"amount": "0.13"}]),
        ("amount_differs", USED, [{"amount": "1.13"}]),
        ("amount_differs", USED, [{"amount": "1.1234003"}]),
        ("tokens_differ", USED, [{"amount": "1.1234004", "tokens": 29}]),
        ("amount_and_tokens_differ", USED, [{"amount": "1.12", "tokens": 29}]),
        ("only_invoiced", [], [{"amount": "1"}]),
        ("not_invoiced", USED, []),
        ("not_invoiced", USED, [{"amount": "1", "line_kind": "tax"}]),
        ("not_invoiced", USED, [{"amount": "1", "service_category": "Storage"}]),
        ("unpriced", [daily_cost("a", "1", unpriced_calls=1)], [{"amount": "1"}]),
        ("unreadable", USED, [{"amount": "one"}]),
        ("unreadable", USED, [{"amount": "1", "period_end": dt.datetime(2026, 10, 7, tzinfo=dt.UTC)}]),
    ],
)
def test_statuses(status: str, daily: list[dict[str, Any]], lines: list[dict[str, Any]]) -> None:
    found = reconciled(daily, [invoice_line(**line) for line in lines])
    assert found["status"].to_list() == [status]


def test_what_is_used_and_not_on_the_invoice_of_the_day_is_a_difference() -> None:
    daily = [daily_cost("a", "1"), daily_cost("a", "2", model="o1"), daily_cost("a", "3", provider="mistral")]
    found = reconciled(daily, [invoice_line(amount="1")])
    assert found.select("provider", "model", "status").rows() == [
        ("mistral", "gpt-4o", "not_invoiced"),
        ("openai", "gpt-4o", "equal"),
        ("openai", "o1", "only_used"),
    ]
    (rule,) = InvoiceReconciliation.table_rules
    assert rule.failing(found.lazy()).collect()["model"].to_list() == ["o1"]


@given(
    used=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10**12)), max_size=6),
    billed=st.lists(st.tuples(st.sampled_from("ab"), st.integers(-(10**12), 10**12)), max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_differences_sum_to_invoiced_minus_used(used: list[tuple[str, int]], billed: list[tuple[str, int]]) -> None:
    daily = [daily_cost(f"t{n}", f"{cost}e-9", model=model) for n, (model, cost) in enumerate(used)]
    lines = [
        invoice_line(line_id=str(n), model=model, amount=f"{Decimal(amount).scaleb(-9):.9f}")
        for n, (model, amount) in enumerate(billed)
    ]
    for row in reconciled(daily, lines).iter_rows(named=True):
        spent = sum((Decimal(cost) for model, cost in used if model == row["model"]), Decimal(0)).scaleb(-9)
        asked = sum((Decimal(amount) for model, amount in billed if model == row["model"]), Decimal(0)).scaleb(-9)
        assert row["used_cost"] == spent
        if row["lines"]:
            assert row["difference"] == asked - spent
            assert (row["status"] in ("equal", "rounded")) == (asked == spent and row["calls"] > 0)


# ----------------------------------------------------------------------------------------------------- FOCUS
GOOD = {
    "BilledCost": "4E-7",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-10-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargePeriodStart": "2026-10-05 10:00:00",
    "ChargePeriodEnd": "2026-10-05T11:00:00Z",
    "ServiceProviderName": "OpenAI",
    "SkuId": "gpt-4o",
    "ConsumedQuantity": "1.5",
    "ConsumedUnit": "1K tokens",
}


@pytest.mark.skipif(not SAMPLE.exists(), reason="the FOCUS sample is not here")
def test_every_row_of_the_sample_is_accounted_for() -> None:
    found = read_focus(SAMPLE)
    assert (found.rows, len(found.refused)) == (500, 0)
    assert found.kinds == {"usage": 498, "credit": 1, "adjustment": 1}
    with SAMPLE.open() as lines:
        billed = sum((Decimal(row["BilledCost"]) for row in csv.DictReader(lines)), Decimal(0))
    assert sum((Decimal(str(line["amount"])) for line in found.lines), Decimal(0)) == billed
    assert len({line["line_id"] for line in found.lines}) == 500


def test_a_row_becomes_a_line_and_the_same_row_twice_two() -> None:
    found = lines_of([GOOD, GOOD])
    first, second = (json.loads(line) for line in as_ndjson(found))
    assert first["line_id"] != second["line_id"]
    assert {**first, "line_id": ""} == {
        "line_id": "",
        "invoice_id": "OpenAI 2026-10",
        "period_start": "2026-10-05T10:00:00+00:00",
        "period_end": "2026-10-05T11:00:00+00:00",
        "line_kind": "usage",
        "provider": "openai",
        "model": "gpt-4o",
        "tokens": 1500,
        "amount": "0.0000004",
        "currency": "USD",
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"BilledCost": "NULL"}, "BilledCost None"),
        ({"BilledCost": "Infinity"}, "BilledCost Infinity"),
        ({"BilledCost": "1" * 16}, "at most 15 digits"),
        ({"ServiceProviderName": ""}, "no provider"),
        ({"BillingCurrency": "NULL"}, "no currency"),
        ({"ChargeCategory": None}, "no charge category"),
        ({"ChargePeriodStart": "yesterday"}, "ChargePeriodStart yesterday"),
    ],
)
def test_a_row_that_is_no_line_says_why(change: dict[str, str | None], reason: str) -> None:
    found = lines_of([GOOD | change, GOOD])
    assert len(found.lines) == 1
    ((number, why),) = found.refused
    assert number == 1
    assert reason in why


def test_parquet_says_the_same_and_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    typed = pl.DataFrame([GOOD]).with_columns(
        pl.lit("0.0000004").cast(pl.Decimal(38, 17)).alias("BilledCost"),
        pl.lit(dt.datetime(2026, 10, 5, 10)).dt.replace_time_zone("UTC").alias("ChargePeriodStart"),
    )
    typed.write_parquet(tmp_path / "bill.parquet")
    (line,) = read_focus(tmp_path / "bill.parquet").lines
    assert (line["period_start"], Decimal(str(line["amount"]))) == ("2026-10-05T10:00:00+00:00", Decimal("4E-7"))
    typed.drop("BilledCost", "ServiceProviderName").write_csv(tmp_path / "other.csv")
    with pytest.raises(PlatformError, match="no column BilledCost, ServiceProviderName or ProviderName"):
        read_focus(tmp_path / "other.csv")
    with pytest.raises(PlatformError, match="There is no file"):
        read_focus(tmp_path / "nothing.csv")
