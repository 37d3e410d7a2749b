"""What tenants cost as rows of FOCUS 1.4, with the two columns that make them readable as 1.2 (ProviderName,
PublisherName). Belongs here: tables → rows, lazily. Not here: writing files (files), reading bills (reading)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS

CATEGORIES: Mapping[str, str] = {
    "subscription": "Purchase",
    "provisioned_throughput": "Purchase",
    "tax": "Tax",
    "credit": "Credit",
    "idle": "Usage",
}
"""Kind of a shared cost → ChargeCategory; every other is an Adjustment."""
MONEY = pl.Decimal(38, PRICE_DECIMALS)
SCHEMA: Mapping[str, pl.DataType] = {
    "BilledCost": MONEY,
    "EffectiveCost": MONEY,
    "ContractedCost": MONEY,
    "ListCost": MONEY,
    "BillingCurrency": pl.String(),
    "BillingAccountId": pl.String(),
    "BillingAccountName": pl.String(),
    "BillingPeriodStart": UTC_MICROSECONDS,
    "BillingPeriodEnd": UTC_MICROSECONDS,
    "ChargePeriodStart": UTC_MICROSECONDS,
    "ChargePeriodEnd": UTC_MICROSECONDS,
    "ChargeCategory": pl.String(),
    "ChargeClass": pl.String(),
    "ChargeDescription": pl.String(),
    "ChargeFrequency": pl.String(),
    "ConsumedQuantity": pl.Int64(),
    "ConsumedUnit": pl.String(),
    "PricingQuantity": pl.Int64(),
    "PricingUnit": pl.String(),
    "InvoiceIssuerName": pl.String(),
    "ServiceProviderName": pl.String(),
    "HostProviderName": pl.String(),
    "ServiceCategory": pl.String(),
    "ServiceSubcategory": pl.String(),
    "ServiceName": pl.String(),
    "SkuId": pl.String(),
    "SubAccountId": pl.String(),
    "AllocatedMethodId": pl.String(),
    "ProviderName": pl.String(),
    "PublisherName": pl.String(),
    "x_ProjectId": pl.String(),
    "x_Feature": pl.String(),
    "x_Calls": pl.Int64(),
    "x_SharedCostId": pl.String(),
    "x_NotAllocatedReason": pl.String(),
}


@dataclass(frozen=True)
class Issuer:
    """Who bills the tenants: FOCUS wants it in every row."""

    name: str
    account_id: str


def focus_rows(daily_costs: pl.LazyFrame, allocation: pl.LazyFrame, month: dt.date, issuer: Issuer) -> pl.LazyFrame:
    """Rows of a month, columns as in SCHEMA; the sum of BilledCost is that of both tables exactly.

    In: TenantDailyCosts and CostAllocation (of a tenant, where the rows are for one), and the month's first day. A row
    of calls is a day, tenant, project, feature and model; users are not told. Calls without a price have no cost and
    no row: whoever closes a month looks at them first. List and contracted cost are what was billed: price lists say
    no other price of a call.
    """
    beyond = (month + dt.timedelta(days=32)).replace(day=1)
    of_month = pl.col("usage_date").is_between(month, beyond, closed="left")
    parts = allocation.filter(pl.col("cost_month").dt.month_start() == month, pl.col("amount").is_not_null())
    rows = pl.concat([_of_calls(daily_costs.filter(of_month)), _of_shared_costs(parts, month, beyond, issuer)])
    complete = rows.select(_common(month, beyond, issuer))
    return complete.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()).sort(ORDER)


OWN = (
    "BilledCost", "BillingCurrency", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeDescription",
    "ConsumedQuantity", "ServiceProviderName", "ServiceName", "SkuId", "SubAccountId", "AllocatedMethodId",
    "x_ProjectId", "x_Feature", "x_Calls", "x_SharedCostId", "x_NotAllocatedReason",
)  # fmt: skip
"""Columns in which rows differ; the others follow from these."""
ORDER = ("SubAccountId", "ChargePeriodStart", "x_SharedCostId", "x_ProjectId", "x_Feature", "SkuId")


def _of_calls(daily_costs: pl.LazyFrame) -> pl.LazyFrame:
    key = ["usage_date", "tenant_id", "project_id", "feature", "provider", "model", "currency"]
    priced = daily_costs.filter(pl.col("currency") != "")
    summed = priced.group_by(key).agg(pl.col("cost", "calls", "total_tokens").sum())
    return summed.select(
        BilledCost=pl.col("cost").cast(MONEY),
        BillingCurrency="currency",
        ChargePeriodStart=_midnight(pl.col("usage_date")),
        ChargePeriodEnd=_midnight(pl.col("usage_date").dt.offset_by("1d")),
        ChargeCategory=pl.lit("Usage"),
        ChargeDescription=pl.format("Calls of {} at {}", "model", "provider"),
        ConsumedQuantity="total_tokens",
        ServiceProviderName="provider",
        ServiceName=pl.lit("Language models"),
        SkuId="model",
        SubAccountId="tenant_id",
        AllocatedMethodId=pl.lit(None, pl.String),
        x_ProjectId=_named("project_id"),
        x_Feature=_named("feature"),
        x_Calls="calls",
        x_SharedCostId=pl.lit(None, pl.String),
        x_NotAllocatedReason=pl.lit(None, pl.String),
    ).select(OWN)


def _of_shared_costs(parts: pl.LazyFrame, month: dt.date, beyond: dt.date, issuer: Issuer) -> pl.LazyFrame:
    return parts.select(
        BilledCost=pl.col("amount").cast(MONEY),
        BillingCurrency="currency",
        ChargePeriodStart=_midnight(pl.lit(month)),
        ChargePeriodEnd=_midnight(pl.lit(beyond)),
        ChargeCategory=pl.col("cost_kind").replace_strict(CATEGORIES, default="Adjustment"),
        ChargeDescription=pl.coalesce("description", "cost_id"),
        ConsumedQuantity=pl.lit(None, pl.Int64),
        ServiceProviderName=pl.lit(issuer.name),
        ServiceName=pl.lit("Shared costs"),
        SkuId=pl.lit(None, pl.String),
        SubAccountId=_named("tenant_id"),
        AllocatedMethodId=pl.format("{} version {}", "rule_id", "rule_version"),
        x_ProjectId=_named("project_id"),
        x_Feature=pl.lit(None, pl.String),
        x_Calls=pl.lit(None, pl.Int64),
        x_SharedCostId="cost_id",
        x_NotAllocatedReason="reason",
    ).select(OWN)


def _common(month: dt.date, beyond: dt.date, issuer: Issuer) -> list[pl.Expr]:
    category, consumed = pl.col("ChargeCategory"), pl.col("ConsumedQuantity")
    is_purchase = category == "Purchase"
    frequency = pl.when(category == "Usage").then(pl.lit("Usage-Based")).when(is_purchase).then(pl.lit("Recurring"))
    return [
        *map(pl.col, OWN),
        *(pl.col("BilledCost").alias(name) for name in ("EffectiveCost", "ContractedCost", "ListCost")),
        pl.lit(issuer.account_id).alias("BillingAccountId"),
        *(pl.lit(issuer.name).alias(name) for name in ("BillingAccountName", "InvoiceIssuerName")),
        _midnight(pl.lit(month)).alias("BillingPeriodStart"),
        _midnight(pl.lit(beyond)).alias("BillingPeriodEnd"),
        pl.lit(None).alias("ChargeClass"),
        frequency.otherwise(pl.lit("One-Time")).alias("ChargeFrequency"),
        pl.when(consumed.is_not_null()).then(pl.lit("Tokens")).alias("ConsumedUnit"),
        pl.when(is_purchase).then(1).otherwise(consumed).alias("PricingQuantity"),
        pl.when(is_purchase)
        .then(pl.lit("Units"))
        .when(consumed.is_not_null())
        .then(pl.lit("Tokens"))
        .alias("PricingUnit"),
        pl.lit("AI and Machine Learning").alias("ServiceCategory"),
        pl.lit("Generative AI").alias("ServiceSubcategory"),
        *(pl.col("ServiceProviderName").alias(name) for name in ("HostProviderName", "ProviderName", "PublisherName")),
    ]


def _midnight(day: pl.Expr) -> pl.Expr:
    return day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _named(column: str) -> pl.Expr:
    """Empty text as null: FOCUS has no empty ids."""
    return pl.col(column).replace("", None)
