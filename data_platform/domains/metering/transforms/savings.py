"""What the same calls would have cost otherwise: they are changed as an opportunity assumes, and priced again by the
rules that priced them. Not here: these rules (costs), which models are of one class (contracts/savings).

Calls that the same prices hold for whatever is assumed are summed up first, and one of them is priced: call by call, a
million calls of 40 models took 130 s on a loaded machine."""

from __future__ import annotations

import datetime as dt
import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from data_platform.core.contract.calendar import end_of
from data_platform.core.contract.frames import conform
from data_platform.domains.metering.contracts.costs import NO_PROJECT
from data_platform.domains.metering.contracts.savings import (
    ASSUMPTIONS,
    CACHE_MINUTES,
    LEAST_CACHED,
    SavingsOpportunities,
)
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.token_classes import INPUT_CLASSES, TOKEN_CLASSES, tokens_of
from data_platform.domains.metering.transforms.costs import price_calls
from data_platform.domains.metering.transforms.parts import parts_of
from data_platform.domains.metering.transforms.rate_cards import PRICES, price_of

CALL = ["tenant_id", "usage_id"]
GROUP = ["usage_date", "tenant_id", "project_id", "feature", "provider", "model", "currency"]
NOTHING = pl.lit(Decimal(0), SavingsOpportunities.schema()["cost"])
TOKENS = [tokens_of(name) for name in TOKEN_CLASSES]
PREFIX = ["tenant_id", "provider", "model", "region", "service_tier", "prefix_hash"]
"""What calls that can share a cache have in common."""
ALIKE = [*GROUP, "region", "service_tier", "prompt_step", "price_time", "classes_used"]
"""Calls that are equal in these have the same price whatever provider, model or tier is assumed."""


def savings_opportunities(
    usage: pl.LazyFrame, costs: pl.LazyFrame, cards: pl.LazyFrame, classes: pl.LazyFrame, days: list[dt.date]
) -> pl.DataFrame:
    """In: LlmUsage, UsageCosts and RateCards of the days, RawModelClasses until them. Out: SavingsOpportunities."""
    lines = classes.sort("valid_from", "received_at", "source_file", "source_line").collect()
    found = [SavingsOpportunities.empty()]
    for day in days:
        calls = usage.filter(pl.col("usage_date") == day)
        paid = costs.filter(pl.col("usage_date") == day, pl.col("cost") > 0).select(*CALL, "currency", "cost")
        of_day = cards.filter(pl.col("price_date") == day).collect()
        found += _of_day([_alike(part, of_day) for part in _apart(calls, paid)], of_day, _classes_on(lines, day))
    return pl.concat(found)


def _apart(calls: pl.LazyFrame, paid: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The calls of a day that cost something, those of a prefix together; a day too big for memory comes in parts."""
    by = pl.when(pl.col("prefix_hash").is_null()).then(pl.col("usage_id").hash()).otherwise(pl.struct(PREFIX).hash())
    for part in parts_of(calls.select(pl.len()).collect().item()):
        yield part.collect(part.rows(calls, by).join(paid, on=CALL))


@dataclass(frozen=True)
class _Alike:
    """Calls summed up by ALIKE."""

    every: pl.DataFrame
    failed: pl.DataFrame
    cached: pl.DataFrame
    """Those that share a prefix, as caching would have it."""


def _alike(calls: pl.DataFrame, cards: pl.DataFrame) -> _Alike:
    changed = calls.with_columns(changed=pl.lit(True))
    failed = changed.filter(pl.col("status") != "ok")
    return _Alike(*(_summed_alike(some, cards) for some in (changed, failed, _with_caching(calls))))


def _of_day(parts: Sequence[_Alike], cards: pl.DataFrame, classes: pl.DataFrame) -> Iterator[pl.DataFrame]:
    if not parts:
        return
    every, failed, cached = (
        _summed_again([getattr(part, name) for part in parts]) for name in ("every", "failed", "cached")
    )
    yield _opportunities(_with_cheaper_models(every, cards, classes), "cheaper_model")
    would = _priced(cached, cards).with_columns(pl.coalesce("would_cost", "cost").alias("would_cost"))
    yield _opportunities(would.with_columns(instead=pl.lit("cache")), "prompt_caching")
    yield _opportunities(_as_batches(every, cards), "batch")
    yield _opportunities(
        failed.with_columns(would_cost=pl.col("cost") * 0, instead=pl.lit("nothing")), "no_failed_calls"
    )


def _opportunities(compared: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Summed up by GROUP, of several ways the one that saves most. In: GROUP, `cost`, `would_cost` (null where there is
    no such price), `calls`, `changed` (how many of them are), `instead`."""
    named = compared.drop_nulls("would_cost").with_columns(pl.col("project_id", "feature").fill_null(NO_PROJECT))
    summed = named.group_by(*GROUP, "instead").agg(pl.col("cost", "would_cost", "calls", "changed").sum())
    saved = summed.with_columns(saved=pl.col("cost") - pl.col("would_cost")).filter(pl.col("saved") > 0)
    best = saved.sort("saved", "instead", descending=[True, False]).unique(GROUP, keep="first", maintain_order=True)
    said = best.with_columns(kind_of_saving=pl.lit(kind), assumption=pl.lit(ASSUMPTIONS[kind]), evidence=EVIDENCE[kind])
    return conform(SavingsOpportunities, said)


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


# ------------------------------------------------------------------------------------------------- pricing
def _summed_alike(calls: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """Calls summed up by ALIKE: `cost`, `calls`, `changed`, tokens by class, and of one of them the time and, as
    `one_…`, the tokens."""
    prompt = pl.sum_horizontal(tokens_of(name) for name in INPUT_CLASSES)
    steps = [step for step in cards["from_input_tokens"].unique() if step > 0]
    times = pl.concat([cards["from_time"], cards["to_time"]]).unique()
    used = [(pl.col(tokens) > 0).cast(pl.Int64) * 2**place for place, tokens in enumerate(TOKENS)]
    placed = calls.with_columns(
        prompt_step=pl.sum_horizontal(pl.lit(0), *[(prompt >= step).cast(pl.Int64) for step in steps]),
        price_time=pl.sum_horizontal(pl.lit(0), *[(pl.col("started_at") >= one).cast(pl.Int64) for one in times]),
        classes_used=pl.sum_horizontal(used),
    )
    return placed.group_by(ALIKE).agg(
        pl.col("started_at").first(),
        pl.col(TOKENS).sum(),
        *(pl.col(tokens).first().alias(f"one_{tokens}") for tokens in TOKENS),
        pl.col("cost").sum(),
        pl.col("changed").cast(pl.Int64).sum(),
        calls=pl.len().cast(pl.Int64),
    )


def _summed_again(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Of the parts of a day what `_summed_alike` makes of the whole."""
    if len(parts) == 1:
        return parts[0]
    summed = (*TOKENS, "cost", "changed", "calls")
    again = [pl.col(name).sum() if name in summed else pl.col(name).first() for name in parts[0].columns]
    return pl.concat(parts).group_by(ALIKE).agg(one for one in again if one.meta.output_name() not in ALIKE)


def _priced(changed: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """`would_cost` for rows of `_summed_alike`, whose provider, model, tier or tokens may be others now; null where
    a class has no price so, or only one in another currency."""
    numbered = changed.with_row_index("row").with_columns(pl.col("row").cast(pl.String))
    one = numbered.select(
        pl.lit(None).cast(dtype).alias(name) if name not in numbered.columns and f"one_{name}" not in numbered.columns
        else pl.col(f"one_{name}" if name in TOKENS else name).alias(name)
        for name, dtype in LlmUsage.schema().items()
        if name != "usage_id"
    )  # fmt: skip
    one = one.with_columns(numbered["row"].alias("usage_id"), status=pl.lit("ok"), total_tokens=pl.lit(1, pl.Int64))
    found = price_calls(one, cards).costs.select(row="usage_id", price_id="price_id", priced_in="currency")
    prices = cards.select("price_id", *PRICES).unique("price_id")
    in_order: Any = {"how": "left", "maintain_order": "left"}
    joined = numbered.join(found, on="row", **in_order).join(prices, on="price_id", **in_order)
    costs = [
        pl.when(pl.col(tokens_of(name)) > 0).then(pl.col(tokens_of(name)) * pl.col(price_of(name))).otherwise(NOTHING)
        for name in TOKEN_CLASSES
    ]
    would = functools.reduce(operator.add, costs)
    same = pl.col("priced_in") == pl.col("currency")
    return joined.with_columns(would_cost=pl.when(same).then(would)).drop("row", "price_id", "priced_in", *PRICES)


# ------------------------------------------------------------------------------------------ cheaper models
def _classes_on(lines: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    """provider, model and model_class that hold at the end of a day; `lines` with the latest last."""
    end = end_of(day)
    known = lines.filter(pl.col("valid_from") < end).with_columns(
        pl.col("provider").map_elements(provider_called, pl.String)
    )
    held = known.unique(["provider", "model"], keep="last", maintain_order=True)
    return held.drop_nulls("model_class").select("provider", "model", "model_class")


def _with_cheaper_models(alike: pl.DataFrame, cards: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """The calls as every other model of their class: regions are those of the other provider, so none is asked for."""
    classed = alike.join(classes, on=["provider", "model"])
    found = [_priced(alike.clear(), cards).with_columns(instead=pl.lit(""))]
    for provider, model, model_class in classes.sort("provider", "model").iter_rows():
        other = classed.filter(
            pl.col("model_class") == model_class, (pl.col("provider") != provider) | (pl.col("model") != model)
        ).drop("model_class")
        assumed = {"provider": pl.lit(provider), "model": pl.lit(model), "region": pl.lit(None, pl.String)}
        found.append(_assumed(other, assumed, cards, f"{provider} {model}"))
    return pl.concat(found)


def _assumed(alike: pl.DataFrame, assumed: Mapping[str, pl.Expr], cards: pl.DataFrame, instead: str) -> pl.DataFrame:
    """The calls with their own provider, model and tier, and what they would cost with others."""
    priced = _priced(alike.with_columns(**assumed), cards)
    return alike.with_columns(priced["would_cost"], instead=pl.lit(instead))


# ------------------------------------------------------------------------------------- caching and batches
def _with_caching(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls whose prefix was sent a few minutes before read it from the cache; the one before wrote it. Who names no
    price of writes charges them as prompt; where reads have none there is no cache to use."""
    reads, moved = pl.col("reads"), pl.col("moved")
    return _repeated(calls).with_columns(
        pl.col("input_tokens") - moved,
        cache_read_tokens=pl.col("cache_read_tokens") + pl.when(reads).then(moved).otherwise(0),
        cache_write_tokens=pl.col("cache_write_tokens") + pl.when(reads).then(0).otherwise(moved),
        changed=reads & (moved > 0),
    )


def _repeated(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls that share a prefix with one a few minutes before (`reads`) or after; `moved` tokens of it are uncached."""
    cached = pl.col("cache_read_tokens") + pl.col("cache_write_tokens") + pl.col("cache_write_1h_tokens")
    uncached = pl.min_horizontal(pl.col("prefix_tokens") - cached, pl.col("input_tokens")).clip(0)
    kept, started = dt.timedelta(minutes=CACHE_MINUTES), pl.col("started_at")
    return (
        calls.filter(pl.col("prefix_hash").is_not_null(), pl.col("prefix_tokens") >= LEAST_CACHED)
        .sort(*PREFIX, "started_at", "usage_id")
        .with_columns(
            moved=uncached,
            reads=(started.diff().over(PREFIX) <= kept).fill_null(False),
            is_needed=(-started.diff(-1).over(PREFIX) <= kept).fill_null(False),
        )
        .filter(pl.col("reads") | pl.col("is_needed"))
    )


def _as_batches(alike: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    interactive = alike.filter(pl.col("service_tier").is_null())
    return _assumed(interactive, {"service_tier": pl.lit("batch")}, cards, "batch")
