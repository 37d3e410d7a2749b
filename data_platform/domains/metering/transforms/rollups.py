"""Costs summed up: by hour, by day, for dashboards. All of them add up: sums of integers and exact decimals.
Not here: what a call costs (costs), what was corrected (adjustments)."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Any

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.sorting import summed_by
from data_platform.domains.metering.contracts.costs import Sums, TenantDailyCosts, TenantHourlyCosts
from data_platform.domains.metering.contracts.rollups import (
    BUCKETS_PER_DOUBLING,
    TenantDays,
    TenantFeatureDays,
    TenantModelDays,
    TenantModelMonths,
    TenantUserMonths,
    TokenHistograms,
)

SUMMED = [name for name in Sums.columns if name != "currency"]
MODELS = ("provider", "model")


def _of_calls() -> list[pl.Expr]:
    return [
        pl.len().cast(pl.Int64).alias("calls"),
        pl.col("failed").sum().cast(pl.Int64).alias("failed_calls"),
        pl.col("cost").is_null().sum().cast(pl.Int64).alias("unpriced_calls"),
        pl.col("input_tokens", "cache_read_tokens", "output_tokens", "total_tokens", "cost").sum(),
    ]


def _currency() -> pl.Expr:
    """Of calls: none of one without a cost, although a class of it may have a price."""
    return pl.when(pl.col("cost").is_null()).then(pl.lit("")).otherwise("currency").alias("currency")


def hourly_costs(costs: pl.LazyFrame) -> pl.LazyFrame:
    """UsageCosts → TenantHourlyCosts."""
    hour = pl.col("started_at").dt.truncate("1h").alias("hour")
    by = ["usage_date", "tenant_id", hour, *MODELS, _currency()]
    return costs.group_by(by).agg(_of_calls()).select(list(TenantHourlyCosts.columns))


def daily_costs(costs: pl.LazyFrame) -> pl.LazyFrame:
    """UsageCosts → TenantDailyCosts, in the order of its key: most calls of a day are their user's only one of a model
    for a feature, so that there are nearly as many sums as calls."""
    callers = [pl.col(name).fill_null("") for name in ("project_id", "feature", "user_id")]
    of_call = costs.select(
        *("usage_date", "tenant_id", "input_tokens", "cache_read_tokens", "output_tokens", "total_tokens", "cost"),
        *callers,
        *MODELS,
        _currency(),
        calls=pl.lit(1, pl.Int64),
        failed_calls=pl.col("failed").cast(pl.Int64),
        unpriced_calls=pl.col("cost").is_null().cast(pl.Int64),
    )
    as_they_are: Any = dict.fromkeys(("predicate_pushdown", "projection_pushdown", "slice_pushdown"), False)
    return of_call.select(list(TenantDailyCosts.columns)).map_batches(
        lambda calls: summed_by(calls, TenantDailyCosts.primary_key),
        schema=TenantDailyCosts.schema(),
        **as_they_are,
    )


def model_days(costs: pl.LazyFrame) -> pl.LazyFrame:
    """TenantHourlyCosts → TenantModelDays."""
    return _summed(costs, TenantModelDays)


def feature_days(sums: pl.LazyFrame) -> pl.LazyFrame:
    """TenantDailyCosts → TenantFeatureDays."""
    return _summed(sums, TenantFeatureDays)


def _summed(sums: pl.LazyFrame, table: type[Table]) -> pl.LazyFrame:
    numbers = [name for name in SUMMED if name in table.columns]
    return sums.group_by(table.primary_key).agg(pl.col(numbers).sum()).select(list(table.columns))


# ------------------------------------------------------------------------------------------------- months
def tenant_days(sums: pl.LazyFrame, days: Sequence[dt.date], first_day: dt.date) -> pl.LazyFrame:
    """TenantModelDays of the months that begin on these days → TenantDays."""
    return _summed(_of_months(sums, days, first_day), TenantDays)


def model_months(sums: pl.LazyFrame, days: Sequence[dt.date], first_day: dt.date) -> pl.LazyFrame:
    """TenantModelDays of the months that begin on these days → TenantModelMonths."""
    return _summed(_of_months(sums, days, first_day), TenantModelMonths)


def user_months(sums: pl.LazyFrame, days: Sequence[dt.date], first_day: dt.date) -> pl.LazyFrame:
    """TenantDailyCosts of the months that begin on these days → TenantUserMonths."""
    return _summed(_of_months(sums.filter(pl.col("user_id") != ""), days, first_day), TenantUserMonths)


def _of_months(sums: pl.LazyFrame, days: Sequence[dt.date], first_day: dt.date) -> pl.LazyFrame:
    """The rows of whole months with their `month`: its first day, or the first day of the platform in its month."""
    begin = pl.col("usage_date").dt.month_start()
    month = pl.max_horizontal(begin, pl.lit(first_day))
    months = [day for day in days if day.day == 1 or day == first_day]
    return sums.with_columns(month=month).filter(pl.col("month").is_in(months))


# --------------------------------------------------------------------------------------------- histograms
DOUBLINGS = 48
"""Calls have fewer tokens than 2^48: at most 10^13."""


@functools.cache
def bucket_bounds() -> pl.Series:
    """The least number of tokens of each bucket from 1 on, found without rounding: the least n with n^8 >= 2^k."""
    bounds: list[int] = []
    for power in range(DOUBLINGS * BUCKETS_PER_DOUBLING):
        least = max(1, int(2 ** (power / BUCKETS_PER_DOUBLING)) - 1)
        while least**BUCKETS_PER_DOUBLING < 2**power:
            least += 1
        bounds.append(least)
    return pl.Series(bounds, dtype=pl.Int64)


def token_histograms(costs: pl.LazyFrame) -> pl.LazyFrame:
    """UsageCosts → TokenHistograms."""
    bucket = pl.lit(bucket_bounds()).search_sorted(pl.col("total_tokens"), side="right").cast(pl.Int64)
    # Calls of equal tokens are counted first: there are far fewer of these, and looking up a bucket costs most.
    equal = costs.group_by("usage_date", "tenant_id", *MODELS, "total_tokens").agg(calls=pl.len().cast(pl.Int64))
    return (
        equal.with_columns(bucket=bucket, total_tokens=pl.col("total_tokens") * pl.col("calls"))
        .group_by(TokenHistograms.primary_key)
        .agg(pl.col("calls", "total_tokens").sum())
        .select(list(TokenHistograms.columns))
    )
