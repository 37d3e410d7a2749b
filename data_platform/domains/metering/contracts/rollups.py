"""Contracts of sums that dashboards read: small tables that answer in milliseconds what calls answer in seconds.
Not here: costs by call, and by project, feature and user (costs)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_platform.core.contract.table import Personal, Table, column
from data_platform.domains.metering.contracts.costs import COST, Sums
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS
from data_platform.domains.metering.contracts.usage import OWNER

BUCKETS_PER_DOUBLING = 8
"""Of histograms: a bucket is 2^(1/8) = 9.05 % wide, so its middle is at most 4.5 % off."""
MONTH = "First day of the month, or the first day of the platform in its first month."


class TenantModelDays(Sums):
    """What each tenant's calls of each model cost on a day. Rows are stored by tenant."""

    key = "metering/tenant_model_days"
    partition = "usage_date"
    primary_key = ("usage_date", "tenant_id", "provider", "model", "currency")
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    usage_date: dt.date = column("UTC day.")
    tenant_id: str = column("The tenant.", min_length=1)
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model.", min_length=1)


class TenantDays(Sums):
    """What each tenant's calls cost on each day, filed by month: a year of a tenant's days is in 12 files, not 365."""

    key = "metering/tenant_days"
    partition = "month"
    primary_key = ("month", "usage_date", "tenant_id", "currency")
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    month: dt.date = column(MONTH)
    usage_date: dt.date = column("UTC day.")
    tenant_id: str = column("The tenant.", min_length=1)


class TenantFeatureDays(Sums):
    """What each tenant's calls for each project and feature cost on a day. Rows are stored by tenant."""

    key = "metering/tenant_feature_days"
    partition = "usage_date"
    primary_key = ("usage_date", "tenant_id", "project_id", "feature", "currency")
    owner = OWNER
    tenant = "tenant_id"
    within_tenant = "project_id"
    profiled = False

    usage_date: dt.date = column("UTC day.")
    tenant_id: str = column("The tenant.", min_length=1)
    project_id: str = column("Its project; empty where calls name none.")
    feature: str = column("What of the product called; empty where calls name none.")


class TenantModelMonths(Sums):
    """What each tenant's calls of each model cost in a month, so far. Only first days have rows."""

    key = "metering/tenant_model_months"
    partition = "month"
    primary_key = ("month", "tenant_id", "provider", "model", "currency")
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    month: dt.date = column(MONTH)
    tenant_id: str = column("The tenant.", min_length=1)
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model.", min_length=1)


class TenantUserMonths(Table):
    """Who called in a month, of each tenant: one row per user, so that counting rows counts users exactly."""

    key = "metering/tenant_user_months"
    partition = "month"
    primary_key = ("month", "tenant_id", "user_id", "currency")
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    month: dt.date = column(MONTH)
    tenant_id: str = column("The tenant.", min_length=1)
    user_id: str = column("Whose requests; calls that name no user have none here.", personal=Personal.PSEUDONYM)
    currency: str = column("ISO 4217 code; empty for calls without a price. A user may have more than one.")
    calls: int = column("Billed calls.", unit="calls", ge=0)
    total_tokens: int = column("Tokens that are billed.", unit="tokens", ge=0)
    cost: Decimal = column(COST, decimals=PRICE_DECIMALS)


class TokenHistograms(Table):
    """How many calls had how many tokens, by day, tenant and model, in buckets that grow by 2^(1/8): histograms of any
    days, tenants and models add up, and a percentile read from one is at most 4.5 % off."""

    key = "metering/token_histograms"
    partition = "usage_date"
    primary_key = ("usage_date", "tenant_id", "provider", "model", "bucket")
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    usage_date: dt.date = column("UTC day.")
    tenant_id: str = column("The tenant.", min_length=1)
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model.", min_length=1)
    bucket: int = column(
        "Calls with 2^((bucket-1)/8) up to, and without, 2^(bucket/8) tokens; 0 for calls without tokens.", ge=0
    )
    calls: int = column("Billed calls with so many tokens.", unit="calls", ge=1)
    total_tokens: int = column("Their tokens.", unit="tokens", ge=0)
