"""Contracts of what providers bill, as received and held against usage day by day and model by model.
Not here: reading bills of other shapes (focus), the comparison itself (transforms/invoices)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl

from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.core.contract.table import Table, TableRule, column
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS
from data_platform.domains.metering.contracts.usage import OWNER

STATUSES = {
    "equal": "amount and tokens are those of usage, to the last digit",
    "rounded": "the amount is that of usage rounded to the decimals that the invoice is written in",
    "amount_differs": "tokens are equal, or the invoice names none; amounts are not",
    "tokens_differ": "amounts are equal, tokens are not",
    "amount_and_tokens_differ": "neither is equal",
    "only_invoiced": "no call of this model is known on this day",
    "only_used": "the provider's invoice has this day, without this model",
    "unpriced": "calls of this model have no price",
    "unreadable": "a line has an amount that is no decimal, or is of more than a day",
    "not_invoiced": "nothing of this provider has been invoiced for this day",
}
AGREES = ("equal", "rounded", "not_invoiced")
"""Statuses that are no difference."""


class RawProviderInvoices(ReceivedLines):
    """Lines of providers' invoices as received, by day and model; of lines of one id the newest counts. Taxes, credits
    and purchases are kept here and compared with nothing: what is shared of them is sent as shared costs."""

    key = "raw/provider_invoices"
    partition = "usage_date"
    primary_key = ("usage_date", "source_file", "source_line", "received_at")
    owner = OWNER

    usage_date: dt.date = column("UTC day of `period_start`.")
    period_start: dt.datetime = column("When what is billed began (UTC).")
    period_end: dt.datetime | None = column("When it ended, exclusive, at most a day later; null: with the day.")
    invoice_id: str = column("The invoice, or its billing period.", min_length=1)
    line_id: str = column("The line in it.", min_length=1)
    line_kind: str | None = column(
        "null or `usage`, else for example `tax`, `credit`, `purchase`, `adjustment`; `replaced` once a newer issue of "
        "the invoice is without it."
    )
    provider: str = column("Who bills.", min_length=1)
    service_category: str | None = column("Of FOCUS; lines of other services than models are not compared.")
    model: str | None = column(
        "The model, by any name that the price list or `raw/model_names` knows; null for what is of no model."
    )
    tokens: int | None = column("Tokens that are billed, if the line says so.", unit="tokens")
    amount: str = column("A decimal as text, written with the decimals it was rounded to.", min_length=1)
    currency: str = column("ISO 4217 code.", min_length=1)


class RawProviderInvoicesRejected(RejectedLines):
    """Lines of invoice files that cannot be lines of an invoice."""

    key = "raw/provider_invoices_rejected"
    owner = OWNER


def _differences(rows: pl.LazyFrame) -> pl.LazyFrame:
    found = rows.filter(~pl.col("status").is_in(AGREES))
    return found.select("usage_date", "provider", "model", "currency", "status")


class InvoiceReconciliation(Table):
    """Usage against invoices by day and model, with tolerance zero: what agrees, and what differs how. Names meet that
    mean one model by the day's rate cards; where they agree name by name, each has its row."""

    key = "metering/invoice_reconciliation"
    partition = "usage_date"
    primary_key = ("usage_date", "provider", "model", "currency")
    owner = OWNER
    profiled = False
    table_rules = (
        TableRule(
            "usage_equals_invoice", "each day and model costs what its provider's invoice says of it", _differences
        ),
    )

    usage_date: dt.date = column("UTC day.")
    provider: str = column("Who ran the model, and bills.", min_length=1)
    model: str = column("The model; empty for lines without one.")
    used_as: str | None = column("Names that calls give it, where these are not its own, separated by `, `.")
    invoiced_as: str | None = column("Names that invoices give it, where these are not its own, separated by `, `.")
    currency: str = column("ISO 4217 code; empty for calls without a price.")
    status: str = column("; ".join(f"`{name}`: {text}" for name, text in STATUSES.items()) + ".", isin=tuple(STATUSES))
    calls: int = column("Billed calls.", unit="calls", ge=0)
    used_tokens: int = column("Tokens of usage.", unit="tokens", ge=0)
    used_cost: Decimal = column("Cost of usage, exact.", decimals=PRICE_DECIMALS)
    lines: int = column("Lines of invoices.", unit="lines", ge=0)
    invoiced_tokens: int | None = column("Tokens of the lines, where each names them.", unit="tokens")
    invoiced_amount: Decimal | None = column(
        "Sum of the lines; null where there is none, or one that is no decimal.", decimals=PRICE_DECIMALS
    )
    difference: Decimal | None = column("Invoiced minus used.", decimals=PRICE_DECIMALS)
