"""What the same calls would have cost otherwise: they are changed as an opportunity assumes, and priced again by the
rules that priced them. Not here: these rules (costs), which models are of one class (contracts/savings)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl

from data_platform.domains.metering.contracts.costs import NO_PROJECT
from data_platform.domains.metering.contracts.savings import (
    ASSUMPTIONS,
    CACHE_MINUTES,
    LEAST_CACHED,
    SavingsOpportunities,
)
from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.transforms.costs import price_calls

CALL = ["tenant_id", "usage_id"]
GROUP = ["usage_date", "tenant_id", "project_id", "feature", "provider", "model", "currency"]


def savings_opportunities(
    usage: pl.LazyFrame, costs: pl.LazyFrame, cards: pl.LazyFrame, classes: pl.LazyFrame, days: list[dt.date]
) -> pl.DataFrame:
    """In: LlmUsage, UsageCosts and RateCards of the days, RawModelClasses until them. Out: SavingsOpportunities."""
    lines = classes.sort("valid_from", "received_at", "source_file", "source_line").collect()
    found = [SavingsOpportunities.empty()]
    for day in days:
        paid = costs.filter(pl.col("usage_date") == day, pl.col("cost") > 0).select(*CALL, "currency", "cost")
        calls = usage.filter(pl.col("usage_date") == day).join(paid, on=CALL).collect()
        of_day = cards.filter(pl.col("price_date") == day).collect()
        if len(calls):
            found += _of_day(calls, of_day, _classes_on(lines, day))
    return pl.concat(found)


def _of_day(calls: pl.DataFrame, cards: pl.DataFrame, classes: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield _opportunities(calls, _with_cheaper_models(calls, cards, classes), "cheaper_model")
    yield _opportunities(calls, _with_caching(calls, cards), "prompt_caching")
    yield _opportunities(calls, _as_batches(calls, cards), "batch")
    yield _opportunities(calls, _without_failed(calls), "no_failed_calls")


def _opportunities(calls: pl.DataFrame, otherwise: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Calls summed up by GROUP, of several ways the one that saves most.

    `otherwise`: CALL, `instead`, `would_cost`, and as `evidence` whether the call itself is changed; calls that cannot
    be priced so are missing.
    """
    compared = calls.select("usage_id", *GROUP, "cost").join(otherwise, on=CALL)
    named = compared.with_columns(pl.col("project_id", "feature").fill_null(NO_PROJECT))
    summed = named.group_by(*GROUP, "instead").agg(
        pl.col("cost", "would_cost").sum(), calls=pl.len().cast(pl.Int64), changed=pl.col("changed").sum()
    )
    saved = summed.with_columns(saved=pl.col("cost") - pl.col("would_cost")).filter(pl.col("saved") > 0)
    best = saved.sort("saved", "instead", descending=[True, False]).unique(GROUP, keep="first", maintain_order=True)
    said = best.with_columns(kind_of_saving=pl.lit(kind), assumption=pl.lit(ASSUMPTIONS[kind]), evidence=EVIDENCE[kind])
    return said.select(pl.col(name).cast(dtype) for name, dtype in SavingsOpportunities.schema().items())


EVIDENCE = {
    "cheaper_model": pl.format("{} calls of {}, each priced with its own tokens as {}", "calls", "model", "instead"),
    "prompt_caching": pl.format(
        "{} of {} calls repeat the prefix of one at most {} minutes before, uncached",
        "changed",
        "calls",
        pl.lit(CACHE_MINUTES),
    ),
    "batch": pl.format("{} interactive calls of {}, each priced by its batch price", "calls", "model"),
    "no_failed_calls": pl.format("{} calls of {} failed and were charged", "calls", "model"),
}


def _priced(changed: pl.DataFrame, original: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """CALL and `would_cost` of changed calls; without those that have no price so, or in another currency."""
    found = price_calls(changed.drop("cost", "currency"), cards).costs
    would = found.select(*CALL, "currency", would_cost="cost").drop_nulls("would_cost")
    return would.join(original.select(*CALL, "currency"), on=[*CALL, "currency"]).drop("currency")


# ------------------------------------------------------------------------------------------ cheaper models
def _classes_on(lines: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    """provider, model and model_class that hold at the end of a day; `lines` with the latest last."""
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
    known = lines.filter(pl.col("valid_from") < end).with_columns(
        pl.col("provider").map_elements(provider_called, pl.String)
    )
    held = known.unique(["provider", "model"], keep="last", maintain_order=True)
    return held.drop_nulls("model_class").select("provider", "model", "model_class")


def _with_cheaper_models(calls: pl.DataFrame, cards: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Each call as every other model of its class: regions are those of the other provider, so none is asked for."""
    classed = calls.join(classes, on=["provider", "model"])
    found = [_nothing()]
    for provider, model, model_class in classes.sort("provider", "model").iter_rows():
        other = classed.filter(
            pl.col("model_class") == model_class, (pl.col("provider") != provider) | (pl.col("model") != model)
        ).drop("model_class")
        if len(other):
            changed = other.with_columns(provider=pl.lit(provider), model=pl.lit(model), region=pl.lit(None, pl.String))
            found.append(_priced(changed, other, cards).select(*_said(f"{provider} {model}", pl.lit(True))))
    return pl.concat(found)


def _said(instead: str, changed: pl.Expr) -> list[pl.Expr]:
    return [*map(pl.col, (*CALL, "would_cost")), pl.lit(instead).alias("instead"), changed.alias("changed")]


def _nothing() -> pl.DataFrame:
    money = SavingsOpportunities.schema()["would_cost"]
    text = pl.String()
    return pl.DataFrame(
        schema={"tenant_id": text, "usage_id": text, "would_cost": money, "instead": text, "changed": pl.Boolean()}
    )


# ------------------------------------------------------------------------------ caching, batches, failures
def _with_caching(calls: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """Calls whose prefix was sent a few minutes before read it from the cache; the one before wrote it."""
    prefix = ["tenant_id", "provider", "model", "region", "service_tier", "prefix_hash"]
    uncached = pl.min_horizontal(
        pl.col("prefix_tokens") - pl.col("cache_read_tokens") - pl.col("cache_write_tokens")
        - pl.col("cache_write_1h_tokens"),
        pl.col("input_tokens"),
    )  # fmt: skip
    repeated = (
        calls.filter(pl.col("prefix_hash").is_not_null(), pl.col("prefix_tokens") >= LEAST_CACHED)
        .sort(*prefix, "started_at", "usage_id")
        .with_columns(since=pl.col("started_at").diff().over(prefix), until=-pl.col("started_at").diff(-1).over(prefix))
        .with_columns(moved=uncached.clip(0), kept=pl.duration(minutes=CACHE_MINUTES))
        .with_columns(
            reads=(pl.col("since") <= pl.col("kept")).fill_null(False),
            is_needed=(pl.col("until") <= pl.col("kept")).fill_null(False),
        )
        .filter(pl.col("reads") | pl.col("is_needed"))
    )
    if repeated.is_empty():
        return _nothing()
    moved, reads = pl.col("moved"), pl.col("reads")
    changed = repeated.with_columns(
        pl.col("input_tokens") - moved,
        cache_read_tokens=pl.col("cache_read_tokens") + pl.when(reads).then(moved).otherwise(0),
        cache_write_tokens=pl.col("cache_write_tokens") + pl.when(reads).then(0).otherwise(moved),
    )
    found = _priced(changed.select(calls.columns), repeated, cards)
    # Who names no price of writes charges them as prompt; where reads have none there is no cache to use.
    every = repeated.select(*CALL, "cost", "reads", "moved").join(found, on=CALL, how="left")
    would = every.with_columns(pl.coalesce("would_cost", "cost").alias("would_cost"))
    return would.select(_said("cache", pl.col("reads") & (pl.col("moved") > 0)))


def _as_batches(calls: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    interactive = calls.filter(pl.col("service_tier").is_null())
    if interactive.is_empty():
        return _nothing()
    changed = interactive.with_columns(service_tier=pl.lit("batch"))
    return _priced(changed, interactive, cards).select(_said("batch", pl.lit(True)))


def _without_failed(calls: pl.DataFrame) -> pl.DataFrame:
    failed = calls.filter(pl.col("status") != "ok").with_columns(would_cost=pl.col("cost") * 0)
    return failed.select(_said("nothing", pl.lit(True)))
