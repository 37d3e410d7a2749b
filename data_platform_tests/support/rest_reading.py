"""Reading a stand-in of an API into a temporary home, and what is then in the tables. Not here: any assertion."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Table
from data_platform.core.discovery import landing_sources
from data_platform.sources.connectors import Connector, Section, Ways
from data_platform.sources.positions import discontinuities
from data_platform_tests.support.homes import Home, Row
from data_platform_tests.support.stripe_server import KEY

QUICK = {"every": "1s", "settle": "1s", "requests_per_second": 2000}
"""Windows close at once, as far as whole seconds let them."""


def ways(home: Home) -> Ways:
    return Ways(home.lake, home.landing, {one.name: one for one in landing_sources()})


def section(url: str, *endpoints: str, days: int = 3, **options: Any) -> Section:
    start = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)
    named = {"endpoints": list(endpoints)} if endpoints else {}
    given = {"api": "stripe", "key": KEY, "base_url": url, "start": start} | QUICK | named | options
    return Section("rest", "shop", given)


@contextmanager
def connected(home: Home, of: Section) -> Iterator[Connector]:
    connector = of.connect(ways(home))
    try:
        yield connector
    finally:
        connector.close()


def catch_up(connector: Connector) -> None:
    """Read until nothing more is to be had at once."""
    while connector.advance(threading.Event()):
        pass


def read_all(home: Home, of: Section) -> None:
    with connected(home, of) as connector:
        catch_up(connector)
    home.ingest()


def newest(home: Home, table: type[Table]) -> dict[str, Row]:
    """The newest version of every object that was received, as the models choose it."""
    rows = home.rows(table).sort("observed_at").unique("object_id", keep="last", maintain_order=True)
    return {object_id: json.loads(text) for object_id, text in rows.select("object_id", "payload").iter_rows()}


def gaps(home: Home) -> pl.DataFrame:
    """Places where a stream was not received in one piece."""
    return discontinuities(home.lake.scan(IngestionLedger)).collect()
