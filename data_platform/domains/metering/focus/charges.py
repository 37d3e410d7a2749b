"""What is on a month's bill: charges of calls by SKU and parts of shared costs; of a closed month what was issued; on
the first open month's also what was corrected of closed ones. Belongs here: tables → charges, in the columns of
RawBilledCharges. Not here: columns of FOCUS (rows), whether a month may be closed (closing)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.calendar import midnight, next_month
from data_platform.core.contract.received import ReceivedLines
from data_platform.domains.metering.closing import first_open_month
from data_platform.domains.metering.contracts.billing import RawBilledCharges
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS

MONEY = pl.Decimal(38, PRICE_DECIMALS)
CATEGORIES: Mapping[str, str] = {
    "subscription": "Purchase",
    "provisioned_throughput": "Purchase",
    "tax": "Tax",
    "credit": "Credit",
    "idle": "Usage",
}
"""Kind of a shared cost → ChargeCategory; every other is an Adjustment."""
SOLD = ("Purchase", "Usage")
"""Categories of what has a price; the others are amounts."""
CORRECTION = "correction"
CLOSING = "Closing"
"""Category of the line that charges nothing and says that the month is closed."""
BILL = ("closed_at", "closed_date", "billing_start")
COLUMNS = [name for name in RawBilledCharges.columns if name not in {*ReceivedLines.columns, *BILL}]
MEASURES = ("quantity", "calls", "amount")
KEY = [name for name in COLUMNS if name not in {*MEASURES, "description", "charge_class"}]
SCHEMA = {name: RawBilledCharges.schema()[name] for name in COLUMNS} | {"unit_price": MONEY, "amount": MONEY}


@dataclass(frozen=True)
class Books:
    """What bills are made of: of a tenant, where they are for one. Rows of the month alone will do but for what was
    closed before it."""

    sku_costs: pl.LazyFrame
    """TenantSkuCosts."""
    allocation: pl.LazyFrame
    """CostAllocation."""
    adjustments: pl.LazyFrame
    """CostAdjustments."""
    billed: pl.LazyFrame
    """RawBilledCharges."""


def charges(books: Books, month: dt.date) -> pl.LazyFrame:
    """The charges on the bill of a month, by its first day: COLUMNS, amounts as decimals.

    Of a closed month what was issued. Else what the tables say of it now; and, on the first open month's, what they
    say of closed months beyond what was billed. So all bills sum to the tables, to the last digit.
    """
    closed = closed_months(books.billed)
    if month in closed:
        return _billed(books.billed.filter(pl.col("billing_start").dt.date() == month))
    of_month = pl.col("usage_date").is_between(month, next_month(month), closed="left")
    parts = books.allocation.filter(pl.col("cost_month").dt.month_start() == month)
    own = pl.concat([_of_calls(books.sku_costs.filter(of_month)), _of_shared_costs(parts)])
    if not closed or month != first_open_month(closed):
        return own
    return pl.concat([own, _corrections(books, closed)])


def closed_months(billed: pl.LazyFrame) -> set[dt.date]:
    """First days of the months that were closed. In: RawBilledCharges."""
    return set(billed.select(pl.col("billing_start").dt.date().unique()).collect().to_series())


def as_lines(bill: pl.DataFrame, month: dt.date, closed_at: dt.datetime) -> Iterator[str]:
    """The bill as lines of landing/billed_charges; the first says that the month is closed, if nothing was charged."""
    issued = {"closed_at": closed_at.isoformat(), "billing_start": midnight(month).isoformat()}
    period = {"charge_start": midnight(month).isoformat(), "charge_end": midnight(next_month(month)).isoformat()}
    yield json.dumps(issued | period | {"category": CLOSING, "currency": "XXX", "amount": "0"}) + "\n"
    for row in bill.iter_rows(named=True):
        said = {name: _said(value) for name, value in row.items() if value is not None}
        yield json.dumps(issued | said, ensure_ascii=False) + "\n"


def _said(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return value if isinstance(value, str | int) else f"{value:f}"


def _billed(lines: pl.LazyFrame) -> pl.LazyFrame:
    charged = lines.filter(pl.col("category") != CLOSING)
    return charged.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())


def _corrections(books: Books, closed: Collection[dt.date]) -> pl.LazyFrame:
    """What the tables say of closed months now, less what was billed of them. Of calls only on days whose costs were
    adjusted: a year need not be read for one of them."""
    of_closed = pl.col("usage_date").dt.month_start().is_in(closed)
    adjusted = books.adjustments.filter(of_closed).select(pl.col("usage_date").unique()).collect().to_series()
    days = adjusted.implode()
    parts = books.allocation.filter(pl.col("cost_month").dt.month_start().is_in(closed))
    now = pl.concat([_of_calls(books.sku_costs.filter(pl.col("usage_date").is_in(days))), _of_shared_costs(parts)])
    looked_at = pl.col("shared_cost_id").is_not_null() | pl.col("charge_start").dt.date().is_in(days)
    before = _billed(books.billed.filter(looked_at)).with_columns(-pl.col(list(MEASURES)))
    differences = (
        pl.concat([now, before]).group_by(KEY).agg(pl.col("description").first(), pl.col(list(MEASURES)).sum())
    )
    found = differences.filter(pl.col("amount") != 0).with_columns(charge_class=pl.lit(CORRECTION))
    amounts = pl.col("category").is_in(SOLD)
    numbers = [pl.when(amounts).then(pl.col(name)).alias(name) for name in ("quantity", "calls")]
    return _charges(found.with_columns(numbers))


def _charges(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with all COLUMNS; those that they do not have are null."""
    names = rows.collect_schema().names()
    return rows.select(
        (pl.col(name) if name in names else pl.lit(None)).cast(dtype).alias(name) for name, dtype in SCHEMA.items()
    )


def _of_calls(sku_costs: pl.LazyFrame) -> pl.LazyFrame:
    """A row per day, tenant, project, feature, model and SKU price: users are not told."""
    named = sku_costs.select(
        charge_start=_begin(pl.col("usage_date")),
        charge_end=_begin(pl.col("usage_date").dt.offset_by("1d")),
        category=pl.lit("Usage"),
        description=pl.format("{} tokens of {} at {}", "token_class", "model", "provider"),
        tenant_id="tenant_id",
        project_id=_named("project_id"),
        feature=_named("feature"),
        provider="provider",
        model="model",
        sku_id="sku_id",
        sku_price_id=pl.format("{}/{}", "price_id", "token_class"),
        sku_meter="token_class",
        unit_price="unit_price",
        currency="currency",
        quantity="tokens",
        calls="calls",
        amount="cost",
    )
    return _charges(named)


def _of_shared_costs(allocation: pl.LazyFrame) -> pl.LazyFrame:
    """A row per part of a shared cost. A part is one piece at its own price; a negative one is one piece taken back."""
    month = pl.col("cost_month").dt.month_start()
    category = pl.col("cost_kind").replace_strict(CATEGORIES, default="Adjustment")
    sold = category.is_in(SOLD)
    part = pl.concat_str("cost_id", month.cast(pl.String), "tenant_id", "project_id", separator="/")
    named = allocation.drop_nulls("amount").select(
        charge_start=_begin(month),
        charge_end=_begin(month.dt.offset_by("1mo")),
        category=category,
        description=pl.coalesce("description", "cost_id"),
        tenant_id=_named("tenant_id"),
        project_id=_named("project_id"),
        sku_id=pl.when(sold).then("cost_id"),
        sku_price_id=pl.when(sold).then(part),
        unit_price=pl.when(sold).then(pl.col("amount").abs()),
        currency="currency",
        method=pl.format("{} version {}", "rule_id", "rule_version"),
        shared_cost_id="cost_id",
        not_allocated_reason="reason",
        quantity=pl.when(sold).then(pl.when(pl.col("amount") < 0).then(-1).otherwise(1)),
        amount="amount",
    )
    return _charges(named)


def _begin(day: pl.Expr) -> pl.Expr:
    return day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _named(column: str) -> pl.Expr:
    """Empty text as null: FOCUS has no empty ids."""
    return pl.col(column).replace("", None)
