"""Contracts of prices: price lines as received, their history, and what each model cost on each day.
Not here: what calls cost."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl

from data_platform.core.contract.received import ReceivedLines, RejectedLines, RejectedRows
from data_platform.core.contract.table import Rule, Table, column
from data_platform.domains.metering.contracts.usage import OWNER
from data_platform.domains.metering.token_classes import TOKEN_CLASSES

PRICE_DECIMALS = 18
"""Of a price per token and of a cost: tokens (whole) times such a price is exact, and 20 digits are left before the
point."""
MOST_PRICE = Decimal(1_000)
"""Per token; with MOST_TOKENS of each class a cost fits its column."""
CURRENCY = "^[A-Z]{3}$"
VALID_DATE = (
    "UTC day of `valid_from`; what held before the first day is filed under it, what begins later than the day it was "
    "received on under that day."
)
UNIT_PRICE = "Price of one token, exact; null where this class is not sold."


class Priced(Table):
    """What a price is of."""

    # A rule and not a column's pattern, which Polars checks on import, starting threads that no fork of a process has.
    row_rules = (Rule("currency_pattern", f"currency matches {CURRENCY}", pl.col("currency").str.contains(CURRENCY)),)

    provider: str = column("Who runs the model, small letters, as in usage.", min_length=1)
    model: str = column("The model, as the price list names it.", min_length=1)
    model_pattern: str | None = column(
        "Regular expression (Rust's) of the whole names that usage gives this model; null: the name itself."
    )
    tenant_id: str | None = column("Whose price it is, by contract; null for everybody's.")
    region: str | None = column("Where the model runs; null for every region without a price of its own.")
    service_tier: str | None = column("null for interactive, `batch`, `flex`, `priority`.")
    from_input_tokens: int = column("Shortest prompt (all its classes) that this price is for.", unit="tokens", ge=0)
    currency: str = column("ISO 4217 code.", min_length=1)


class RawModelPrices(ReceivedLines):
    """Lines of price lists as received. A line says what one class of one model costs from a moment on."""

    key = "raw/model_prices"
    partition = "valid_date"
    primary_key = ("valid_date", "source_file", "source_line", "received_at")
    owner = OWNER
    tenant = "tenant_id"

    valid_date: dt.date = column(VALID_DATE)
    valid_from: dt.datetime = column("From when on the price holds (UTC).")
    valid_to: dt.datetime | None = column("Until when, exclusive; null: until the next price of the same.")
    known_from: dt.datetime | None = column(
        "When the list said so (UTC), the newest counts; null: when it was received."
    )
    provider: str = column("Who runs the model.", min_length=1)
    model: str = column("The model, as the list names it.", min_length=1)
    model_pattern: str | None = column("Regular expression of the names that usage gives this model.")
    tenant_id: str | None = column("Whose price it is, by contract; null for everybody's.")
    region: str | None = column("Where the model runs.")
    service_tier: str | None = column("null for interactive, `batch`, `flex`, `priority`.")
    from_input_tokens: int | None = column("Shortest prompt that this price is for; null is 0.", unit="tokens")
    token_class: str = column("Class of tokens, for example `cache_read`.", min_length=1)
    unit_price: str | None = column("Price of `per_tokens` tokens: a decimal as text; null ends the price.")
    per_tokens: int | None = column("How many tokens `unit_price` is for, for example 1000000; null is 1.")
    currency: str = column("ISO 4217 code.", min_length=1)
    source: str = column("The list, for example `genai-prices 0.2.3` or `contract 2026-04`.", min_length=1)


class RawModelPricesRejected(RejectedLines):
    """Lines of price lists that cannot be prices."""

    key = "raw/model_prices_rejected"
    owner = OWNER


class ClassPrice(Priced):
    """What one class of tokens costs, from when on."""

    token_class: str = column("Class of tokens.", isin=tuple(TOKEN_CLASSES))
    valid_from: dt.datetime = column("From when on it holds (UTC).")
    known_from: dt.datetime = column("When it became known (UTC).")
    source: str = column("The list that says so.", min_length=1)


class PriceChanges(ClassPrice):
    """Lines of price lists that can be prices: of those of one class of one model that begin at one moment the one that
    became known last. One that was announced is filed under an earlier day than what is said of it when it holds: then
    there are two, and the one that became known last counts."""

    key = "clean/price_changes"
    partition = "valid_date"
    primary_key = (
        "valid_date", "provider", "model", "tenant_id", "region", "service_tier", "from_input_tokens", "token_class",
        "valid_from",
    )  # fmt: skip
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    valid_date: dt.date = column(VALID_DATE)
    valid_to: dt.datetime | None = column("Until when, exclusive; null: until the next price of the same.")
    unit_price: Decimal | None = column(
        "Price of one token; null ends the price.", decimals=PRICE_DECIMALS, ge=0, le=MOST_PRICE
    )


class PriceChangesRejected(RejectedRows):
    """Lines of price lists that can be no prices, each with the reason: an unknown class or currency, a price that is
    no decimal, negative, too large or too fine, a period that ends before it begins, a pattern that is none."""

    key = "clean/price_changes_rejected"
    owner = OWNER

    event_date: dt.date = column("Day of the row, as in the raw table.", derived_from=[RawModelPrices.valid_date])


class ModelPrices(ClassPrice):
    """SCD2 history of prices: one row per model, class, tier, region, tenant and period, as known now."""

    key = "metering/model_prices"
    primary_key = (
        "provider", "model", "tenant_id", "region", "service_tier", "from_input_tokens", "token_class", "valid_from",
    )  # fmt: skip
    owner = OWNER
    tenant = "tenant_id"

    unit_price: Decimal = column("Price of one token.", decimals=PRICE_DECIMALS, ge=0, le=MOST_PRICE)
    valid_to: dt.datetime | None = column(
        "Until when, exclusive: the line's own end or the next price of the same, whichever is first; null: it holds."
    )


class RateCards(Priced):
    """What each model cost on a day: one row per model, tier, region, tenant, prompt length and part of the day, all
    classes side by side; without any where the last price has ended. A day whose prices did not change is not written
    again, so that a price that changes retroactively has exactly the days computed again on which it holds."""

    key = "metering/rate_cards"
    partition = "price_date"
    primary_key = (
        "price_date", "provider", "model", "tenant_id", "region", "service_tier", "from_input_tokens", "from_time",
    )  # fmt: skip
    owner = OWNER
    tenant = "tenant_id"
    profiled = False
    only_changed = True

    price_date: dt.date = column("Day (UTC) on which the prices hold.")
    from_time: dt.datetime = column("From when on that day, inclusive (UTC).")
    to_time: dt.datetime = column("Until when, exclusive: at the latest the end of the day.")
    price_id: str = column(
        "Digest of what the price is of, and of the prices: the same on every day. Calls name it.", min_length=1
    )
    also_called: str | None = column(
        "Regular expression of the names that the company says this model goes by besides: nearer than any other name."
    )
    input_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    cache_read_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    cache_write_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    cache_write_1h_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    audio_input_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    image_input_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    output_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    reasoning_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    audio_output_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
    image_output_price: Decimal | None = column(UNIT_PRICE, decimals=PRICE_DECIMALS)
