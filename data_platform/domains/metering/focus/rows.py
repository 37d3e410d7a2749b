"""Charges of a bill as rows of FOCUS 1.4, with the two columns that make them readable as 1.2 (ProviderName,
PublisherName). Not here: what is charged (charges), writing files (files), reading bills (reading)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.calendar import midnight, next_month
from data_platform.core.contract.table import UTC_MICROSECONDS
from data_platform.domains.metering.focus.charges import CORRECTION, MONEY

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
    "ListUnitPrice": MONEY,
    "ContractedUnitPrice": MONEY,
    "InvoiceIssuerName": pl.String(),
    "ServiceProviderName": pl.String(),
    "HostProviderName": pl.String(),
    "ServiceCategory": pl.String(),
    "ServiceSubcategory": pl.String(),
    "ServiceName": pl.String(),
    "SkuId": pl.String(),
    "SkuPriceId": pl.String(),
    "SkuMeter": pl.String(),
    "SubAccountId": pl.String(),
    "AllocatedMethodId": pl.String(),
    "ProviderName": pl.String(),
    "PublisherName": pl.String(),
    "x_Model": pl.String(),
    "x_ProjectId": pl.String(),
    "x_Feature": pl.String(),
    "x_Calls": pl.Int64(),
    "x_SharedCostId": pl.String(),
    "x_NotAllocatedReason": pl.String(),
}
TOKENS, PIECES = "Tokens", "Units"
ORDER = (
    "SubAccountId", "ChargePeriodStart", "x_SharedCostId", "x_ProjectId", "x_Feature", "x_Model", "SkuId", "SkuPriceId",
    "ListUnitPrice",
)  # fmt: skip


@dataclass(frozen=True)
class Issuer:
    """Who bills the tenants: FOCUS wants it in every row."""

    name: str
    account_id: str


def focus_rows(charges: pl.LazyFrame, month: dt.date, issuer: Issuer) -> pl.LazyFrame:
    """The charges of a bill (`focus.charges`) as rows, columns as in SCHEMA; the sum of BilledCost is theirs exactly.

    A row of calls is a day, tenant, project, feature, model and SKU price, which is a class of tokens at a price. List
    and contracted price are what was billed: price lists say no other price of a call. Calls without a price have no
    cost and no row: whoever closes a month looks at them first.
    """
    rows = charges.select(
        *(pl.col("amount").alias(name) for name in ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost")),
        pl.col("currency").alias("BillingCurrency"),
        pl.lit(issuer.account_id).alias("BillingAccountId"),
        *(pl.lit(issuer.name).alias(name) for name in ("BillingAccountName", "InvoiceIssuerName")),
        pl.lit(midnight(month)).alias("BillingPeriodStart"),
        pl.lit(midnight(next_month(month))).alias("BillingPeriodEnd"),
        pl.col("charge_start").alias("ChargePeriodStart"),
        pl.col("charge_end").alias("ChargePeriodEnd"),
        pl.col("category").alias("ChargeCategory"),
        pl.when(pl.col("charge_class") == CORRECTION).then(pl.lit("Correction")).alias("ChargeClass"),
        pl.col("description").alias("ChargeDescription"),
        _frequency().alias("ChargeFrequency"),
        *_quantities(),
        *(pl.col("unit_price").alias(name) for name in ("ListUnitPrice", "ContractedUnitPrice")),
        *(
            pl.coalesce("provider", pl.lit(issuer.name)).alias(name)
            for name in ("ServiceProviderName", "HostProviderName", "ProviderName", "PublisherName")
        ),
        pl.lit("AI and Machine Learning").alias("ServiceCategory"),
        pl.lit("Generative AI").alias("ServiceSubcategory"),
        _of_calls(pl.lit("Language models")).fill_null("Shared costs").alias("ServiceName"),
        SkuId="sku_id",
        SkuPriceId="sku_price_id",
        SkuMeter="sku_meter",
        SubAccountId="tenant_id",
        AllocatedMethodId="method",
        x_Model="model",
        x_ProjectId="project_id",
        x_Feature="feature",
        x_Calls="calls",
        x_SharedCostId="shared_cost_id",
        x_NotAllocatedReason="not_allocated_reason",
    )
    return rows.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()).sort(ORDER)


def _of_calls(value: pl.Expr) -> pl.Expr:
    """Null for shared costs."""
    return pl.when(pl.col("sku_meter").is_not_null()).then(value)


def _frequency() -> pl.Expr:
    category = pl.col("category")
    usage = pl.when(category == "Usage").then(pl.lit("Usage-Based"))
    return usage.when(category == "Purchase").then(pl.lit("Recurring")).otherwise(pl.lit("One-Time"))


def _quantities() -> list[pl.Expr]:
    """Consumed are tokens alone; priced is also the one piece that a part of a shared cost is."""
    unit = _of_calls(pl.lit(TOKENS)).fill_null(PIECES)
    return [
        _of_calls(pl.col("quantity")).alias("ConsumedQuantity"),
        _of_calls(pl.lit(TOKENS)).alias("ConsumedUnit"),
        pl.col("quantity").alias("PricingQuantity"),
        pl.when(pl.col("quantity").is_not_null()).then(unit).alias("PricingUnit"),
    ]
