"""What goes wrong between the shop's database and the landing folder, and what a correct platform does about it:
lines in another currency or with a negative quantity are rejected, copies are dropped, what is late comes all the same.
"""

import numpy as np
import polars as pl

_BAD = 0.01  # of order lines, by kind: an extra line that must be rejected, so that totals stay as they are
_COPIES = 0.02
_LATE = 0.05  # of order changes: a day late, after newer ones


def soil_orders(
    items: pl.DataFrame, orders: pl.DataFrame, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Order lines and order changes with bad lines and exact copies among them."""
    negative = _some(items, _BAD, rng).with_columns(
        quantity=-pl.col("quantity"), order_item_id="negative-" + pl.col("order_item_id")
    )
    foreign = _some(items, _BAD, rng).with_columns(
        currency=pl.when(pl.col("currency") == "USD").then(pl.lit("EUR")).otherwise(pl.lit("USD")),
        order_item_id="foreign-" + pl.col("order_item_id"),
    )
    items = pl.concat([items, negative, foreign, _some(items, _COPIES, rng)])
    return items, pl.concat([orders, _some(orders, _COPIES, rng)])


def withhold(
    orders: pl.DataFrame, withheld: pl.DataFrame, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Today's order changes without those that come tomorrow, and those; yesterday's come now."""
    late = pl.Series(rng.random(len(orders)) < _LATE)
    arriving = orders.filter(~late)
    return (pl.concat([withheld, arriving]) if len(withheld) else arriving), orders.filter(late)


def _some(rows: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.DataFrame:
    return rows.filter(pl.Series(rng.random(len(rows)) < share, dtype=pl.Boolean))
