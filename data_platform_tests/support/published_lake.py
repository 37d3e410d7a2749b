"""A small published table and its lake, and a PostgreSQL to publish it to. Not here: any assertion, any fixture."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, LiteralString

import polars as pl
import psycopg
import psycopg.types.json
from psycopg import sql

from data_platform.bi.publishing import PublishedTable, publish, require_published
from data_platform.core.contract.published import MonthlySummary, Published
from data_platform.core.contract.table import JsonObject, Personal, Table, column
from data_platform.core.lake.store import Lake
from data_platform_tests.support.online_servers import PASSWORD, postgres_server

READER, OPERATOR = "dashboard", "maria"


class Orders(Table):
    """Orders, with a column of every type there is."""

    key = "testing/orders"
    partition = "order_date"
    primary_key = ("order_date", "order_id")
    owner = "team:testing"
    published = Published(
        indexes=(("customer", "order_date"),),
        summaries=(MonthlySummary("orders_by_month", ("currency",), ("amount", "pieces")),),
    )

    order_date: dt.date = column("Day.")
    order_id: str = column("The order.")
    customer: str | None = column("Who.", personal=Personal.PSEUDONYM)
    email: str | None = column("Where to write to.", personal=Personal.DIRECT)
    currency: str = column("ISO 4217 code.")
    amount: Decimal = column("Money.", unit="currency")
    pieces: int = column("How many.")
    weight: float | None = column("How heavy.", unit="kg")
    is_gift: bool | None = column("Wrapped.")
    ordered_at: dt.datetime = column("When (UTC).")
    details: JsonObject | None = column("More.")


class Shops(Table):
    """Shops: a table without days, with the words of SQL for names."""

    key = "testing/select"
    primary_key = ("table",)
    owner = "team:testing"
    published = Published(indexes=(("order", "table"),))

    table: str = column("The shop's \"name\", it's quoted; -- always.")
    order: int | None = column("Rank.")


def orders(day: dt.date, count: int, cents: int = 100) -> pl.DataFrame:
    """So many orders of a day, all of one amount."""
    numbers = range(count)
    at = dt.datetime.combine(day, dt.time(12, 30, 15, 123456), dt.UTC)
    return pl.DataFrame(
        {
            "order_date": [day] * count,
            "order_id": [f"{day}-{number:06}" for number in numbers],
            "customer": [f"c-{number % 10}" if number % 3 else None for number in numbers],
            "email": ["somebody@example.org"] * count,
            "currency": ["EUR" if number % 2 else "USD" for number in numbers],
            "amount": [Decimal(cents) / 100] * count,
            "pieces": [1 + number % 5 for number in numbers],
            "weight": [number / 7 if number % 4 else None for number in numbers],
            "is_gift": [(None, True, False)[number % 3] for number in numbers],
            "ordered_at": [at] * count,
            "details": ['{"note": "with, commas and \\"quotes\\""}' if number % 2 else None for number in numbers],
        },
        schema=Orders.schema(),
    )


def write(lake: Lake, day: dt.date, count: int = 50, cents: int = 100, table: type[Table] = Orders) -> None:
    """Replace a day of the lake's orders."""
    lake.replace(table, orders(day, count, cents).select(list(table.columns)), [day])


@dataclass
class Server:
    """A PostgreSQL: the URL of who publishes, and others who connect."""

    url: str

    def as_reader(self) -> psycopg.Connection[Any]:
        """A login that is a member of the readers' role and nothing else."""
        return psycopg.connect(self.url.replace(f"features:{PASSWORD}@", "@"), user=READER, autocommit=True)

    def as_operator(self) -> psycopg.Connection[Any]:
        """A login of the house, which may read tables of tenants too."""
        return psycopg.connect(self.url.replace(f"features:{PASSWORD}@", "@"), user=OPERATOR, autocommit=True)

    def as_admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url.replace(f"features:{PASSWORD}@", "@"), user="postgres", autocommit=True)

    def rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def table(self, table: type[Table]) -> pl.DataFrame:
        """What readers see of it, as the contract types it."""
        names = list(table.published.columns(table)) if table.published else []
        read = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.Identifier("analytics", table.table_name()),
        )
        with psycopg.connect(self.url) as connection:
            psycopg.types.json.set_json_loads(lambda text: text if isinstance(text, str) else text.decode(), connection)
            found = connection.execute(read).fetchall()
        frame = pl.DataFrame(found, schema={name: table.columns[name].dtype for name in names}, orient="row")
        return frame.sort(table.primary_key)

    def publish(self, lake: Lake, *tables: type[Table]) -> list[PublishedTable]:
        """Publish the tables, all of them or fail."""
        done = publish(lake, self.url, tables or (Orders,))
        require_published(done)
        return done

    def start_over(self) -> None:
        with self.as_admin() as connection:
            connection.execute("DROP SCHEMA IF EXISTS analytics, analytics_internal CASCADE")


@contextlib.contextmanager
def analytics_server() -> Iterator[Server]:
    """The publishing role owns its database and may not create roles; the readers' role and one reader are there."""
    with postgres_server() as url:
        server = Server(url)
        with server.as_admin() as connection:
            connection.execute("CREATE ROLE analytics_reader NOLOGIN")
            connection.execute(f"CREATE ROLE {READER} LOGIN IN ROLE analytics_reader")
            connection.execute("CREATE ROLE analytics_operator NOLOGIN")
            connection.execute(f"CREATE ROLE {OPERATOR} LOGIN IN ROLE analytics_reader, analytics_operator")
        yield server


@dataclass
class Readers:
    """Readers that ask over and over, in threads: what they saw, how long they waited, what went wrong."""

    server: Server
    queries: tuple[LiteralString, ...]
    is_whole: Callable[[LiteralString, list[tuple[Any, ...]]], bool]
    reads: int = 0
    slowest: float = 0.0
    seen: set[tuple[Any, ...]] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Readers]:
        finished = threading.Event()
        threads = [threading.Thread(target=self._read, args=(query, finished)) for query in self.queries]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            time.sleep(0.1)
            finished.set()
            for thread in threads:
                thread.join()

    def _read(self, query: LiteralString, finished: threading.Event) -> None:
        with self.server.as_reader() as connection:
            while not finished.is_set():
                begun = time.perf_counter()
                try:
                    found = connection.execute(query).fetchall()
                except psycopg.Error as error:
                    self.faults.append(f"{query}: {error}")
                    return
                self.slowest = max(self.slowest, time.perf_counter() - begun)
                self.reads += 1
                time.sleep(0.001)
                self.seen.update(found)
                if not self.is_whole(query, found):
                    self.faults.append(f"{query}: {found}")
