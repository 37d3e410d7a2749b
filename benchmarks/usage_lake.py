"""A year of made-up usage in the lake: calls with their costs by day, and the sums that dashboards read.
Not here: measuring (usage_server), goals (usage)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.domains.metering.contracts.costs import TenantHourlyCosts, UsageCosts
from data_platform.domains.metering.contracts.rollups import (
    BUCKETS_PER_DOUBLING,
    TenantDays,
    TenantModelDays,
    TenantModelMonths,
    TenantUserMonths,
    TokenHistograms,
)

FIRST, DAYS = dt.date(2025, 1, 1), 365
TENANTS, MODELS, USERS = 1_000, 40, 1_000_000
BIGGEST = "tenant-0001"
PRICE = Decimal("0.000000037")
"""Dollars a token, times the model's number."""


def fill(lake: Lake, rows: int, tell: Callable[[str, int, int], None]) -> None:
    """About so many calls over a year: few tenants are large, a tenant has a dozen models that it likes."""
    chance = np.random.default_rng(3)
    weights = 1 / np.arange(1, TENANTS + 1) ** 0.8
    monthly: list[pl.DataFrame] = []
    for number in range(DAYS):
        day = FIRST + dt.timedelta(number)
        calls = _calls(chance, day, rows // DAYS, weights / weights.sum())
        lake.replace(UsageCosts, _as(UsageCosts, calls), [day])
        for table, keys in ((TenantModelDays, []), (TenantHourlyCosts, ["hour"]), (TokenHistograms, ["bucket"])):
            lake.replace(table, _summed(table, calls, keys), [day])
        monthly.append(
            calls.select("usage_date", "month", "tenant_id", "provider", "model", "user_id", "currency", *SUMMED)
        )
        if (day + dt.timedelta(1)).day == 1:
            of_month = pl.concat(monthly)
            monthly.clear()
            for table in (TenantDays, TenantModelMonths, TenantUserMonths):
                lake.replace(table, _summed(table, of_month, []), [day.replace(day=1)])
        tell("days", number + 1, DAYS)


SUMMED = ("calls", "failed_calls", "unpriced_calls", "input_tokens", "cache_read_tokens", "output_tokens",
          "total_tokens", "cost")  # fmt: skip


def _calls(chance: np.random.Generator, day: dt.date, rows: int, weights: Any) -> pl.DataFrame:
    tenant = chance.choice(TENANTS, rows, p=weights)
    model = (tenant * 7 + np.minimum(chance.geometric(0.25, rows), 12)) % MODELS
    users = tenant + TENANTS * (chance.zipf(1.3, rows) % (USERS // TENANTS))
    tokens = np.exp(chance.normal(7, 1.2, rows)).astype(np.int64) + 1
    seconds = np.sort(chance.integers(0, 86_400, rows))
    frame = pl.DataFrame({"tenant": tenant, "number": model, "user": users, "total_tokens": tokens, "second": seconds})
    midnight = pl.lit(dt.datetime.combine(day, dt.time(), dt.UTC))
    return frame.select(
        usage_date=pl.lit(day),
        month=pl.lit(day.replace(day=1)),
        usage_id=pl.format("{}-{}", pl.lit(day.isoformat()), pl.int_range(pl.len())),
        tenant_id="tenant-" + (pl.col("tenant") + 1).cast(pl.String).str.zfill(4),
        provider=pl.lit("openai"),
        model="model-" + pl.col("number").cast(pl.String).str.zfill(2),
        user_id="user-" + pl.col("user").cast(pl.String),
        started_at=midnight + pl.duration(seconds=pl.col("second")),
        hour=(midnight + pl.duration(seconds=pl.col("second"))).dt.truncate("1h"),
        currency=pl.lit("USD"),
        bucket=(pl.col("total_tokens").cast(pl.Float64).log(2) * BUCKETS_PER_DOUBLING).floor().cast(pl.Int64) + 1,
        calls=pl.lit(1, pl.Int64),
        failed_calls=pl.lit(0, pl.Int64),
        unpriced_calls=pl.lit(0, pl.Int64),
        input_tokens=pl.col("total_tokens"),
        cache_read_tokens=pl.lit(0, pl.Int64),
        output_tokens=pl.lit(0, pl.Int64),
        total_tokens=pl.col("total_tokens"),
        cost=pl.lit(PRICE).cast(pl.Decimal(38, 18)) * (pl.col("total_tokens") * (pl.col("number") + 1)),
    )


def _summed(table: type[Table], calls: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    by = [name for name in dict.fromkeys([*table.primary_key, *keys])]
    measured = [name for name in SUMMED if name in table.columns and name not in by]
    return calls.group_by(by).agg(pl.col(measured).sum()).select(list(table.columns))


def _as(table: type[Table], calls: pl.DataFrame) -> pl.DataFrame:
    """The contract's columns; those that the calls have not are null, or the cost."""
    columns = [
        pl.col(name).cast(dtype) if name in calls.columns
        else pl.lit(None if table.columns[name].nullable else 0).cast(dtype).alias(name)
        for name, dtype in table.schema().items()
    ]  # fmt: skip
    return calls.select(columns)
