"""Which model of the day's rate cards a name means, and which of its rows a call may be priced by.
Belongs here: names and patterns of models, whose price and for which terms. Not here: time, length, money (costs)."""

from __future__ import annotations

import polars as pl

from data_platform.domains.metering.transforms.price_changes import whole_name

ANY_PROVIDER = "*"
"""Provider of price lists that name none: for usage of whichever."""
DAY = "usage_date"
CALLER = (DAY, "tenant_id", "provider", "model", "region", "service_tier")
"""What of a call decides by which rows it may be priced, besides its time and length."""
NEARNESS = {"also_called": -2, "model_pattern": 2}
"""Columns of patterns → how near a name is that matches; one more where the list names no provider."""
NAMES = ("price_provider", "price_model", "price_tenant", "price_region")
"""What of a rate card answers to `provider`, `model`, `tenant_id` and `region` of the call."""


def models_found(profiles: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """The models of the day's cards that each called name may mean: DAY, provider, model, price_provider, price_model
    and `nearness`: below 0 where the company says so, 0 for the name itself, 1 if the list names no provider, 2 and 3
    for a pattern."""
    called = profiles.select(DAY, "provider", "model").unique()
    listed = cards.select(
        pl.col("price_date").alias(DAY), *NEARNESS, price_provider="provider", price_model="model"
    ).unique()
    itself = called.join(listed, left_on=[DAY, "provider", "model"], right_on=[DAY, "price_provider", "price_model"])
    itself = itself.with_columns(price_provider="provider", price_model="model", nearness=pl.lit(0))
    anyones = listed.filter(pl.col("price_provider") == ANY_PROVIDER)
    unnamed = called.join(anyones, left_on=[DAY, "model"], right_on=[DAY, "price_model"])
    unnamed = unnamed.with_columns(price_model="model", nearness=pl.lit(1))
    columns = [DAY, "provider", "model", "price_provider", "price_model", "nearness"]
    parts = [itself.select(columns), unnamed.select(columns)]
    for column, nearness in NEARNESS.items():
        matching = called.join(_matching(called, listed, column, nearness), on=["provider", "model"])
        on = [DAY, "price_provider", "price_model", column]
        parts.append(matching.join(listed, on=on, how="semi").select(columns))
    return pl.concat(parts).group_by(columns[:-1]).agg(pl.col("nearness").min())


def models_meant(called: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """DAY, provider and model of each called name, once, and `meant`: the model of the day's cards that is nearest to
    it, in the order of `candidates`; the name itself where there is none. What prices a call, said of a name alone."""
    nearest = ["nearness", -pl.col("price_model").str.len_chars().cast(pl.Int32), "price_model"]
    key = [DAY, "provider", "model"]
    found = models_found(called, cards).sort(nearest).unique(key, keep="first", maintain_order=True)
    named = called.select(key).unique().join(found, on=key, how="left")
    return named.select(*key, meant=pl.coalesce("price_model", "model"))


def _matching(called: pl.DataFrame, listed: pl.DataFrame, column: str, nearness: int) -> pl.DataFrame:
    """Called names and the patterns of a column that they match."""
    texts = ("provider", "model", "price_provider", "price_model", column)
    schema = {**dict.fromkeys(texts, pl.String()), "nearness": pl.Int32()}
    by_provider = called.partition_by("provider", as_dict=True)
    names = {provider: part["model"].unique() for (provider,), part in by_provider.items()}
    patterns = listed.filter(pl.col(column).is_not_null())
    patterns = patterns.select(column, "price_provider", "price_model").unique()
    rows: list[tuple[object, ...]] = []
    for pattern, price_provider, price_model in patterns.iter_rows():
        anyones = price_provider == ANY_PROVIDER
        for provider in names if anyones else names.keys() & {price_provider}:
            for model in names[provider].filter(names[provider].str.contains(whole_name(pattern))):
                rows.append((provider, model, price_provider, price_model, pattern, nearness + anyones))
    return pl.DataFrame(rows, schema=schema, orient="row")


def candidates(profiles: pl.DataFrame, cards: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Each profile with every row of its day's cards for its model, its own or everybody's, its region or all.

    In: `profile` and CALLER, each combination once; RateCards; `models_found`. Out: `profile`, `rank` (the smallest is
    the nearest: the tenant's own before everybody's, then what the company says, the name before a pattern, the longer
    of two names, the region before all regions) and the prices of RateCards with their time, length and `price_id`.

    A service tier falls back to none: a batch without a batch price has no price, rather than that of something else.
    """
    renamed = dict(zip(("provider", "model", "tenant_id", "region"), NAMES, strict=True))
    cards = cards.rename({**renamed, "price_date": DAY})
    meant = profiles.join(found, on=[DAY, "provider", "model"])
    terms = [DAY, "price_provider", "price_model", "service_tier"]
    is_own = pl.col("price_tenant").is_not_null()
    own = cards.filter(is_own).with_columns(tenant_id="price_tenant")
    parts = [
        meant.join(own, on=[*terms, "tenant_id"], nulls_equal=True),
        meant.join(cards.filter(~is_own), on=terms, nulls_equal=True),
    ]
    applicable = pl.concat(parts, how="diagonal").filter(
        pl.col("price_region").is_null() | (pl.col("price_region") == pl.col("region"))
    )
    nearest = [
        pl.col("profile"),
        pl.col("price_tenant").is_null(),
        pl.col("nearness"),
        -pl.col("price_model").str.len_chars().cast(pl.Int32),
        pl.col("price_model"),
        pl.col("price_region").is_null(),
    ]
    ordered = applicable.sort(nearest)
    return ordered.with_columns(rank=pl.struct("profile", *NAMES).rle_id()).drop(*CALLER, *NAMES, "nearness")
