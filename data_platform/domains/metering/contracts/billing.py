"""Contracts of what tenants are billed: what their calls cost by SKU, and the bills of closed months as issued.
Not here: how rows of FOCUS are made of them (focus), shared costs."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.core.contract.table import Table, column
from data_platform.domains.metering.contracts.costs import COST
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS
from data_platform.domains.metering.contracts.usage import OWNER
from data_platform.domains.metering.token_classes import TOKEN_CLASSES


class TenantSkuCosts(Table):
    """What each tenant's calls cost by day, project, feature, model, price and class of tokens: tokens times the unit
    price are the cost. Sums to the daily costs; calls without a price are not here."""

    key = "metering/tenant_sku_costs"
    partition = "usage_date"
    primary_key = (
        "usage_date", "tenant_id", "project_id", "feature", "provider", "model", "price_id", "token_class",
    )  # fmt: skip
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    usage_date: dt.date = column("UTC day.")
    tenant_id: str = column("The tenant.", min_length=1)
    project_id: str = column("Its project; empty where calls name none.")
    feature: str = column("What of the product called; empty where calls name none.")
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model, as the provider names it.", min_length=1)
    price_id: str = column("The row of `metering/rate_cards` of that day that the calls were priced by.", min_length=1)
    token_class: str = column("Class of tokens.", isin=tuple(TOKEN_CLASSES))
    sku_id: str = column("Provider and model as the price list names them, and the class of tokens.", min_length=1)
    currency: str = column("ISO 4217 code.", min_length=1)
    calls: int = column("Billed calls with tokens of this class.", unit="calls", ge=1)
    tokens: int = column("Tokens of the class.", unit="tokens", ge=1)
    unit_price: Decimal = column("Price of one token.", decimals=PRICE_DECIMALS, ge=0)
    cost: Decimal = column(COST, decimals=PRICE_DECIMALS)


class RawBilledCharges(ReceivedLines):
    """The bills of closed months, row by row, as `data-platform metering close` issued them: what was billed stays, and
    what is corrected later is on the bill of the first month that is open."""

    key = "raw/billed_charges"
    partition = "closed_date"
    primary_key = ("closed_date", "source_file", "source_line", "received_at")
    owner = OWNER
    tenant = "tenant_id"

    closed_date: dt.date = column("UTC day of `closed_at`.")
    closed_at: dt.datetime = column("When the month was closed (UTC).")
    billing_start: dt.datetime = column("First moment of the month that was closed (UTC).")
    charge_class: str | None = column(
        "`correction` of a month that was closed before; null for the month's own charges."
    )
    charge_start: dt.datetime = column("Begin of the day or month that is charged (UTC).")
    charge_end: dt.datetime = column("Its end, exclusive (UTC).")
    category: str = column(
        "ChargeCategory of FOCUS; `Closing` of the line that charges nothing and says that the month is closed.",
        min_length=1,
    )
    description: str | None = column("What it is, for people.")
    tenant_id: str | None = column("Who is billed; null for what nobody bears.")
    project_id: str | None = column("The tenant's project.")
    feature: str | None = column("What of the product called.")
    provider: str | None = column("Who ran the model; null for shared costs.")
    model: str | None = column("The model, as the provider names it; null for shared costs.")
    sku_id: str | None = column("What was sold.")
    sku_price_id: str | None = column("The price it was sold at.")
    sku_meter: str | None = column("Class of tokens; null for shared costs.")
    unit_price: str | None = column("Price of one, a decimal as text.")
    currency: str = column("ISO 4217 code.", min_length=1)
    method: str | None = column("Rule and version that a shared cost was spread by.")
    shared_cost_id: str | None = column("The shared cost.")
    not_allocated_reason: str | None = column("Why nobody bears it.")
    quantity: int | None = column("How many: tokens, or one part of a shared cost.")
    calls: int | None = column("Billed calls with tokens of this class.", unit="calls")
    amount: str = column("What is billed: a decimal as text.", min_length=1)


class RawBilledChargesRejected(RejectedLines):
    """Lines of bills that cannot be read."""

    key = "raw/billed_charges_rejected"
    owner = OWNER
