"""Rows of metering's tables for tests: good ones, with what a test says of them. Not here: homes, assertions."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import polars as pl

from data_platform.core.contract.table import Table

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
