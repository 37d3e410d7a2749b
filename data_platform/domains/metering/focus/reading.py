"""Rows of a FOCUS file (1.0, 1.2 or 1.4) as lines of landing/provider_invoices, each read or refused with a reason.
Not here: holding them against usage (transforms/invoices), writing FOCUS (rows)."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import polars as pl

from data_platform.core.contract.received import ReceivedLines
from data_platform.core.errors import PlatformError
from data_platform.domains.metering.contracts.invoices import RawProviderInvoices
from data_platform.domains.metering.money import amount_of
from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.transforms.invoices import newest_lines

NEEDED = ("BilledCost", "BillingCurrency", "BillingPeriodStart", "ChargeCategory", "ChargePeriodStart")
PROVIDER = ("ServiceProviderName", "ProviderName")
"""1.4 renamed the column of 1.0 to 1.2."""
UNIT = re.compile(r"(\d{1,9})?\s*(k|thousand|m|million)?\s*tokens?", re.IGNORECASE)
MULTIPLES = {"": 1, "k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000}
REPLACED = "replaced"
STATED = [name for name in RawProviderInvoices.columns if name not in {*ReceivedLines.columns, "usage_date"}]
"""Columns of RawProviderInvoices that a line says."""
Row = Mapping[str, str | None]


class Refused(Exception):
    """A row that is no line of an invoice; the reason is the message."""


@dataclass(frozen=True)
class FocusFile:
    """What a file says: lines of an invoice, and the rows that are none, as (row number from 1, reason)."""

    lines: tuple[dict[str, object], ...]
    refused: tuple[tuple[int, str], ...]

    @property
    def rows(self) -> int:
        return len(self.lines) + len(self.refused)

    @property
    def kinds(self) -> Counter[str]:
        """Lines by charge category, small letters."""
        return Counter(str(line["line_kind"]) for line in self.lines)


def read_focus(file: Path) -> FocusFile:
    """A CSV or Parquet file. Raises PlatformError for one that is not there, or lacks a column."""
    if not file.is_file():
        raise PlatformError(f"There is no file {file}.", "Give the path of a FOCUS export, CSV or Parquet.")
    try:
        frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise PlatformError(f"{file} cannot be read: {str(error).splitlines()[0]}.", "Export it again.") from None
    missing = [name for name in NEEDED if name not in frame.columns]
    if not any(name in frame.columns for name in PROVIDER):
        missing.append(" or ".join(PROVIDER))
    if missing:
        raise PlatformError(
            f"{file} has no column {', '.join(missing)}: it is no FOCUS cost and usage data.",
            "Export the Cost and Usage dataset, with its mandatory columns.",
        )
    texts = frame.cast({pl.Datetime: pl.String, pl.Decimal: pl.String}) if file.suffix == ".parquet" else frame
    return lines_of(texts.cast(pl.String).iter_rows(named=True))


def lines_of(rows: Iterable[Row]) -> FocusFile:
    """The same of rows whose values are text, `NULL` and empty being none."""
    lines: list[dict[str, object]] = []
    refused: list[tuple[int, str]] = []
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        known = {name: value for name, value in row.items() if value not in (None, "", "NULL")}
        digest = hashlib.blake2b(json.dumps(known, sort_keys=True).encode(), digest_size=8).hexdigest()
        seen[digest] += 1
        try:
            lines.append({"line_id": f"{digest}-{seen[digest]}", **_line(known)})
        except Refused as reason:
            refused.append((number, str(reason)))
    return FocusFile(tuple(lines), tuple(refused))


def _line(row: Row) -> dict[str, object]:
    start = _moment(row, "ChargePeriodStart")
    provider = next((name for column in PROVIDER if (name := row.get(column))), None)
    if provider is None:
        raise Refused("no provider")
    currency, category = row.get("BillingCurrency"), row.get("ChargeCategory")
    if currency is None or category is None:
        raise Refused("no currency" if currency is None else "no charge category")
    end = row.get("ChargePeriodEnd")
    line: dict[str, object | None] = {
        "invoice_id": row.get("InvoiceId") or f"{provider} {_moment(row, 'BillingPeriodStart'):%Y-%m}",
        "period_start": start.isoformat(),
        "period_end": _moment(row, "ChargePeriodEnd").isoformat() if end else None,
        "line_kind": category.lower(),
        "provider": provider_called(provider),
        "service_category": row.get("ServiceCategory"),
        "model": row.get("x_Model") or row.get("SkuId"),
        "tokens": _tokens(row),
        "amount": _amount(row),
        "currency": currency,
    }
    return {name: value for name, value in line.items() if value is not None}


def _amount(row: Row) -> str:
    """The billed cost as plain digits: files may write 4E-7."""
    text = row.get("BilledCost")
    try:
        plain = f"{Decimal(text or 'none'):f}"
    except InvalidOperation:
        plain = ""
    if amount_of(plain) is None:
        raise Refused(f"BilledCost {text} is no amount of at most 15 digits before the point and 18 behind it")
    return plain


def _moment(row: Row, column: str) -> dt.datetime:
    text = row.get(column)
    try:
        moment = dt.datetime.fromisoformat(text or "")
    except ValueError:
        raise Refused(f"{column} {text} is no date and time") from None
    return moment.replace(tzinfo=moment.tzinfo or dt.UTC)


def _tokens(row: Row) -> int | None:
    """Tokens consumed, where that is what the row counts."""
    unit = UNIT.fullmatch((row.get("ConsumedUnit") or "").strip())
    quantity = row.get("ConsumedQuantity")
    if unit is None or quantity is None:
        return None
    try:
        tokens = Decimal(quantity) * int(unit[1] or 1) * MULTIPLES[(unit[2] or "").lower()]
        return int(tokens) if tokens == int(tokens) and 0 <= tokens < 2**63 else None
    except (InvalidOperation, ValueError, OverflowError):
        return None


def replaced(found: FocusFile, earlier: pl.LazyFrame) -> Iterator[dict[str, object]]:
    """Lines that say of those of the file's invoices which it is without that they are replaced.

    In: RawProviderInvoices. Providers issue a bill again each day with all of the month: a row that changed has another
    id, and would else count beside what it was.
    """
    kept = {(line["provider"], line["invoice_id"], line["line_id"]) for line in found.lines}
    invoices = {key[:2] for key in kept}
    standing = newest_lines(earlier).filter(pl.col("line_kind").ne_missing(REPLACED)).select(STATED).collect()
    for line in standing.iter_rows(named=True):
        provider, invoice = provider_called(line["provider"]), line["invoice_id"]
        if (provider, invoice) in invoices and (provider, invoice, line["line_id"]) not in kept:
            yield {name: _said(value) for name, value in line.items() if value is not None} | {"line_kind": REPLACED}


def _said(value: object) -> object:
    return value.isoformat() if isinstance(value, dt.datetime) else value


def as_ndjson(lines: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Lines as they are dropped into landing/provider_invoices."""
    return (json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
