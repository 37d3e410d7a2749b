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
    profiles, profile = _profiles(usage, cards)
    found = models_found(profiles, cards)
    rows = candidates(profiles, cards, found).with_row_index("offer")
    prompt = usage.select(prompt=pl.sum_horizontal(tokens_of(name) for name in INPUT_CLASSES))["prompt"]
    calls = usage.with_columns(profile, prompt)
    offer = _offers(calls, profiles, rows.filter(pl.any_horizontal(pl.col(PRICES).is_not_null())))
    priced = _with_costs(calls, rows, offer)
    missing = priced["cost"].is_null()
    unpriced = priced.filter(missing).with_columns(rows.select(pl.col(PRICES).gather(offer.filter(missing))))
    return PricedCalls(priced.select(list(UsageCosts.columns)), _unpriced(unpriced, found, rows))


def _profiles(usage: pl.DataFrame, cards: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """`profile` (a number) and CALLER, each combination once, and the `profile` of each call."""
    callers = _callers(usage, cards)
    telling = [name for name in CALLER if _differs(callers[name])] or [DAY]
    profiles = callers.unique(telling).with_row_index("profile")
    places = profiles.select("profile", *telling)
    joined = callers.select(telling).join(places, on=telling, how="left", nulls_equal=True, maintain_order="left")
    return profiles, joined["profile"]


def _differs(values: pl.Series) -> bool:
    nulls = values.null_count()
    return 0 < nulls < len(values) or bool(values.min() != values.max())


def _callers(usage: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """CALLER of each call. A tenant without prices of its own is null: it is priced as everybody is, and a day has far
    fewer models than tenants and models."""
    own = cards["tenant_id"].drop_nulls().unique()
    return usage.select(CALLER).with_columns(
        pl.when(pl.col("tenant_id").is_in(own.implode())).then("tenant_id").otherwise(pl.lit(None, pl.String))
    )


def _offers(calls: pl.DataFrame, profiles: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """For each call the `offer` (number) of the row that holds at its time and for its length, or null.

    Profiles whose nearest terms have one row for the whole day and any length are what nearly all calls have: theirs
    is looked up by place, and nothing is joined.
    """
    nearest = rows.filter(pl.col("rank") == pl.col("rank").min().over("profile"))
    whole_day = pl.col("to_time") - pl.col("from_time") == pl.duration(days=1)
    alone = (pl.len().over("profile") == 1) & whole_day & (pl.col("from_input_tokens") == 0)
    plain = nearest.filter(alone)
    staged = rows.join(plain, on="profile", how="anti")
    by_profile = profiles.select("profile").join(plain, on="profile", how="left", maintain_order="left")
    is_staged = by_profile["profile"].is_in(staged["profile"].unique().implode()).gather(calls["profile"])
    holding = _holding(calls.select("profile", "started_at", "prompt").with_row_index("call").filter(is_staged), staged)
    return by_profile["offer"].gather(calls["profile"]).scatter(holding["call"], holding["offer"])


def _holding(calls: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`call` and `offer` of calls for which a row holds."""
    return (
        calls.join(rows.select("profile", "offer", "rank", "from_time", "to_time", "from_input_tokens"), on="profile")
        .filter(_holds(), pl.col("from_input_tokens") <= pl.col("prompt"))
        .sort("call", "rank", "from_input_tokens", descending=[False, False, True])
        .unique("call", keep="first")
        .select("call", "offer")
    )


def _holds() -> pl.Expr:
    return (pl.col("from_time") <= pl.col("started_at")) & (pl.col("started_at") < pl.col("to_time"))


def _with_costs(calls: pl.DataFrame, rows: pl.DataFrame, offer: pl.Series) -> pl.DataFrame:
    """The calls with their costs; null where a class that the call has tokens of has no price, or nothing has one."""
    used = [name for name in TOKEN_CLASSES if (calls[tokens_of(name)] > 0).any()]
    taken = rows.select(pl.col("price_id", "currency", *map(price_of, used)).gather(offer))
    return (
        calls.hstack(taken)
        .with_columns(
            input_cost=_sum_of([name for name in INPUT_CLASSES if name in used]),
            output_cost=_sum_of([name for name in OUTPUT_CLASSES if name in used]),
            input_tokens=pl.col("prompt") - pl.col("cache_read_tokens"),
            output_tokens=pl.sum_horizontal(tokens_of(name) for name in OUTPUT_CLASSES),
            failed=pl.col("status") != "ok",
            class_tokens=pl.struct(tokens_of(name) for name in TOKEN_CLASSES),
        )
        .with_columns(cost=pl.col("input_cost") + pl.col("output_cost"))
    )


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
