"""What each model cost on each day, all classes of tokens side by side, from the changes of prices.
Not here: which price a call has (costs)."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from data_platform.domains.metering.contracts.prices import RateCards
from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.token_classes import TOKEN_CLASSES
from data_platform.domains.metering.transforms.price_changes import PRICE, TERMS, said_last

ENDED = pl.lit(Decimal(-1), PRICE)
"""Stands for the end of a price while prices are carried on to later moments; a null is where nothing was said."""
DAY = pl.duration(days=1)


def price_of(token_class: str) -> str:
    """The column of a class."""
    return f"{token_class}_price"


PRICES = [price_of(name) for name in TOKEN_CLASSES]


def rate_cards(changes: pl.LazyFrame, names: pl.LazyFrame, days: Sequence[dt.date]) -> pl.DataFrame:
    """PriceChanges and RawModelNames until the last of the days → RateCards of the days.

    A day's rows are a function of the changes that begin until its end: what begins later, announced before, only ends
    them.
    """
    terms = _with_ids(_wide(_points(changes)).collect())
    first, last = pl.lit(days[0]), pl.lit(days[-1])
    midnight = pl.col("price_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    until = pl.col("valid_to") - pl.duration(microseconds=1)
    return (
        terms.with_columns(
            first_day=pl.max_horizontal(pl.col("valid_from").dt.date(), first),
            last_day=pl.min_horizontal(until.dt.date(), last),
        )
        .filter(pl.col("first_day") <= pl.col("last_day"))
        .with_columns(price_date=pl.date_ranges("first_day", "last_day"))
        .explode("price_date", empty_as_null=False)
        .filter(pl.col("price_date").is_in(list(days)))
        .with_columns(
            from_time=pl.max_horizontal("valid_from", midnight), to_time=pl.min_horizontal("valid_to", midnight + DAY)
        )
        .join(_also_called(names, days), on=["price_date", "provider", "model"], how="left")
        .select(list(RateCards.columns))
    )


def _also_called(names: pl.LazyFrame, days: Sequence[dt.date]) -> pl.DataFrame:
    """`price_date`, `provider`, `model` and `also_called` of the models that have other names on a day."""
    lines = names.sort("valid_from", "received_at", "source_file", "source_line").collect()
    found = []
    for provider, name, since, model in lines.select("provider", "name", "valid_from", "model").iter_rows():
        found.append((provider_called(provider), name, since.date(), model))
    rows = []
    for day in days if found else ():
        held = {(provider, name): model for provider, name, since, model in found if since <= day}
        called: dict[tuple[str, str], list[str]] = defaultdict(list)
        for (provider, name), model in held.items():
            if model is not None:
                called[provider, model].append(re.escape(name))
        rows += [(day, *key, "|".join(sorted(patterns))) for key, patterns in called.items()]
    columns = {name: RateCards.schema()[name] for name in ("price_date", "provider", "model", "also_called")}
    return pl.DataFrame(rows, schema=columns, orient="row")


def _points(changes: pl.LazyFrame) -> pl.LazyFrame:
    """Every moment at which the price of a class begins or ends (`price` is then ENDED)."""
    key = [*TERMS, "token_class"]
    following = pl.col("valid_from").shift(-1).over(key, order_by="valid_from")
    known = said_last(changes).with_columns(following=following)
    ends = known.filter(
        pl.col("valid_to").is_not_null(), pl.col("following").is_null() | (pl.col("valid_to") < pl.col("following"))
    ).with_columns(valid_from="valid_to", unit_price=pl.lit(None, PRICE))
    columns = [*key, "valid_from", "model_pattern", "currency", pl.coalesce("unit_price", ENDED).alias("price")]
    return pl.concat([known.select(columns), ends.select(columns)])


def _wide(points: pl.LazyFrame) -> pl.LazyFrame:
    """One row per terms and moment at which one of their prices begins or ends, with all prices that hold from then on.

    A row has one currency, that of the newest price: a class still priced in another has no price.
    """
    said = []
    for name in TOKEN_CLASSES:
        of_class = pl.col("token_class") == name
        said.append(pl.col("price").filter(of_class).first().alias(price_of(name)))
        said.append(pl.col("currency").filter(of_class).first().alias(f"{name}_currency"))
    kept = [f"{name}_currency" for name in TOKEN_CLASSES]
    carried = pl.col([*PRICES, *kept, "model_pattern"]).forward_fill().over(TERMS, order_by="valid_from")
    held = [
        pl.when(pl.col(price_of(name)) >= 0, pl.col(f"{name}_currency") == pl.col("currency"))
        .then(pl.col(price_of(name)))
        .alias(price_of(name))
        for name in TOKEN_CLASSES
    ]
    by_class = pl.col("token_class").cast(pl.Enum(list(TOKEN_CLASSES)))
    return (
        points.group_by(*TERMS, "valid_from")
        .agg(*said, pl.col("model_pattern").drop_nulls().min(), pl.col("currency").sort_by(by_class).first())
        .with_columns(carried)
        .with_columns(held)
        .drop(kept)
    )


def _with_ids(terms: pl.DataFrame) -> pl.DataFrame:
    """With `price_id`, and `valid_to`: the next moment at which the same terms have other prices."""
    named = [*TERMS, "model_pattern", "currency", *PRICES]
    texts = terms.select(
        pl.concat_str([pl.col(name).cast(pl.String).fill_null("\x00") for name in named], separator="\x1f")
    ).to_series()
    ids = [hashlib.blake2b(text.encode(), digest_size=12).hexdigest() for text in texts]
    before = pl.col("price_id").shift(1).over(TERMS, order_by="valid_from")
    following = pl.col("valid_from").shift(-1).over(TERMS, order_by="valid_from")
    return (
        terms.with_columns(pl.Series("price_id", ids, pl.String))
        .filter(pl.col("price_id").ne_missing(before))
        .with_columns(valid_to=following)
    )
