"""What each call cost: its tokens times the prices of the row of the day's rate cards that holds for it, exact.
Not here: which rows may hold (matching), sums (rollups)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from data_platform.domains.metering.contracts.costs import UnpricedUsage, UsageCosts
from data_platform.domains.metering.token_classes import INPUT_CLASSES, TOKEN_CLASSES, tokens_of
from data_platform.domains.metering.transforms.matching import CALLER, DAY, candidates, models_found
from data_platform.domains.metering.transforms.price_changes import PRICE
from data_platform.domains.metering.transforms.rate_cards import PRICES, price_of

OUTPUT_CLASSES = tuple(name for name in TOKEN_CLASSES if name not in INPUT_CLASSES)
OFFER = ["price_id", "currency", *PRICES]
"""What a call takes from the row that it is priced by."""
READ = [
    *CALLER,
    *("usage_id", "started_at", "project_id", "user_id", "feature", "status", "total_tokens"),
    *map(tokens_of, TOKEN_CLASSES),
]
"""Columns of LlmUsage that pricing needs."""
NOTHING = pl.lit(Decimal(0), PRICE)


@dataclass(frozen=True)
class PricedCalls:
    """What calls cost, and what of them has no price."""

    costs: pl.DataFrame
    """UsageCosts: a row for every call."""
    unpriced: pl.DataFrame
    """UnpricedUsage."""


def price_calls(usage: pl.DataFrame, cards: pl.DataFrame) -> PricedCalls:
    """LlmUsage and RateCards of the same days → what each call cost.

    Of the rows that hold at the call's start for its terms and are for no longer prompts, the nearest terms win, then
    the longest step that the prompt reaches. Raises polars' ComputeError where a cost has more than 20 digits before
    the point, which the bounds of tokens and prices rule out.
    """
    callers = _callers(usage, cards)
    profiles = callers.unique().with_row_index("profile")
    found = models_found(profiles, cards)
    rows = candidates(profiles, cards, found)
    profile = callers.join(profiles, on=CALLER, how="left", nulls_equal=True, maintain_order="left")["profile"]
    calls = usage.with_columns(profile, prompt=pl.sum_horizontal(tokens_of(name) for name in INPUT_CLASSES))
    plain, staged = _plain(rows.filter(pl.any_horizontal(pl.col(PRICES).is_not_null())))
    is_staged = pl.col("profile").is_in(staged["profile"].unique().implode())
    direct = calls.filter(~is_staged) if len(staged) else calls
    parts = [direct.join(plain, on="profile", how="left")]
    if len(staged):
        parts.append(_looked_up(calls.filter(is_staged), staged))
    priced = pl.concat([_with_costs(part) for part in parts])
    missing = priced.filter(pl.col("cost").is_null())
    return PricedCalls(priced.select(list(UsageCosts.columns)), _unpriced(missing, found, rows))


def _callers(usage: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """CALLER of each call. A tenant without prices of its own is null: it is priced as everybody is, and a day has far
    fewer models than tenants and models."""
    own = cards["tenant_id"].drop_nulls().unique()
    return usage.select(CALLER).with_columns(
        pl.when(pl.col("tenant_id").is_in(own.implode())).then("tenant_id").otherwise(pl.lit(None, pl.String))
    )


def _plain(offers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Offers of profiles whose nearest terms have one row for the whole day and any length: what nearly all calls are
    priced by, with one join. And those of the others."""
    nearest = offers.filter(pl.col("rank") == pl.col("rank").min().over("profile"))
    whole_day = pl.col("to_time") - pl.col("from_time") == pl.duration(days=1)
    alone = (pl.len().over("profile") == 1) & whole_day & (pl.col("from_input_tokens") == 0)
    plain = nearest.filter(alone)
    return plain.select("profile", *OFFER), offers.join(plain, on="profile", how="anti")


def _looked_up(calls: pl.DataFrame, offers: pl.DataFrame) -> pl.DataFrame:
    """The calls, each with the row that holds at its time and for its length, or nulls."""
    numbered = calls.with_row_index("call")
    holding = (
        numbered.select("call", "profile", "started_at", "prompt")
        .join(offers, on="profile")
        .filter(_holds(), pl.col("from_input_tokens") <= pl.col("prompt"))
        .sort("call", "rank", pl.col("from_input_tokens"), descending=[False, False, True])
        .unique("call", keep="first")
    )
    return numbered.join(holding.select("call", *OFFER), on="call", how="left").drop("call")


def _holds() -> pl.Expr:
    return (pl.col("from_time") <= pl.col("started_at")) & (pl.col("started_at") < pl.col("to_time"))


def _with_costs(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with their costs; null where a class that the call has tokens of has no price, or nothing has one."""
    used = {name for name in TOKEN_CLASSES if (calls[tokens_of(name)] > 0).any()}
    return calls.with_columns(
        input_cost=_sum_of([name for name in INPUT_CLASSES if name in used]),
        output_cost=_sum_of([name for name in OUTPUT_CLASSES if name in used]),
        input_tokens=pl.col("prompt") - pl.col("cache_read_tokens"),
        output_tokens=pl.sum_horizontal(tokens_of(name) for name in OUTPUT_CLASSES),
        failed=pl.col("status") != "ok",
        class_tokens=pl.struct(tokens_of(name) for name in TOKEN_CLASSES),
    ).with_columns(cost=pl.col("input_cost") + pl.col("output_cost"))


def _sum_of(classes: Sequence[str]) -> pl.Expr:
    """Tokens times prices of these classes."""
    total: pl.Expr = pl.when(pl.col("price_id").is_not_null()).then(NOTHING)
    for name in classes:
        tokens, price = pl.col(tokens_of(name)), pl.col(price_of(name))
        total = total + pl.when(tokens > 0).then(tokens * price).otherwise(NOTHING)
    return total


# ------------------------------------------------------------------------------------------ what has no price
def _unpriced(calls: pl.DataFrame, found: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """UnpricedUsage of calls without a cost; `found` and `rows` are the models and rows that their names lead to."""
    if calls.is_empty():
        return UnpricedUsage.empty()
    reasoned = calls.with_row_index("call").with_columns(reason=pl.lit("unknown_class"))
    without = reasoned.filter(pl.col("price_id").is_null())
    reasoned = reasoned.update(_reasons(without, found, rows), on="call")
    none = (pl.col("token_class") == "input") & (pl.col("total_tokens") == 0)
    counted = [
        reasoned.select(
            *[name for name in UnpricedUsage.columns if name not in ("token_class", "tokens")],
            "price_id",
            "total_tokens",
            token_class=pl.lit(name),
            tokens=pl.col("class_tokens").struct.field(tokens_of(name)),
            price=pl.col(price_of(name)),
        ).filter(pl.col("price").is_null(), (pl.col("tokens") > 0) | (none & pl.col("price_id").is_null()))
        for name in TOKEN_CLASSES
    ]
    return pl.concat(counted).select(list(UnpricedUsage.columns))


def _reasons(calls: pl.DataFrame, found: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`call` and `reason` of calls that no row of the cards is for."""
    ended = pl.all_horizontal(pl.col(PRICES).is_null())
    at_the_time = (
        calls.select("call", "profile", "started_at")
        .join(rows.select("profile", "from_time", "to_time", ended=ended), on="profile")
        .group_by("call")
        .agg(holds=_holds().any(), ended=(_holds() & pl.col("ended")).any())
    )
    names = found.select(DAY, "provider", "model").unique().with_columns(named=pl.lit(True))
    known = calls.join(names, on=[DAY, "provider", "model"], how="left").join(at_the_time, on="call", how="left")
    return known.select(
        "call",
        reason=pl.when(pl.col("named").is_null())
        .then(pl.lit("unknown_model"))
        .when(pl.col("ended"))
        .then(pl.lit("price_ended"))
        .when(~pl.col("holds"))
        .then(pl.lit("before_first_price"))
        .otherwise(pl.lit("unknown_terms")),
    )
