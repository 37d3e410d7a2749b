"""A lake of many made-up tables, the health page over it, and a reader in another process.
Not here: goals (health)."""

from __future__ import annotations

import datetime as dt
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import polars as pl
import uvicorn

from data_platform.core.contract.table import Table, column, within
from data_platform.core.lake.commits import StagedFile
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.specs import spec_for
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.core.settings import settings
from data_platform.observability.health.facts import Collector
from data_platform.web.app import application

REFRESH_SECONDS = 5.0
"""Three times as often as by default."""
PAUSE_SECONDS = 0.04
"""Of the reader between two pages; with it the pages are read for half a minute, through several refreshes."""
READER = """
import http.client, json, sys, time
host, port, requests, pause, pages = json.loads(sys.argv[1])
connection = http.client.HTTPConnection(host, port, timeout=60)
taken = {page: [] for page in pages}
for number in range(requests):
    for page in pages:
        path = page.replace("NUMBER", str(number % 10))
        begun = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        taken[page].append(time.perf_counter() - begun)
        time.sleep(pause)
        assert answer.status == 200 and len(body) > 1000, (path, answer.status)
print(json.dumps(taken))
"""
FRONT, ONE_TABLE = "/", "/tables/bench/table_NUMBER"


def measure(
    tables: int, partitions: int, rules: int, requests: int, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """p95 of the front page and of tables' pages in ms, and seconds of a first and of a later look at the lake."""
    today = dt.datetime.now(dt.UTC).date()
    days = [today - dt.timedelta(back) for back in range(partitions)]
    lake = Lake(settings().lake_root)
    made = [_table(number) for number in range(tables)]
    for number, table in enumerate(made):
        spec_for(table, {"before": made[number - 1].days(-29, 0)} if number else {})
        _publish(lake, table, days)
        tell("tables", number, tables)
    _record(lake, made, days, rules)

    collector = Collector(lake, made, every=REFRESH_SECONDS)
    begun = time.perf_counter()
    collector.refresh()
    first_seconds = time.perf_counter() - begun
    app = application(collector, None)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
        arguments = json.dumps(["127.0.0.1", listening.getsockname()[1], requests, PAUSE_SECONDS, [FRONT, ONE_TABLE]])
        reader = subprocess.Popen([sys.executable, "-c", READER, arguments], stdout=subprocess.PIPE, text=True)
        refreshes = []
        while reader.poll() is None:
            # Every look finds something new, as on a busy day.
            _publish(lake, made[len(refreshes) % tables], [today])
            _record(lake, made[:5], [today], rules)
            refreshes.append(collector.current().seconds)
            time.sleep(1)
        assert reader.stdout is not None
        taken = json.loads(reader.stdout.read())
        server.should_exit = True
    names = {FRONT: "the front page", ONE_TABLE: "a table's page"}
    return {
        "p95_milliseconds": {
            names[page]: 1000 * sorted(seconds)[int(0.95 * len(seconds))] for page, seconds in taken.items()
        },
        "first_seconds": first_seconds,
        "refresh_seconds": max(refreshes),
    }


def _table(number: int) -> type[Table]:
    body: dict[str, Any] = {
        "__doc__": f"Made-up table {number}.",
        "__annotations__": {"day": dt.date, **{f"value_{n}": float for n in range(15)}},
        "key": f"bench/table_{number}",
        "partition": "day",
        "primary_key": ("day", "value_0"),
        "owner": "team:bench",
        "fresh": within(hours=26),
        "day": column("Day."),
        **{f"value_{n}": column(f"Value {n}.", ge=0) for n in range(15)},
    }
    return type(f"Table{number}", (Table,), body)


def _publish(lake: Lake, table: type[Table], days: list[dt.date]) -> None:
    """Entries of the log without their files: the page reads no more than the log."""
    staged = [StagedFile(f"day={day}/part-{time.time_ns()}.parquet", str(day), 1000 + day.day, 10_000) for day in days]
    lake.commit(table, staged, replacing=[str(day) for day in days])


def _record(lake: Lake, tables: list[type[Table]], days: list[dt.date], rules: int) -> None:
    """A verdict of each rule on each day of each table; one in fifty fails."""
    now = dt.datetime.now(dt.UTC)
    frame = (
        pl.DataFrame({"asset": [table.key for table in tables]})
        .join(pl.DataFrame({"asset_partition": [str(day) for day in days]}), how="cross")
        .join(pl.DataFrame({"check_name": [f"rule_{number}" for number in range(rules)]}), how="cross")
        .with_row_index("number")
        .with_columns(failed=pl.col("number") % 50 == 7)
        .select(
            recorded_date=pl.lit(now.date()),
            asset="asset",
            asset_partition="asset_partition",
            check_name="check_name",
            reported_as=pl.lit("contract"),
            status=pl.when("failed").then(pl.lit("failed")).otherwise(pl.lit("passed")),
            severity=pl.lit("error"),
            value=pl.lit(None, pl.Float64),
            threshold=pl.lit(None, pl.Float64),
            rows=pl.lit(1000, pl.Int64),
            failed_rows=pl.col("failed").cast(pl.Int64),
            sample=pl.when("failed").then(pl.lit('[{"day": "2026-01-01", "value_0": 1.5}]')),
            message=pl.lit(None, pl.String),
            run_id=pl.lit(f"run-{time.time_ns()}"),
            contract_version=pl.lit("1"),
            recorded_at=pl.lit(now).cast(pl.Datetime("us", "UTC")),
        )
    )
    lake.append(CheckResults, frame.select(list(CheckResults.columns)))
