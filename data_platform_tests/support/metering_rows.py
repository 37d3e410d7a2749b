"""Rows of metering's tables for tests: good ones, with what a test says of them. Not here: homes, assertions."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.contracts.invoices import RawProviderInvoices
from data_platform.domains.metering.contracts.prices import RateCards
from data_platform.domains.metering.token_classes import TOKEN_CLASSES, tokens_of
from data_platform.domains.metering.transforms.invoices import invoice_reconciliation

OCTOBER = dt.date(2026, 10, 1)
Row = dict[str, Any]


def frame_of(table: type[Table], rows: Iterable[Mapping[str, Any]]) -> pl.LazyFrame:
    """Rows as the contract types them; columns that are not given are null."""
    made = [{name: None for name in table.columns} | dict(row) for row in rows]
    return pl.DataFrame(made, schema=table.schema(), orient="row").lazy()


def _received(row: Row) -> Row:
    return {"source_file": "f.ndjson", "source_line": 1, "received_at": dt.datetime(2026, 11, 2, tzinfo=dt.UTC)} | row


def shared_cost(**changes: Any) -> Row:
    row = {
        "cost_id": "c",
        "starts_at": dt.datetime(2026, 10, 1, tzinfo=dt.UTC),
        "cost_kind": "subscription",
        "amount": "100.00",
        "currency": "EUR",
        "rule_id": "r",
    } | changes
    return _received(row | {"cost_date": row["starts_at"].date()})


def allocation_rule(**changes: Any) -> Row:
    row = {
        "rule_id": "r",
        "rule_version": 1,
        "method": "even",
        "valid_from": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    } | changes
    if isinstance(row.get("shares"), dict):
        row["shares"] = json.dumps(row["shares"])
    return _received(row | {"valid_date": row["valid_from"].date()})


def daily_cost(tenant: str, cost: str, **changes: Any) -> Row:
    """A row of metering/tenant_daily_costs."""
    return {
        "usage_date": dt.date(2026, 10, 5),
        "tenant_id": tenant,
        "project_id": "",
        "feature": "",
        "provider": "openai",
        "model": "gpt-4o",
        "user_id": "",
        "currency": "EUR",
        "calls": 1,
        "failed_calls": 0,
        "unpriced_calls": 0,
        "input_tokens": 10,
        "cache_read_tokens": 0,
        "output_tokens": 5,
        "total_tokens": 15,
        "cost": Decimal(cost),
    } | changes


def reconciled(daily: Iterable[Row], lines: Iterable[Row], cards: Iterable[Row] = ()) -> pl.DataFrame:
    """InvoiceReconciliation of rows of TenantDailyCosts, of invoice lines and of rate cards."""
    tables = ((TenantDailyCosts, daily), (RawProviderInvoices, lines), (RateCards, cards))
    return invoice_reconciliation(*(frame_of(table, rows) for table, rows in tables))


def billed_rows(lines: Iterable[str]) -> list[Row]:
    """Lines of landing/billed_charges as ingestion takes them in."""
    moments = ("closed_at", "billing_start", "charge_start", "charge_end")
    read = [json.loads(line) for line in lines]
    rows = [row | {name: dt.datetime.fromisoformat(row[name]) for name in moments} for row in read]
    return [row | {"closed_date": row["closed_at"].date()} for row in rows]


def invoice_line(**changes: Any) -> Row:
    row = {
        "period_start": dt.datetime(2026, 10, 5, tzinfo=dt.UTC),
        "invoice_id": "2026-10",
        "line_id": "1",
        "provider": "openai",
        "model": "gpt-4o",
        "amount": "1.00",
        "currency": "EUR",
    } | changes
    return _received(row | {"usage_date": row["period_start"].date()})


def budget(**changes: Any) -> Row:
    row = {
        "budget_id": "b",
        "tenant_id": "a",
        "budget_period": "month",
        "amount": "100",
        "currency": "EUR",
        "valid_from": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    } | changes
    return _received(row | {"valid_date": row["valid_from"].date()})


def call(usage_id: str, **changes: Any) -> Row:
    """A row of clean/llm_usage; `minute` of 2026-10-05 is when it was made."""
    minute = changes.pop("minute", 0)
    row = dict.fromkeys((tokens_of(name) for name in TOKEN_CLASSES), 0)
    row |= {
        "usage_id": usage_id,
        "tenant_id": "a",
        "provider": "openai",
        "model": "big",
        "started_at": dt.datetime(2026, 10, 5, tzinfo=dt.UTC) + dt.timedelta(minutes=minute),
        "status": "ok",
        "reports": 1,
        "input_tokens": 1000,
        "output_tokens": 100,
    } | changes
    total = sum(row[tokens_of(name)] for name in TOKEN_CLASSES)
    return row | {"usage_date": row["started_at"].date(), "total_tokens": total}


def rate_card(model: str, **changes: Any) -> Row:
    """A row of metering/rate_cards of 2026-10-05, prices as text."""
    midnight = dt.datetime(2026, 10, 5, tzinfo=dt.UTC)
    row = {
        "price_date": midnight.date(),
        "provider": "openai",
        "model": model,
        "from_input_tokens": 0,
        "currency": "EUR",
        "from_time": midnight,
        "to_time": midnight + dt.timedelta(days=1),
        "input_price": "0.00001",
        "output_price": "0.00004",
    } | changes
    prices = {name: Decimal(value) for name, value in row.items() if name.endswith("_price") and value}
    return row | prices | {"price_id": f"{model} {changes}"}
