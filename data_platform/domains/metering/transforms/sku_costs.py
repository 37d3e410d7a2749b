"""What calls cost by price and class of tokens, from the calls, what they cost and the day's rate cards.
Not here: what a call costs (costs), bills (focus)."""

from __future__ import annotations

import polars as pl

from data_platform.domains.metering.contracts.billing import TenantSkuCosts
from data_platform.domains.metering.contracts.costs import NO_PROJECT
from data_platform.domains.metering.token_classes import TOKEN_CLASSES, tokens_of
from data_platform.domains.metering.transforms.matching import ANY_PROVIDER
from data_platform.domains.metering.transforms.parts import parts_of
from data_platform.domains.metering.transforms.rate_cards import price_of

CALL = ["usage_date", "tenant_id", "usage_id"]
BY = ["usage_date", "tenant_id", "project_id", "feature", "provider", "model", "price_id"]


def sku_costs(usage: pl.LazyFrame, costs: pl.LazyFrame, cards: pl.LazyFrame) -> pl.DataFrame:
    """LlmUsage, UsageCosts and RateCards of the same days → TenantSkuCosts.

    Sums of whole tokens times the price that priced each of them: what the calls cost, to the last digit.
    """
    callers = [pl.col(name).fill_null(NO_PROJECT) for name in ("project_id", "feature")]
    priced = costs.drop_nulls("cost").select(*CALL, *callers, "provider", "model", "price_id")
    tokens = [tokens_of(name) for name in TOKEN_CLASSES]
    calls = [(pl.col(name) > 0).sum().cast(pl.Int64).alias(f"{name}_calls") for name in tokens]
    used = usage.select(*CALL, *tokens)
    summed = [
        part.collect(part.rows(priced).join(part.rows(used), on=CALL).group_by(BY).agg(pl.col(tokens).sum(), *calls))
        for part in parts_of(costs.select(pl.len()).collect().item())
    ]
    together = pl.concat(summed).group_by(BY).agg(pl.exclude(BY).sum()) if len(summed) > 1 else summed[0]
    found = together.lazy().join(_prices(cards), on=["usage_date", "price_id"])
    return pl.concat(_of_class(found, name) for name in TOKEN_CLASSES).collect()


def _prices(cards: pl.LazyFrame) -> pl.LazyFrame:
    """Each price of a day once; it may hold in two parts of it."""
    provider = pl.when(pl.col("provider") != ANY_PROVIDER).then(pl.col("provider") + "/").otherwise(pl.lit(""))
    prices = [price_of(name) for name in TOKEN_CLASSES]
    named = cards.select("price_id", "currency", *prices, usage_date="price_date", sku=provider + pl.col("model"))
    return named.unique(["usage_date", "price_id"])


def _of_class(found: pl.LazyFrame, token_class: str) -> pl.LazyFrame:
    tokens, price = pl.col(tokens_of(token_class)), pl.col(price_of(token_class))
    return (
        found.filter(tokens > 0)
        .select(
            *BY,
            token_class=pl.lit(token_class),
            sku_id=pl.col("sku") + f"/{token_class}",
            currency="currency",
            calls=f"{tokens_of(token_class)}_calls",
            tokens=tokens,
            unit_price=price,
            cost=tokens * price,
        )
        .select(list(TenantSkuCosts.columns))
    )
