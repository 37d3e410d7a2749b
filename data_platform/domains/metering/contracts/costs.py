"""Contracts of what calls cost, call by call, and what of it was corrected later.
Not here: prices, sums for dashboards (rollups), what is shared among tenants (shared_costs)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_platform.core.contract.table import Personal, Table, column
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS
from data_platform.domains.metering.contracts.usage import OWNER, Caller
from data_platform.domains.metering.token_classes import TOKEN_CLASSES

COST = "What it cost, exact."
REASONS = {
    "unknown_model": "no price list names it until that day",
    "unknown_terms": "it has prices, but none for this region, service tier or length of the prompt",
    "unknown_class": "its price says nothing of this class",
    "before_first_price": "its first price begins later that day",
    "price_ended": "its last price has ended",
}
"""Why a call has no price."""
NO_PROJECT = ""
"""Of sums: calls that name no project, feature or user. A key is never null."""


class UsageCosts(Caller):
    """What each billed call cost. Null, never zero, where a class of its tokens has no price: see unpriced usage."""

    key = "metering/usage_costs"
    partition = "usage_date"
    primary_key = ("usage_date", "tenant_id", "started_at", "usage_id")
    owner = OWNER
    tenant = "tenant_id"
    within_tenant = "project_id"

    usage_date: dt.date = column("UTC day of the call.")
    usage_id: str = column("The call.", min_length=1)
    tenant_id: str = column("Whose call it was.", min_length=1)
    started_at: dt.datetime = column("When the call was made (UTC).")
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model, as the provider names it.", min_length=1)
    failed: bool = column("Whether the call failed; it is billed for what it used.")
    input_tokens: int = column("Tokens of the prompt, without those read from caches.", unit="tokens", ge=0)
    cache_read_tokens: int = column("Tokens of the prompt read from caches.", unit="tokens", ge=0)
    output_tokens: int = column("Tokens of the answer, reasoning included.", unit="tokens", ge=0)
    total_tokens: int = column("Tokens that are billed.", unit="tokens", ge=0)
    price_id: str | None = column("The row of `metering/rate_cards` of that day that the call was priced by.")
    currency: str | None = column("ISO 4217 code.")
    input_cost: Decimal | None = column("Cost of the prompt, caches included.", decimals=PRICE_DECIMALS)
    output_cost: Decimal | None = column("Cost of the answer, reasoning included.", decimals=PRICE_DECIMALS)
    cost: Decimal | None = column(COST, decimals=PRICE_DECIMALS)


class UnpricedUsage(Caller):
    """Calls, or classes of their tokens, that no price is known for, each with the reason. They are priced, and leave
    this table, when a price arrives."""

    key = "metering/unpriced_usage"
    partition = "usage_date"
    primary_key = ("usage_date", "tenant_id", "usage_id", "token_class")
    owner = OWNER
    tenant = "tenant_id"
    within_tenant = "project_id"
    profiled = False

    usage_date: dt.date = column("UTC day of the call.")
    usage_id: str = column("The call.", min_length=1)
    tenant_id: str = column("Whose call it was.", min_length=1)
    started_at: dt.datetime = column("When the call was made (UTC).")
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model, as the provider names it.", min_length=1)
    token_class: str = column("The class without a price; `input` of a call without tokens.", isin=tuple(TOKEN_CLASSES))
    tokens: int = column("Tokens of that class.", unit="tokens", ge=0)
    reason: str = column(
        f"Why: {'; '.join(f'`{name}`, {text}' for name, text in REASONS.items())}.", isin=tuple(REASONS)
    )


class Sums(Table):
    """What is summed up of calls."""

    currency: str = column("ISO 4217 code; empty for calls without a price.")
    calls: int = column("Billed calls.", unit="calls", ge=0)
    failed_calls: int = column("Of them those that failed.", unit="calls", ge=0)
    unpriced_calls: int = column("Of them those without a price, whose cost is missing here.", unit="calls", ge=0)
    input_tokens: int = column("Tokens of prompts, without those read from caches.", unit="tokens", ge=0)
    cache_read_tokens: int = column("Tokens of prompts read from caches.", unit="tokens", ge=0)
    output_tokens: int = column("Tokens of answers, reasoning included.", unit="tokens", ge=0)
    total_tokens: int = column("Tokens that are billed.", unit="tokens", ge=0)
    cost: Decimal = column(COST, decimals=PRICE_DECIMALS)


class TenantHourlyCosts(Sums):
    """What each tenant's calls cost by hour and model."""

    key = "metering/tenant_hourly_costs"
    partition = "usage_date"
    primary_key = ("usage_date", "tenant_id", "hour", "provider", "model", "currency")
    owner = OWNER
    tenant = "tenant_id"

    usage_date: dt.date = column("UTC day.")
    hour: dt.datetime = column("Start of the hour (UTC).")
    tenant_id: str = column("The tenant.", min_length=1)
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model.", min_length=1)


class TenantDailyCosts(Sums):
    """What each tenant's calls cost by day, project, feature, model and user. What a day that is over said before it
    was corrected is kept in its history."""

    key = "metering/tenant_daily_costs"
    partition = "usage_date"
    primary_key = (
        "usage_date", "tenant_id", "project_id", "feature", "provider", "model", "user_id", "currency",
    )  # fmt: skip
    owner = OWNER
    tenant = "tenant_id"
    within_tenant = "project_id"
    bitemporal = True

    usage_date: dt.date = column("UTC day.")
    tenant_id: str = column("The tenant.", min_length=1)
    project_id: str = column("Its project; empty where calls name none.")
    feature: str = column("What of the product called; empty where calls name none.")
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model.", min_length=1)
    user_id: str = column("Whose requests; empty where calls name none.", personal=Personal.PSEUDONYM)


class CostAdjustments(Table):
    """What a tenant's day cost more or less than was said before, each time that a day that was over was corrected.
    They sum up to the difference between what was said first and what is said now."""

    key = "metering/cost_adjustments"
    partition = "usage_date"
    primary_key = (
        "usage_date", "tenant_id", "project_id", "feature", "provider", "model", "user_id", "currency", "adjusted_at",
    )  # fmt: skip
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    usage_date: dt.date = column("UTC day of the calls.")
    tenant_id: str = column("The tenant.", min_length=1)
    project_id: str = column("Its project; empty where calls name none.")
    feature: str = column("What of the product called; empty where calls name none.")
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model.", min_length=1)
    user_id: str = column("Whose requests; empty where calls name none.", personal=Personal.PSEUDONYM)
    currency: str = column("ISO 4217 code; empty for calls without a price.")
    adjusted_at: dt.datetime = column("When it was corrected (UTC).")
    cost_before: Decimal = column("What it cost until then.", decimals=PRICE_DECIMALS)
    cost_after: Decimal = column("What it costs since then.", decimals=PRICE_DECIMALS)
    amount: Decimal = column("The difference: after minus before.", decimals=PRICE_DECIMALS)
    calls_before: int = column("Billed calls until then.", unit="calls", ge=0)
    calls_after: int = column("Billed calls since then.", unit="calls", ge=0)
    why: str = column(
        "`usage` where calls or their tokens changed, else `price`: the same usage at another price.",
        isin=("price", "usage"),
    )
