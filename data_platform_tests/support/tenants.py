"""A lake with the costs of several tenants, tokens for them, and the query API asked in this process.
Not here: any assertion. Every row tells whose it is by itself: see `OWN_CALLS` and `MARK`."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from starlette.types import ASGIApp

from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.domains.metering.contracts.billing import RawBilledCharges, TenantSkuCosts
from data_platform.domains.metering.contracts.costs import (
    CostAdjustments,
    TenantDailyCosts,
    TenantHourlyCosts,
    UsageCosts,
)
from data_platform.domains.metering.contracts.rollups import (
    TenantDays,
    TenantFeatureDays,
    TenantModelDays,
    TenantModelMonths,
    TenantUserMonths,
    TokenHistograms,
)  # fmt: skip
from data_platform.domains.metering.contracts.shared_costs import CostAllocation
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.focus.charges import Books, as_lines, charges
from data_platform_tests.support.metering_rows import billed_rows

FIRST = dt.date(2024, 1, 30)
DAYS = [FIRST + dt.timedelta(n) for n in range(4)]
"""Two of January, two of February."""
TENANTS = (
    "acme", "acme2", "ACME", "аcme", "ａｃｍｅ", "acme ", "a%", "*", "_cme", "a'c", 'x" OR "1"="1', "globex/../acme",
    "tenant\u200b", "naïve", "nai\u0308ve",
)  # fmt: skip
"""Names that databases, URLs, shells and eyes take for each other; the fourth begins with a Cyrillic letter."""
OPERATOR = "operator-" + "o" * 40


def token_of(tenant: str) -> str:
    return f"token-{hashlib.sha256(tenant.encode()).hexdigest()}"


def mark_of(tenant: str) -> str:
    """In every text of a tenant's rows."""
    return f"mark{TENANTS.index(tenant):02}x"


def share_of(tenant: str) -> int:
    """Each tenant's calls are a multiple of this power of 10, and no sum with another's rows is."""
    return 10 ** TENANTS.index(tenant)


def daily_rows(day: dt.date) -> list[dict[str, Any]]:
    """Of each tenant three models, two users, one currency that is not known; by hour they are fewer rows."""
    rows = []
    for tenant in TENANTS:
        mark, share = mark_of(tenant), share_of(tenant)
        for number, (model, feature, user, currency) in enumerate(
            [
                ("m1", "chat", "u1", "USD"),
                ("m2", "chat", "u2", "USD"),
                ("m1", "", "u1", "EUR"),
                ("m3", "npc", "", ""),
                ("m1", "npc", "u2", "USD"),
            ]
        ):
            rows.append(
                {
                    "usage_date": day, "tenant_id": tenant, "project_id": f"{mark}p", "feature": feature,
                    "provider": "openai", "model": f"{mark}{model}", "user_id": f"{mark}{user}" if user else "",
                    "currency": currency, "calls": (number + 1) * share, "failed_calls": 0,
                    "unpriced_calls": 0 if currency else share, "input_tokens": share, "cache_read_tokens": 0,
                    "output_tokens": 2 * share, "total_tokens": 3 * share,
                    "cost": Decimal(number + day.day) * share / Decimal(10**18) if currency else Decimal(0),
                }
            )  # fmt: skip
    return rows


def rows_of(table: type[Table], rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of a contract; columns that are not given are null, or empty where that may not be."""
    filled = [{name: row.get(name, _blank(table, name)) for name in table.columns} for row in rows]
    return pl.DataFrame(filled, schema=table.schema(), orient="row")


def _blank(table: type[Table], name: str) -> Any:
    column = table.columns[name]
    if column.nullable:
        return None
    if column.dtype.is_temporal():
        return dt.datetime(2024, 1, 31, tzinfo=dt.UTC)
    return "x" if column.dtype == pl.String() else False if column.dtype == pl.Boolean() else 0


def fill(lake: Lake, days: Sequence[dt.date] = DAYS) -> None:
    """Daily and hourly sums, and calls."""
    for day in days:
        daily, noon = daily_rows(day), dt.datetime.combine(day, dt.time(12), dt.UTC)
        lake.replace(TenantDailyCosts, rows_of(TenantDailyCosts, daily), [day])
        keys = ["usage_date", "tenant_id", "provider", "model", "currency"]
        hourly = rows_of(TenantDailyCosts, daily).group_by(keys).agg(pl.col(pl.Int64, pl.Decimal).sum())
        lake.replace(
            TenantHourlyCosts, hourly.with_columns(hour=pl.lit(noon)).select(list(TenantHourlyCosts.columns)), [day]
        )
        calls = [
            {**row, "usage_id": f"{mark_of(row['tenant_id'])}-{n}", "started_at": noon, "status": "ok"}
            for n, row in enumerate(daily)
        ]
        lake.replace(UsageCosts, rows_of(UsageCosts, calls), [day])
        lake.replace(LlmUsage, rows_of(LlmUsage, calls), [day])
        skus = [
            {**row, "price_id": f"p{n}", "token_class": "input", "sku_id": f"{row['model']}/input", "tokens": 1,
             "unit_price": row["cost"]}
            for n, row in enumerate(daily) if row["currency"]
        ]  # fmt: skip
        lake.replace(TenantSkuCosts, rows_of(TenantSkuCosts, skus), [day])
    _close(lake, days[0].replace(day=1))
    _roll_up(lake, pl.concat(rows_of(TenantDailyCosts, daily_rows(day)) for day in days))


def _close(lake: Lake, month: dt.date) -> None:
    """The month is billed as it stands: what is stated of it is its bill."""
    nothing = [table.empty().lazy() for table in (CostAllocation, CostAdjustments, RawBilledCharges)]
    closed_at = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    lines = as_lines(charges(Books(lake.scan(TenantSkuCosts), *nothing), month).collect(), month, closed_at)
    lake.replace(RawBilledCharges, rows_of(RawBilledCharges, billed_rows(lines)), [closed_at.date()])


def _roll_up(lake: Lake, daily: pl.DataFrame) -> None:
    """The sums of sums; calls of a model have 2^10 or (m3) 2^12 tokens each in histograms."""
    months = daily.with_columns(month=pl.col("usage_date").dt.truncate("1mo"))
    bucket = pl.when(pl.col("model").str.ends_with("m3")).then(96).otherwise(80).cast(pl.Int64).alias("bucket")
    for table, rows in [
        (TenantModelDays, daily),
        (TenantDays, months),
        (TenantFeatureDays, daily),
        (TenantModelMonths, months),
        (TenantUserMonths, months.filter(pl.col("user_id") != "")),
        (TokenHistograms, daily.with_columns(bucket)),
    ]:
        keys = list(table.primary_key)
        made = rows.group_by(keys).agg(pl.col(pl.Int64, pl.Decimal).exclude(keys).sum()).select(list(table.columns))
        assert table.partition is not None
        lake.replace(table, made, made[table.partition].unique().to_list())


def tokens_file(folder: Path) -> Path:
    """A token for each tenant, and one for operators."""
    path = folder / "query_tokens.toml"
    entries = [(tenant, token_of(tenant), f"tenant = {_toml(tenant)}") for tenant in TENANTS]
    entries.append(("operator", OPERATOR, 'tenants = "*"'))
    path.write_text(
        "\n".join(
            f'[[tokens]]\nname = {_toml(name)}\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
            f"{right}\nrequests_per_second = 100000\nburst = 100000\n"
            for name, token, right in entries
        )
    )
    path.chmod(0o600)
    return path


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Asking:
    """An ASGI application in this process: one event loop, no sockets, so that 10,000 requests take seconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._runner = app, asyncio.Runner()

    def get(
        self,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes = b"",
    ) -> Response:
        """`path` and `query` as they stand in a request line, encoded or not."""
        return self._runner.run(self._ask(path, query, headers or {}, method, body))

    def post(self, path: str, document: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
        sent = {"content-type": "application/json", **headers}
        return self._runner.run(self._ask(path, "", sent, "POST", json.dumps(document).encode()))

    async def _ask(self, path: str, query: str, headers: Mapping[str, str], method: str, body: bytes) -> Response:
        from urllib.parse import unquote

        sent: list[Any] = []
        given = {"host": "127.0.0.1", **headers}
        scope = {
            "type": "http", "method": method, "path": unquote(path), "raw_path": path.encode(),
            "query_string": query.encode("utf-8", "surrogatepass"), "root_path": "", "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "http_version": "1.1",
        }  # fmt: skip
        asked = asyncio.Event()

        async def receive() -> Any:
            if asked.is_set():
                await asyncio.sleep(3600)
            asked.set()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Response(sent[0]["status"], found, b"".join(part.get("body", b"") for part in sent[1:]))

    def close(self) -> None:
        self._runner.close()


@contextmanager
def asking(app: ASGIApp) -> Iterator[Asking]:
    one = Asking(app)
    try:
        yield one
    finally:
        one.close()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
