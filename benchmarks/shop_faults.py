"""What goes wrong with a shop's day in ways that rules do not see: 14 kinds that break a good day of order lines.
Not here: the good days (shop_history), judging (faults)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

Break = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
"""The day's lines, and those of all days before it → the lines that arrive."""

DAY = "order_date"


@dataclass(frozen=True)
class ShopFault:
    """A way to break a day of order lines."""

    name: str
    apply: Break


def _priced(day: pl.DataFrame, price: pl.Expr) -> pl.DataFrame:
    """The day at other prices: amounts follow."""
    amount = pl.col("unit_price") * pl.col("quantity")
    sign = pl.when(pl.col("order_type") == "return").then(-1).otherwise(1)
    return day.with_columns(unit_price=price.cast(pl.Decimal(18, 2))).with_columns(
        amount=amount.cast(pl.Decimal(18, 2)), revenue=(amount * sign).cast(pl.Decimal(18, 2))
    )


def _price() -> pl.Expr:
    return pl.col("unit_price").cast(pl.Float64)


def bot(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """One customer orders one product again and again: a quarter of the day's lines more."""
    lines = day.filter(pl.col("order_type") == "sale").head(max(30, len(day) // 4))
    one = {"product_id": pl.col("product_id").first(), "user_id": pl.lit("99999"), "quantity": pl.lit(1, pl.Int64)}
    made = lines.with_columns(order_item_id=pl.col("order_item_id") + "-bot", **one)
    return pl.concat([day, made.cast(dict(day.schema))])  # type: ignore[arg-type]


def lost_to_rounding(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """Prices without pence."""
    return _priced(day, _price().round(0))


def tax_added(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """Prices with a fifth of tax on them."""
    return _priced(day, (_price() * 1.2).round(2))


def guests_lost(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """No lines without a customer."""
    return day.filter(pl.col("user_id").is_not_null())


def credits_as_sales(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """Returns booked as sales."""
    return day.with_columns(order_type=pl.lit("sale"), revenue=pl.col("revenue").abs())


def quantity_always_1(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """Every line of one piece."""
    return _priced(day.with_columns(quantity=pl.lit(1, pl.Int64)), _price())


def replayed_day(day: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The lines of the day before, under the new date."""
    last = before.filter(pl.col(DAY) == pl.col(DAY).max())
    moved = pl.lit(day[DAY][0]) - pl.col(DAY)
    return last.with_columns(
        ordered_at=pl.col("ordered_at") + moved, order_item_id=pl.col("order_item_id") + "-again"
    ).with_columns(pl.lit(day[DAY][0]).alias(DAY))


def ids_rehashed(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """Customers under other numbers of five digits."""
    other = (20_000 + (pl.col("user_id").cast(pl.Int64, strict=False) * 7_919) % 70_000).cast(pl.String)
    return day.with_columns(user_id=other)


def day_cut(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """The first seventh of the day (74 lines of 501)."""
    return day.sort("ordered_at").head(len(day) * 74 // 501)


def new_customers_lost(day: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """No lines of customers who never ordered before."""
    return day.filter(pl.col("user_id").is_null() | pl.col("user_id").is_in(before["user_id"].unique().implode()))


def prices_in_pence(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """A hundred times the price."""
    return _priced(day, _price() * 100)


def clock_off(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """Told five hours early, as by a clock of New York."""
    return day.with_columns(pl.col("ordered_at") - pl.duration(hours=5))


def customers_missing(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """Half of the lines without their customer."""
    half = pl.int_range(pl.len()) % 2 == 0
    return day.with_columns(user_id=pl.when(half).then(None).otherwise("user_id"))


def booked_twice(day: pl.DataFrame, _before: pl.DataFrame) -> pl.DataFrame:
    """Every line twice, under a new id."""
    return pl.concat([day, day.with_columns(pl.col("order_item_id") + "-again")])


SHOP_FAULTS = tuple(
    ShopFault(one.__name__.replace("_", " "), one)
    for one in (
        *(bot, lost_to_rounding, tax_added, guests_lost, credits_as_sales, quantity_always_1, replayed_day),
        *(ids_rehashed, day_cut, new_customers_lost, prices_in_pence, clock_off, customers_missing, booked_twice),
    )
)
