"""What of usage is shown as spending while it arrives.
Not here: how it is followed, added up and served (web/costs)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.text import says_something
from data_platform.domains.metering.contracts.budgets import BudgetStatus
from data_platform.domains.metering.contracts.costs import UnpricedUsage
from data_platform.domains.metering.contracts.model_names import RawModelNames
from data_platform.domains.metering.contracts.prices import PriceChanges
from data_platform.domains.metering.contracts.savings import SavingsOpportunities
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.queries import COSTS
from data_platform.domains.metering.sources import LLM_USAGE
from data_platform.domains.metering.transforms.clean_usage import clean_usage, counting_reports
from data_platform.domains.metering.transforms.costs import price_calls
from data_platform.domains.metering.transforms.rate_cards import rate_cards
from data_platform.domains.metering.transforms.rollups import daily_costs
from data_platform.sources.live_spend import Gauges, Listing, LiveSpend

BY = ["usage_date", "tenant_id", "feature", "model", "currency"]


def calls(raw: pl.DataFrame) -> pl.DataFrame:
    """RawLlmUsage → LlmUsage, as if nothing else had been received."""
    return clean_usage(raw, raw.clear().lazy()).clean


def identity(usage: pl.DataFrame) -> pl.Series:
    """What makes two reports one call: the provider's id of the request, or, without one, the id of the report."""
    by_request = says_something("request_id")
    call = pl.when(by_request).then("request_id").otherwise("usage_id")
    return usage.select(call=pl.struct("tenant_id", by_request.alias("by_request"), call.alias("call_id")).hash())[
        "call"
    ]


def counting(usage: pl.DataFrame) -> pl.DataFrame:
    """Of several LlmUsage of a call the one that counts."""
    ordered = counting_reports(usage)
    return ordered.filter(identity(ordered).is_first_distinct())


def summed(usage: pl.DataFrame, changes: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """LlmUsage, PriceChanges and RawModelNames → what the calls cost, as in TenantDailyCosts, by fewer columns."""
    days: list[dt.date] = usage["usage_date"].unique().to_list()
    cards = rate_cards(changes.lazy(), names.lazy(), sorted(days))
    by_caller = daily_costs(price_calls(usage, cards).costs.lazy())
    numbers = [measure.name for measure in COSTS.measures]
    return by_caller.group_by(BY).agg(pl.col(numbers).sum()).collect()


SPEND = LiveSpend(
    LLM_USAGE,
    COSTS,
    (PriceChanges, RawModelNames),
    calls,
    identity,
    counting,
    summed,
    day=str(LlmUsage.partition),
    gauges=(Gauges(BudgetStatus, "budget_id", "spent", "amount", "forecast", "currency"),),
    listings=(
        Listing(
            "Usage without a price",
            "Every call has a price.",
            UnpricedUsage,
            {"model": "model", "class": "token_class", "reason": "reason"},
            {"tokens": "tokens"},
        ),
        Listing(
            "Savings, each by itself: they overlap",
            "No saving was found.",
            SavingsOpportunities,
            {"by": "kind_of_saving", "model": "model", "instead": "instead", "currency": "currency"},
            {"saved": "saved"},
        ),
    ),
)
