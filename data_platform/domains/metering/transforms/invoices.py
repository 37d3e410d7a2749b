"""Usage held against invoices, by day, provider, model and currency, with tolerance zero.
Not here: which names mean one model (matching), what is done about a difference, prices. A day has tens of models: rows
are compared one by one, exactly."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl

from data_platform.core.contract.calendar import end_of
from data_platform.domains.metering.contracts.invoices import AGREES, InvoiceReconciliation
from data_platform.domains.metering.money import EXACT, amount_of, rounded, total
from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.transforms.matching import models_meant

MODELS = "AI and Machine Learning"
"""FOCUS's category of services that models are of."""
KEY = ("usage_date", "provider", "model", "currency")
CALLED = {name: InvoiceReconciliation.schema()[name] for name in KEY[:3]}
Row = dict[str, Any]
Key = tuple[dt.date, str, str, str]
"""KEY of calls or of lines of invoices, by the name that they give the model."""


def invoice_reconciliation(daily_costs: pl.LazyFrame, invoices: pl.LazyFrame, cards: pl.LazyFrame) -> pl.DataFrame:
    """In: TenantDailyCosts, RawProviderInvoices and RateCards of the days. Out: InvoiceReconciliation.

    Names of calls and of invoices meet that mean one model. Where a name agrees by itself it has a row of its own, so
    that the differences of two names cannot make up for each other; what is left of the model is compared together.
    """
    summed = daily_costs.group_by(KEY).agg(pl.col("calls", "unpriced_calls", "total_tokens", "cost").sum())
    used: dict[Key, Row] = {_key(row): row for row in summed.collect().iter_rows(named=True)}
    lines: dict[Key, list[Row]] = defaultdict(list)
    for line in _lines(invoices):
        lines[_key(line | {"provider": provider_called(line["provider"]), "model": line["model"] or ""})].append(line)
    invoiced = {key[:2] for key in lines}
    rows = [
        row
        for (day, provider, _, _), keys in _by_model(used.keys() | lines.keys(), cards).items()
        for row in _of_model(keys, used, lines, (day, provider) in invoiced)
    ]
    frame = pl.DataFrame(rows, schema=InvoiceReconciliation.schema(), orient="row")
    return frame.sort(KEY)


def _key(row: Row) -> Key:
    return row["usage_date"], row["provider"], row["model"], row["currency"]


def _by_model(keys: Iterable[Key], cards: pl.LazyFrame) -> dict[Key, list[Key]]:
    """The keys by the model that their names mean."""
    called = pl.DataFrame([key[:3] for key in keys], schema=CALLED, orient="row")
    meant = {
        (day, provider, name): model for day, provider, name, model in models_meant(called, cards.collect()).rows()
    }
    found: dict[Key, list[Key]] = defaultdict(list)
    for day, provider, name, currency in sorted(keys):
        found[day, provider, meant[day, provider, name], currency].append((day, provider, name, currency))
    return found


def _of_model(
    keys: Sequence[Key], used: Mapping[Key, Row], lines: Mapping[Key, list[Row]], invoiced: bool
) -> Iterator[Row]:
    """The rows of one model, day and currency; `keys` are all names that mean it."""
    by_name = {key: _compared(used.get(key), lines.get(key, []), invoiced) for key in keys}
    both = [key for key in keys if key in used and key in lines]
    alone = {key for key in both if by_name[key]["status"] in AGREES}
    left = [key for key in keys if key not in alone]
    of_usage, of_invoices = [key for key in left if key in used], [key for key in left if key in lines]
    if not of_usage or not of_invoices or of_usage == of_invoices:
        alone.update(left)
    elif left:
        together = _compared(
            _sum_of([used[key] for key in of_usage]), [line for key in of_invoices for line in lines[key]], invoiced
        )
        # What calls name it: the name of the price list may be another row's.
        day, provider, model, currency = of_usage[0]
        yield (
            _named(day, provider, model, currency)
            | together
            | {
                "used_as": _others(of_usage, model),
                "invoiced_as": _others(of_invoices, model),
            }
        )
    for key in sorted(alone):
        yield _named(*key) | by_name[key]


def _named(day: dt.date, provider: str, model: str, currency: str) -> Row:
    return {"usage_date": day, "provider": provider, "model": model, "currency": currency}


def _others(keys: Sequence[Key], model: str) -> str | None:
    """The names, where they are not this one alone."""
    names = [key[2] for key in keys]
    return None if names == [model] else ", ".join(names)


def _sum_of(rows: Sequence[Row]) -> Row:
    counts = {name: sum(row[name] for row in rows) for name in ("calls", "unpriced_calls", "total_tokens")}
    return counts | {"cost": total(row["cost"] for row in rows)}


def newest_lines(invoices: pl.LazyFrame) -> pl.LazyFrame:
    """RawProviderInvoices, of those of one id the newest."""
    ordered = invoices.sort("received_at", "source_file", "source_line", maintain_order=True)
    return ordered.unique(["usage_date", "provider", "invoice_id", "line_id"], keep="last", maintain_order=True)


def _lines(invoices: pl.LazyFrame) -> Iterator[Row]:
    """The newest of each line of usage of models."""
    of_models = newest_lines(invoices).filter(
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
    end = end_of(line["usage_date"])
    return line["period_end"] is not None and line["period_end"] > end


def _is_rounded(found: Row, lines: Sequence[Row]) -> bool:
    """Whether usage, rounded as the invoice is (half up, or half to even), is the invoice."""
    decimals = max(len(line["amount"].partition(".")[2]) for line in lines)
    ways = (rounded(found["used_cost"], decimals, way) for way in (ROUND_HALF_UP, ROUND_HALF_EVEN))
    return found["invoiced_amount"] in ways
