"""Usage is held against invoices with tolerance zero; a FOCUS file's rows are all read or refused with a reason.
Not here: how files get into landing (cli), the step in Dagster."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.domains.metering.contracts.invoices import InvoiceReconciliation, RawProviderInvoices
from data_platform.domains.metering.focus.reading import as_ndjson, lines_of, read_focus, replaced
from data_platform_tests.support.metering_rows import daily_cost, frame_of, invoice_line, rate_card, reconciled
from data_platform_tests.support.shared_data import SHARED_DATA

SAMPLE = SHARED_DATA / "focus_sample" / "focus_sample_a.csv"


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


# ----------------------------------------------------------------------------------------------------- names
DATED = rate_card("gpt-4o", model_pattern=r"gpt-4o-\d{4}-\d\d-\d\d", also_called=r"prod\-chat|GPT 4o \(EU\)")
NAMED = {"a": "gpt-4o", "b": "gpt-4o-2024-08-06", "c": "gpt-4o-2024-11-20", "d": "prod-chat", "e": "o1"}
SAME = "abcd"
"""Of one model by the cards."""


@pytest.mark.parametrize(
    ("used", "billed", "rows"),
    [
        ("b1", "a1", [("b", None, "a", "equal")]),
        ("d1", "c1", [("d", None, "c", "equal")]),
        ("b1 c2 d3", "a6", [("b", "b c d", "a", "equal")]),
        ("b1 c2", "a2", [("b", "b c", "a", "amount_differs")]),
        ("a1 b2", "a2 b1", [("a", None, None, "amount_differs"), ("b", None, None, "amount_differs")]),
        ("a1 b2", "a1", [("a", None, None, "equal"), ("b", None, None, "only_used")]),
        ("a1 b2", "a1 c2", [("a", None, None, "equal"), ("b", None, "c", "equal")]),
        ("b1", "e1", [("b", None, None, "only_used"), ("e", None, None, "only_invoiced")]),
    ],
)
def test_names_of_one_model_meet(used: str, billed: str, rows: list[tuple[str | None, ...]]) -> None:
    """By what prices a call: the list's pattern, and what the company says. One name's difference makes up for no
    other's."""
    daily = [daily_cost("a", each[1], model=NAMED[each[0]]) for each in used.split()]
    lines = [invoice_line(line_id=each, model=NAMED[each[0]], amount=each[1]) for each in billed.split()]
    found = reconciled(daily, lines, [DATED]).select("model", "used_as", "invoiced_as", "status")
    called = {name: short for short, name in NAMED.items()}
    short = [
        [said and " ".join(called.get(one, one) for one in said.split(", ")) for said in row] for row in found.rows()
    ]
    assert short == [[*row] for row in rows]


AMOUNTS = st.dictionaries(st.sampled_from(sorted(NAMED)), st.integers(1, 3), max_size=5)


@given(used=AMOUNTS, billed=AMOUNTS)
@settings(max_examples=80, deadline=None)
def test_every_name_is_in_one_row_and_no_difference_is_lost(used: dict[str, int], billed: dict[str, int]) -> None:
    daily = [daily_cost("a", str(amount), model=NAMED[name]) for name, amount in used.items()]
    lines = [invoice_line(line_id=name, model=NAMED[name], amount=str(amount)) for name, amount in billed.items()]
    found = reconciled(daily, lines, [DATED])
    for column, counted, said in (("used_as", "calls", used), ("invoiced_as", "lines", billed)):
        names = [
            name
            for row in found.filter(pl.col(counted) > 0).iter_rows(named=True)
            for name in (row[column] or row["model"]).split(", ")
        ]
        assert sorted(names) == sorted(NAMED[name] for name in said)
    assert found["used_cost"].sum() == sum(used.values())
    assert (found["invoiced_amount"].sum() or 0) == sum(billed.values())
    for of_model in (SAME, "e"):
        of_used, of_billed = ({name: n for name, n in said.items() if name in of_model} for said in (used, billed))
        names = [NAMED[name] for name in of_model]
        of_rows = found.filter(pl.col("model").is_in(names))
        agree = set(of_rows["status"]) == {"equal"}
        assert agree == (bool(of_rows.height) and _pays(of_used, of_billed)), of_rows


def _pays(used: dict[str, int], billed: dict[str, int]) -> bool:
    """Names that agree alone taken away, the rest is nothing, or the same sum on both sides under other names."""
    alone = {name for name in used if billed.get(name) == used[name]}
    left, asked = ({n: a for n, a in said.items() if n not in alone} for said in (used, billed))
    if not left and not asked:
        return True
    return bool(left and asked) and left.keys() != asked.keys() and sum(left.values()) == sum(asked.values())


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
    first, second = (json.loads(line) for line in as_ndjson(found.lines))
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
    ("quantity", "unit", "tokens"),
    [
        ("1.5", "1K Tokens", 1500),
        ("7", "token", 7),
        ("2", "1000 tokens", 2000),
        ("0.000001", "Million tokens", 1),
        ("0.5", "Tokens", None),
        ("-3", "Tokens", None),
        ("9", "Hours", None),
        ("9", "tokens of gold", None),
        ("NaN", "Tokens", None),
    ],
)
def test_tokens_by_units_that_bills_count_in(quantity: str, unit: str, tokens: int | None) -> None:
    (line,) = lines_of([GOOD | {"ConsumedQuantity": quantity, "ConsumedUnit": unit}]).lines
    assert line.get("tokens") == tokens


def raw_lines(issue: int, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was imported, as ingestion takes it in."""
    rows = []
    for at, line in enumerate(map(json.loads, as_ndjson(lines))):
        moments = {name: dt.datetime.fromisoformat(line[name]) for name in ("period_start", "period_end")}
        where = {"source_file": "f", "source_line": at, "received_at": dt.datetime(2026, 11, issue, tzinfo=dt.UTC)}
        rows.append({"usage_date": moments["period_start"].date()} | line | moments | where)
    return rows


@given(
    issues=st.lists(
        st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("ab"), st.integers(1, 9)), max_size=5), max_size=4
    )
)
@settings(max_examples=40, deadline=None)
def test_a_bill_that_is_issued_again_replaces_what_it_was(issues: list[list[tuple[str, str, int]]]) -> None:
    """Of two invoices; an issue is all of those that it has rows of. What counts is the last issue of each."""
    imported: list[dict[str, Any]] = []
    standing: dict[str, list[tuple[str, Decimal]]] = {}
    for number, rows in enumerate(issues, 1):
        bill = [
            GOOD | {"InvoiceId": invoice, "SkuId": model, "BilledCost": f"{cost}.5"} for invoice, model, cost in rows
        ]
        found = lines_of(bill)
        void = list(replaced(found, frame_of(RawProviderInvoices, imported)))
        imported += raw_lines(number, [*void, *found.lines])
        standing |= {invoice: [] for invoice, _, _ in rows}
        for invoice, model, cost in rows:
            standing[invoice].append((model, Decimal(f"{cost}.5")))
    expected: dict[str, Decimal] = {}
    for model, amount in (line for lines in standing.values() for line in lines):
        expected[model] = expected.get(model, Decimal(0)) + amount
    compared = reconciled([], imported)
    assert dict(compared.select("model", "invoiced_amount").iter_rows()) == expected


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
