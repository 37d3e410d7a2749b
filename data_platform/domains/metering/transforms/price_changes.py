"""From lines of price lists as received to prices: exact decimals per token, the rest rejected with a reason; and the
SCD2 history of what is known now. Not here: what holds on a day (rate_cards), reading price lists (price_lists)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext

import polars as pl

from data_platform.core.contract.canonical import row_digest
from data_platform.domains.metering.contracts.prices import (
    MOST_PRICE,
    PRICE_DECIMALS,
    ModelPrices,
    PriceChanges,
    PriceChangesRejected,
    RawModelPrices,
)
from data_platform.domains.metering.currencies import DECIMALS
from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.token_classes import TOKEN_CLASSES
from data_platform.domains.metering.transforms.clean_usage import tier_called

PRICE = pl.Decimal(38, PRICE_DECIMALS)
TERMS = ("provider", "model", "tenant_id", "region", "service_tier", "from_input_tokens")
"""What a price is of, besides the class of tokens."""
LONGEST_PRICE = 100
"""Characters of a price as text. An exponent of a billion is a number of a billion digits."""
WRITTEN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
BOOKKEEPING = ("source_file", "source_line", "received_at")


@dataclass(frozen=True)
class SortedPrices:
    """Where the lines of price lists went: accepted ones may be superseded by lines that became known later."""

    changes: pl.DataFrame
    """PriceChanges."""
    rejected: pl.DataFrame
    """PriceChangesRejected."""


def sort_prices(raw: pl.DataFrame) -> SortedPrices:
    """Sort whole days of RawModelPrices into prices and rejected lines."""
    providers = raw["provider"].unique()
    lines = raw.with_columns(
        pl.col("provider").replace_strict(providers, [provider_called(name) for name in providers]),
        tier_called(pl.col("service_tier")).alias("service_tier"),
        pl.col("from_input_tokens").fill_null(0),
        pl.col("per_tokens").fill_null(1),
        known_from=pl.coalesce("known_from", "received_at"),
    )
    judged = _with_reasons(_with_prices(lines))
    good = judged.filter(pl.col("reason").is_null())
    order = ["known_from", "received_at", "source_file", "source_line"]
    changes = good.sort(order).unique(list(PriceChanges.primary_key), keep="last", maintain_order=True)
    return SortedPrices(changes.select(list(PriceChanges.columns)), _rejected(raw, judged["reason"]))


def _with_prices(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines with `unit_price` as price of one token, and `price_problem`."""
    stated = lines.select("unit_price", "per_tokens").unique()
    found = [unit_price(text, per) for text, per in stated.iter_rows()]
    known = stated.with_columns(
        pl.Series("price", [price if isinstance(price, Decimal) else None for price in found], PRICE),
        pl.Series("price_problem", [price if isinstance(price, str) else None for price in found], pl.String),
    )
    joined = lines.join(known, on=["unit_price", "per_tokens"], how="left", nulls_equal=True, maintain_order="left")
    return joined.drop("unit_price").rename({"price": "unit_price"})


def unit_price(stated: str | None, per_tokens: int) -> Decimal | str | None:
    """The price of one token, exact; null where it is null; else what is wrong with it, as a reason."""
    if per_tokens <= 0:
        return "invalid_per_tokens"
    if stated is None:
        return None
    text = stated.strip()
    if len(text) > LONGEST_PRICE or not WRITTEN.fullmatch(text):
        return "invalid_price"
    with localcontext(prec=300):  # 100 characters, an exponent of two digits, and a divisor of 19: nothing is rounded
        price = Decimal(text)
        if price < 0:
            return "negative_price"
        if price > MOST_PRICE * per_tokens:
            return "price_too_large"
        each = (abs(price) / per_tokens).quantize(Decimal(1).scaleb(-PRICE_DECIMALS))
        return each if each * per_tokens == price else "price_too_fine"


def _with_reasons(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines with `reason`: the first of what is wrong with each, null for a good one."""
    broken = _broken(lines["model_pattern"].drop_nulls().unique())
    blank = pl.any_horizontal(pl.col(name).str.strip_chars() == "" for name in ("tenant_id", "region"))
    problems = {
        "unknown_token_class": ~pl.col("token_class").is_in(list(TOKEN_CLASSES)),
        "unknown_currency": ~pl.col("currency").is_in(list(DECIMALS)),
        "negative_from_input_tokens": pl.col("from_input_tokens") < 0,
        "ends_before_it_begins": pl.col("valid_to") <= pl.col("valid_from"),
        "invalid_model_pattern": pl.col("model_pattern").is_in(broken),
        "blank_terms": blank,
    }
    reasons = [pl.when(wrong).then(pl.lit(reason)) for reason, wrong in problems.items()]
    return lines.with_columns(reason=pl.coalesce(*reasons, "price_problem"))


def whole_name(pattern: str) -> str:
    """The pattern of a whole name."""
    return f"^(?:{pattern})$"


def _broken(patterns: Iterable[str]) -> list[str]:
    """Those that are no regular expressions of Polars' (Rust's)."""
    broken = []
    for pattern in patterns:
        try:
            pl.Series([""]).str.contains(whole_name(pattern))
        except pl.exceptions.PolarsError:
            broken.append(pattern)
    return broken


def _rejected(raw: pl.DataFrame, reasons: pl.Series) -> pl.DataFrame:
    content = [name for name in RawModelPrices.columns if name not in BOOKKEEPING]
    rows = raw.with_columns(reasons).filter(pl.col("reason").is_not_null())
    rejected = rows.select(
        pl.col("reason"), event_date="valid_date", row=pl.struct(content).struct.json_encode()
    ).unique(["event_date", "reason", "row"])
    completed = rejected.with_columns(pl.Series("row_digest", map(row_digest, rejected["row"]), pl.String))
    return completed.select(list(PriceChangesRejected.columns))


def said_last(changes: pl.LazyFrame) -> pl.LazyFrame:
    """PriceChanges, of those that begin at one moment the one that became known last: a price may be announced, then
    said again, and is filed under another day by then."""
    key = [*TERMS, "token_class", "valid_from"]
    return changes.sort("known_from", "valid_date").unique(key, keep="last", maintain_order=True)


def price_history(changes: pl.LazyFrame) -> pl.LazyFrame:
    """PriceChanges → ModelPrices: each price until its own end or the next price of the same, whichever is first."""
    key = [*TERMS, "token_class"]
    following = pl.col("valid_from").shift(-1).over(key, order_by="valid_from")
    ended = said_last(changes).with_columns(valid_to=pl.min_horizontal("valid_to", following))
    return ended.filter(pl.col("unit_price").is_not_null()).select(list(ModelPrices.columns))
