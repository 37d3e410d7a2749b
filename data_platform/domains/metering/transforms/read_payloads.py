"""Reports in other shapes than ours → rows with tokens by class, or with the reason why they are none.
Belongs here: which of line and payload says what. Not here: shapes (adapters), which reports count (clean_usage)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from data_platform.domains.metering.adapters import adapter_of
from data_platform.domains.metering.contracts.usage import Call, Caller
from data_platform.domains.metering.token_classes import TOKEN_CLASSES, tokens_of
from data_platform.domains.metering.usage_report import (
    MISSING_FORMAT,
    MISSING_PAYLOAD,
    UNKNOWN_FORMAT,
    UNREADABLE,
    Refused,
    UsageReport,
)

REASON = "reason"
SAID_BY_EITHER = [name for name in ("tenant_id", *Caller.columns, *Call.columns) if name in UsageReport.__annotations__]
"""What a line may say of a call, and its payload too: the line wins: who sent it knows whose call it was."""
_ODD_SHAPES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a payload of another shape than its format's may run into: it is then unreadable, and holds back no other."""


def is_foreign() -> pl.Expr:
    """Whether a line reports in another shape than ours."""
    return pl.col("format").is_not_null() | pl.col("payload").is_not_null()


def report_in(form: str | None, payload: str | None) -> UsageReport:
    """What a payload (JSON object as text) of a format says. Raises Refused with the reason when that is no call."""
    if form is None:
        raise Refused(MISSING_FORMAT)
    if payload is None:
        raise Refused(MISSING_PAYLOAD)
    read = adapter_of(form)
    if read is None:
        raise Refused(UNKNOWN_FORMAT)
    try:
        return read(json.loads(payload))
    except _ODD_SHAPES:
        raise Refused(UNREADABLE) from None


def with_payloads_read(raw: pl.DataFrame) -> pl.DataFrame:
    """In: RawLlmUsage, with any further columns. Out: the same rows and columns in any order, and `reason`: null where
    the line has its tokens itself, or where they were read from its payload. About 20 µs a payload."""
    own = raw.filter(~is_foreign()).with_columns(pl.lit(None, pl.String).alias(REASON))
    foreign = raw.filter(is_foreign())
    if foreign.is_empty():
        return own
    rows = [_read(row) for row in foreign.iter_rows(named=True)]
    return pl.concat([own, pl.DataFrame(rows, schema=own.schema)])


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        report = report_in(row["format"], row["payload"])
    except Refused as refusal:
        return {**row, REASON: refusal.reason}
    said = {name: getattr(report, name) for name in SAID_BY_EITHER if row[name] is None}
    tokens = {tokens_of(name): report.tokens.get(name, 0) for name in TOKEN_CLASSES}
    total = row["total_tokens"] if report.total is None else report.total
    return {**row, **said, **tokens, "total_tokens": total, REASON: None}
