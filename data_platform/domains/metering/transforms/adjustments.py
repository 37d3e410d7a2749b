"""What corrections of days that were over made of their costs: from the history of the daily costs and themselves.
Not here: keeping that history (core/lake/bitemporal)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.domains.metering.contracts.costs import CostAdjustments, TenantDailyCosts

KEY = list(TenantDailyCosts.primary_key)
BUT_CURRENCY = [name for name in KEY if name != "currency"]
DAY = "usage_date"
USED = ["calls", "failed_calls", "input_tokens", "cache_read_tokens", "output_tokens", "total_tokens"]
"""What of a row says how much was used, whatever it costs."""
NUMBERS = [*USED, "cost"]
STILL = pl.lit(dt.datetime(9999, 1, 1, tzinfo=dt.UTC)).dt.cast_time_unit("us")
"""Until when holds what was not corrected since."""


def adjustments(history: pl.LazyFrame, now: pl.LazyFrame) -> pl.LazyFrame:
    """Corrections of whole days and those days as they are now → CostAdjustments of them.

    In: rows of the history of TenantDailyCosts and of the table, of the same days. A row of the history says what held
    until a moment, so what held after it is said by the next one of its key, or by the table. That a day was published
    first when it was over is no correction: nobody had been told anything of it.
    """
    before = _states(history, now)
    after = pl.col(NUMBERS).shift(-1).over(KEY, order_by="known_until").name.suffix("_after")
    steps = before.with_columns(after).filter(pl.col("known_until") < STILL)
    used = [f"{name}_after" for name in USED]
    # By key without currency: a call that gets its first price leaves the row of those that have none.
    sums = pl.col([*USED, *used]).sum().over([*BUT_CURRENCY, "known_until"])
    summed = steps.with_columns(sums.name.suffix("_of_all"))
    same = pl.all_horizontal(pl.col(f"{name}_of_all") == pl.col(f"{name}_after_of_all") for name in USED)
    changed = (pl.col("cost") != pl.col("cost_after")) | (pl.col("calls") != pl.col("calls_after"))
    return (
        summed.filter(changed)
        .select(
            *KEY,
            adjusted_at="known_until",
            cost_before="cost",
            cost_after="cost_after",
            amount=pl.col("cost_after") - pl.col("cost"),
            calls_before="calls",
            calls_after="calls_after",
            why=pl.when(same).then(pl.lit("price")).otherwise(pl.lit("usage")),
        )
        .select(list(CostAdjustments.columns))
    )


def _states(history: pl.LazyFrame, now: pl.LazyFrame) -> pl.LazyFrame:
    """KEY, NUMBERS and `known_until`: what held of each key until each of its corrections and, until STILL, what holds
    now; zeros where there was no such row."""
    zeros = [pl.when(pl.col("existed")).then(pl.col(name)).otherwise(0).alias(name) for name in NUMBERS]
    of_rows = history.filter(pl.col("tenant_id").is_not_null()).select(*KEY, "known_until", *zeros)
    of_days = history.filter(pl.col("tenant_id").is_null()).select(DAY, "known_until")
    keys = pl.concat([of_rows.select(KEY), now.select(KEY)]).unique()
    # Until a moment the day had no rows, though it had some before: they had all been taken away.
    first = of_rows.group_by(DAY).agg(first=pl.col("known_until").min())
    emptied = of_days.join(first, on=DAY).filter(pl.col("known_until") > pl.col("first")).drop("first")
    absent = keys.join(emptied, on=DAY)
    present = keys.join(now.select(*KEY, *NUMBERS), on=KEY, how="left").with_columns(known_until=STILL)
    return pl.concat([of_rows, absent, present], how="diagonal").with_columns(pl.col(NUMBERS).fill_null(0))
