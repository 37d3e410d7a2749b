"""Exports of any size: flat memory, no faster than the client, no further than it wants.
Not here: what is in them (test_query_api), whose rows (test_tenancy)."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from data_platform.core.lake.store import Lake
from data_platform.domains.metering.contracts.costs import UsageCosts
from data_platform.domains.metering.queries import QUERIES
from data_platform.web.query.access import Access
from data_platform.web.query.application import EXPORTS_AT_ONCE, BrokenOff, QueryApi, stream
from data_platform.web.query.export import BATCH_ROWS
from data_platform_tests.support.tenants import rows_of

ROWS, DAYS = 40_000, 24
FIRST = dt.date(2024, 1, 1)
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> QueryApi:
    """Nearly a million calls."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    row = {"usage_date": FIRST, "tenant_id": "acme", "cost": Decimal("0.000001"), "currency": "USD"}
    many = pl.concat([rows_of(UsageCosts, [row])] * ROWS).with_columns(
        usage_id="call-" + pl.int_range(ROWS).cast(pl.String)
    )
    for number in range(DAYS):
        day = FIRST + dt.timedelta(number)
        lake.replace(UsageCosts, many.with_columns(usage_date=pl.lit(day)), [day])
    return QueryApi(QUERIES, lake, Access(None, open_here=True))


class Client:
    """Takes an export; goes away after so many parts."""

    def __init__(self, leaves_after: int | None = None) -> None:
        self.parts, self.bytes, self.peak = 0, 0, 0
        self.status = 0
        self._leaves_after = leaves_after
        self._left = asyncio.Event()

    async def ask(self, api: QueryApi, query: str) -> None:
        scope = {"type": "http", "method": "GET", "path": "/v1/costs/export", "query_string": query.encode(),
                 "headers": [(b"host", b"127.0.0.1")]}  # fmt: skip
        await api(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.parts += 1
        self.bytes += len(message.get("body", b""))
        self.peak = max(self.peak, psutil.Process().memory_info().rss)
        if self.parts == self._leaves_after:
            self._left.set()
        await asyncio.sleep(0)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_eight_times_the_rows_take_no_more_memory(api: QueryApi, form: str) -> None:
    few, many = Client(), Client()
    until = FIRST + dt.timedelta(DAYS // 8 - 1)
    asyncio.run(few.ask(api, f"from={FIRST}&to={until}&format={form}"))
    asyncio.run(many.ask(api, f"from={FIRST}&to={FIRST + dt.timedelta(DAYS - 1)}&format={form}"))
    assert many.bytes > 6 * few.bytes
    assert many.peak - few.peak < 120 * MEGABYTE, "a million rows are 300 MB in memory and as CSV"


def test_who_goes_away_is_sent_no_more(api: QueryApi) -> None:
    client = Client(leaves_after=3)
    asyncio.run(client.ask(api, f"from={FIRST}&to={FIRST + dt.timedelta(DAYS - 1)}&format=csv"))
    assert client.parts < 3 + 5, f"of {ROWS * DAYS // BATCH_ROWS} parts"


def test_so_many_at_once_and_then_come_again(api: QueryApi) -> None:
    async def all_at_once() -> list[int]:
        clients = [Client() for _ in range(EXPORTS_AT_ONCE + 2)]
        await asyncio.gather(*(one.ask(api, "month=2024-01&format=csv") for one in clients))
        again = Client()
        await again.ask(api, "from=2024-01-01&to=2024-01-01&format=csv")
        return [*sorted(one.status for one in clients), again.status]

    assert asyncio.run(all_at_once()) == [*[200] * EXPORTS_AT_ONCE, 503, 503, 200]


def test_an_export_that_breaks_off_is_not_taken_for_whole(api: QueryApi) -> None:
    """Its last part, which would say that it is complete, is never sent: the server cuts the connection."""

    def parts() -> Iterator[bytes]:
        yield b"some"
        raise OSError("the disk is gone")

    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(BrokenOff):
        asyncio.run(stream(parts(), "text/csv", {}, receive, send))
    assert all(message.get("more_body", True) for message in sent)


def test_what_cannot_be_read_is_refused_whole(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.replace(UsageCosts, rows_of(UsageCosts, [{"usage_date": FIRST, "tenant_id": "acme"}]), [FIRST])
    (broken,) = Path(lake.uri(UsageCosts)).glob("*/*.parquet")
    broken.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    client = Client()
    asyncio.run(client.ask(QueryApi(QUERIES, lake, Access(None, open_here=True)), f"from={FIRST}&format=csv"))
    assert client.status == 500
