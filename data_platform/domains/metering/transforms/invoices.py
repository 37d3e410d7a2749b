"""Usage held against invoices, by day, provider, model and currency, with tolerance zero.
Not here: what is done about a difference, prices. A day has tens of models: rows are compared one by one, exactly."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl

from data_platform.domains.metering.contracts.invoices import InvoiceReconciliation
from data_platform.domains.metering.money import EXACT, amount_of, rounded, total
from data_platform.domains.metering.providers import provider_called

MODELS = "AI and Machine Learning"
"""FOCUS's category of services that models are of."""
KEY = ("usage_date", "provider", "model", "currency")
Row = dict[str, Any]


def invoice_reconciliation(daily_costs: pl.LazyFrame, invoices: pl.LazyFrame) -> pl.DataFrame:
    """In: TenantDailyCosts and RawProviderInvoices of the days. Out: InvoiceReconciliation."""
    summed = daily_costs.group_by(KEY).agg(pl.col("calls", "unpriced_calls", "total_tokens", "cost").sum())
    used: dict[tuple[Any, ...], Row] = {
        tuple(row[name] for name in KEY): row for row in summed.collect().iter_rows(named=True)
    }
    lines: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for line in _lines(invoices):
        lines[line["usage_date"], provider_called(line["provider"]), line["model"] or "", line["currency"]].append(line)
    invoiced = {key[:2] for key in lines}
    rows = [
        dict(zip(KEY, key, strict=True)) | _compared(used.get(key), lines.get(key, []), key[:2] in invoiced)
        for key in sorted(used.keys() | lines.keys())
    ]
    return pl.DataFrame(rows, schema=InvoiceReconciliation.schema(), orient="row")


def _lines(invoices: pl.LazyFrame) -> Iterator[Row]:
    """The newest of each line of usage of models."""
    newest = invoices.sort("received_at", "source_file", "source_line").unique(
        ["usage_date", "provider", "invoice_id", "line_id"], keep="last"
    )
    of_models = newest.filter(
        pl.col("line_kind").fill_null("usage") == "usage", pl.col("service_category").fill_null(MODELS) == MODELS
    )
    yield from of_models.collect().iter_rows(named=True)


def _compared(used: Row | None, lines: Sequence[Row], provider_invoiced: bool) -> Row:
    amounts = [amount_of(line["amount"]) for line in lines]
    known = [amount for amount in amounts if amount is not None]
    invoiced = total(known) if lines and len(known) == len(lines) else None
    counts = [line["tokens"] for line in lines if line["tokens"] is not None]
    tokens = sum(counts) if lines and len(counts) == len(lines) else None
    cost = used["cost"] if used else Decimal(0)
    found = {
        "calls": used["calls"] if used else 0,
        "used_tokens": used["total_tokens"] if used else 0,
        "used_cost": cost,
        "lines": len(lines),
        "invoiced_tokens": tokens,
        "invoiced_amount": invoiced,
        "difference": None if invoiced is None else EXACT.subtract(invoiced, cost),
    }
    return found | {"status": _status(found, used, lines, provider_invoiced)}


def _status(found: Row, used: Row | None, lines: Sequence[Row], provider_invoiced: bool) -> str:
    if used and used["unpriced_calls"]:
        return "unpriced"
    if not lines:
        return "only_used" if provider_invoiced else "not_invoiced"
    if found["invoiced_amount"] is None or any(_is_longer_than_a_day(line) for line in lines):
        return "unreadable"
    if not used:
        return "only_invoiced"
    tokens_equal = found["invoiced_tokens"] in (None, found["used_tokens"])
    if found["difference"] == 0:
        return "equal" if tokens_equal else "tokens_differ"
    if not tokens_equal:
        return "amount_and_tokens_differ"
    return "rounded" if _is_rounded(found, lines) else "amount_differs"


def _is_longer_than_a_day(line: Row) -> bool:
    end = dt.datetime.combine(line["usage_date"] + dt.timedelta(days=1), dt.time(), dt.UTC)
    return line["period_end"] is not None and line["period_end"] > end


def _is_rounded(found: Row, lines: Sequence[Row]) -> bool:
    """Whether usage, rounded as the invoice is (half up, or half to even), is the invoice."""
    decimals = max(len(line["amount"].partition(".")[2]) for line in lines)
    ways = (rounded(found["used_cost"], decimals, way) for way in (ROUND_HALF_UP, ROUND_HALF_EVEN))
    return found["invoiced_amount"] in ways
