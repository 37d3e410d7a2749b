"""What can be asked of metering over HTTP: what tenants used and what it cost.
Not here: the tables (contracts), answering (web/query)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.queries import Distinct, Quantile, Query, Statement, Sum
from data_platform.domains.metering.contracts.billing import RawBilledCharges, TenantSkuCosts
from data_platform.domains.metering.contracts.costs import (
    CostAdjustments,
    TenantDailyCosts,
    TenantHourlyCosts,
    UsageCosts,
)
from data_platform.domains.metering.contracts.rollups import (
    BUCKETS_PER_DOUBLING,
    TenantDays,
    TenantFeatureDays,
    TenantModelDays,
    TenantModelMonths,
    TenantUserMonths,
    TokenHistograms,
)
from data_platform.domains.metering.contracts.shared_costs import CostAllocation
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.focus.charges import Books, charges
from data_platform.domains.metering.focus.rows import Issuer, focus_rows

ISSUER = "internal"
"""Who bills the tenants, as in `metering close`."""
DIMENSIONS = {
    "tenant_id": "The tenant.",
    "project_id": "Its project; empty where calls name none.",
    "feature": "What of the product called; empty where calls name none.",
    "user_id": "Whose requests; empty where calls name none.",
    "provider": "Who ran the model.",
    "model": "The model.",
    "hour": "Start of the hour (UTC).",
    "currency": "ISO 4217 code; empty for calls without a price.",
}
COUNTED = (Sum("calls"), Sum("failed_calls"), Sum("unpriced_calls"))
TOKENS = (Sum("input_tokens"), Sum("cache_read_tokens"), Sum("output_tokens"), Sum("total_tokens"))
DAILY = (TenantModelDays, TenantFeatureDays, TenantDailyCosts, TenantHourlyCosts)


def middle(bucket: pl.Expr) -> pl.Expr:
    """The middle of a histogram's bucket, in whole tokens: at most 4.5 % from each call in it."""
    tokens = (2.0 ** ((bucket - 0.5) / BUCKETS_PER_DOUBLING)).round().cast(pl.Int64)
    return pl.when(bucket == 0).then(0).otherwise(tokens)


def _tokens_at(share: float) -> Quantile:
    per_cent = round(share * 100)
    text = f"Tokens that {per_cent} % of the calls do not exceed, read from a histogram: at most 4.5 % off."
    return Quantile(f"p{per_cent}_tokens", share, "bucket", "calls", middle, text)


def _focus(tables: Sequence[pl.LazyFrame], month: dt.date) -> pl.LazyFrame:
    return focus_rows(charges(Books(*tables), month), month, Issuer(ISSUER, ISSUER))


COSTS = Query(
    "costs",
    "What calls cost, by tenant, project, feature, model, user and time.",
    tables=DAILY,
    monthly=(TenantDays, TenantModelMonths),
    dimensions=DIMENSIONS,
    measures=(Sum("cost"), *COUNTED, *TOKENS),
    shown=("cost", "calls", "unpriced_calls"),
    rows=UsageCosts,
    currency="currency",
    statements=(
        Statement(
            "focus",
            "The bill of a month as FOCUS 1.4, readable as 1.2: calls by SKU, parts of shared costs, corrections of "
            "months that were closed, to the last digit.",
            (TenantSkuCosts, CostAllocation, CostAdjustments, RawBilledCharges),
            _focus,
        ),
    ),
)
USAGE = Query(
    "usage",
    "What was used: calls, tokens, users.",
    tables=(*DAILY, TokenHistograms),
    monthly=(TenantDays, TenantModelMonths, TenantUserMonths),
    partial=(TokenHistograms, TenantUserMonths),
    dimensions=DIMENSIONS,
    measures=(
        *COUNTED,
        *TOKENS,
        Distinct("users", "user_id", "Users who called, each once; calls that name none aside."),
        *map(_tokens_at, (0.5, 0.95, 0.99)),
    ),
    shown=("calls", "total_tokens"),
    rows=LlmUsage,
)
QUERIES = (COSTS, USAGE)
