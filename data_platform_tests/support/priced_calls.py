"""Lines of price lists and calls without a lake: priced by the same functions as the tables.
Not here: any assertion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import polars as pl

from data_platform.domains.metering.contracts.model_names import RawModelNames
from data_platform.domains.metering.contracts.prices import RawModelPrices
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.price_lists.lines import PriceLine
from data_platform.domains.metering.token_classes import TOKEN_CLASSES, tokens_of
from data_platform.domains.metering.transforms.costs import PricedCalls, price_calls
from data_platform.domains.metering.transforms.price_changes import SortedPrices, sort_prices
from data_platform.domains.metering.transforms.rate_cards import rate_cards


def sorted_lines(lines: Sequence[PriceLine], first_day: dt.date) -> SortedPrices:
    """What becomes of the lines when they are received."""
    where = {"source_file": "prices.ndjson", "received_at": dt.datetime(2026, 11, 1, tzinfo=dt.UTC)}
    rows = []
    for number, line in enumerate(lines, 1):
        price = None if line.unit_price is None else format(line.unit_price, "f")
        said = vars(line) | where | {"unit_price": price, "source_line": number}
        said["valid_date"] = max(first_day, line.valid_from.date())
        rows.append(dict.fromkeys(RawModelPrices.columns) | said)
    return sort_prices(pl.DataFrame(rows, schema=RawModelPrices.schema()))


NO_NAMES = RawModelNames.empty().lazy()


def call(number: int, started_at: dt.datetime, provider: str, model: str, **more: Any) -> dict[str, Any]:
    """A row of LlmUsage; tokens by the names of their columns, none by default."""
    made = dict.fromkeys(LlmUsage.columns) | dict.fromkeys(map(tokens_of, TOKEN_CLASSES), 0)
    made |= {"usage_id": f"u-{number}", "tenant_id": "acme", "status": "ok", "reports": 1, "started_at": started_at}
    made |= {"usage_date": started_at.date(), "provider": provider, "model": model, **more}
    return made | {"total_tokens": sum(made[tokens_of(name)] for name in TOKEN_CLASSES)}


def priced(calls: Sequence[dict[str, Any]], prices: SortedPrices) -> PricedCalls:
    """The calls by the prices of their days."""
    usage = pl.DataFrame(list(calls), schema=LlmUsage.schema())
    days = sorted(usage["usage_date"].unique())
    parts = []
    for day in days:
        known = prices.changes.lazy().filter(pl.col("valid_date") <= day)
        parts.append(price_calls(usage.filter(pl.col("usage_date") == day), rate_cards(known, NO_NAMES, [day])))
    return PricedCalls(pl.concat([one.costs for one in parts]), pl.concat([one.unpriced for one in parts]))
