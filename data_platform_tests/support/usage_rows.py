"""Lines and rows of LLM usage for tests. Not here: any assertion, what becomes of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from data_platform.domains.metering.contracts.usage import RawLlmUsage

Row = dict[str, Any]


def usage(**changes: Any) -> Row:
    """A good line of the platform's own shape; `name=...` leaves the field out."""
    made: Row = {
        "usage_id": "u-1",
        "tenant_id": "acme",
        "project_id": "support",
        "user_id": "user-1",
        "feature": "chat",
        "provider": "openai",
        "model": "gpt-5-mini",
        "started_at": "2024-01-03T10:00:00Z",
        "duration_ms": 800,
        "status": "ok",
        "request_id": "req-1",
        "input_tokens": 100,
        "output_tokens": 20,
    }
    made |= changes
    return {name: value for name, value in made.items() if value is not ...}


def raw_row(**changes: Any) -> Row:
    """The same as a row of the raw table: every column, moments as moments, `usage_date` from `started_at`."""
    line = usage(**{"started_at": dt.datetime(2024, 1, 3, 10, tzinfo=dt.UTC)} | changes)
    where = {"source_file": "f.ndjson", "source_line": 1, "received_at": dt.datetime(2024, 1, 4, tzinfo=dt.UTC)}
    row = dict.fromkeys(RawLlmUsage.columns) | where | line
    return row | {"usage_date": row["started_at"].date()}


def raw_frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RawLlmUsage.schema())
