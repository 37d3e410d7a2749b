"""Readers of published tables see neither error nor gap: while months are replaced, while tables follow their
contracts, while publishers are killed, wait for each other or for a reader who does not end. On a real PostgreSQL.
Not here: what is published (test_publication)."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from data_platform.bi import publishing, schema
from data_platform.bi import server as postgres
from data_platform.bi.publishing import drop_retired, publish
from data_platform.bi.server import PublicationBlocked, connected
from data_platform.core.contract.published import MonthlySummary, Published
from data_platform.core.contract.table import column
from data_platform.core.lake.store import Lake
from data_platform.core.settings import PROJECT_ROOT
from data_platform_tests.support import SUPPORT
from data_platform_tests.support.published_lake import Orders, Readers, Server, write

DAYS = [dt.date(2026, month, day) for month in (1, 2, 3) for day in (1, 15, 28)]
ROWS = 400

OF_THE_TABLE: LiteralString = (
    "SELECT date_trunc('month', order_date)::date, count(*), min(amount), max(amount) FROM analytics.orders GROUP BY 1"
)
OF_A_MONTH: LiteralString = (
    "SELECT count(*), min(amount), max(amount) FROM analytics.orders"
    " WHERE order_date >= '2026-02-01' AND order_date < '2026-03-01'"
)
OF_THE_SUMMARY: LiteralString = "SELECT month, sum(row_count)::bigint FROM analytics.orders_by_month GROUP BY 1"


def is_whole(query: LiteralString, found: list[tuple[Any, ...]]) -> bool:
    """Every month is there with all its rows, which are all of one publication, whichever."""
    if query is OF_A_MONTH:
        [(count, least, most)] = found
        return bool(count == 3 * ROWS and least == most)
    if query is OF_THE_SUMMARY:
        return sorted(found) == [(dt.date(2026, month, 1), 3 * ROWS) for month in (1, 2, 3)]
    return len(found) == 3 and all(count == 3 * ROWS and least == most for _, count, least, most in found)


def write_all(lake: Lake, cents: int, days: list[dt.date] = DAYS) -> None:
    for day in days:
        write(lake, day, ROWS, cents)


@pytest.fixture
def lake(tmp_path: Path, server: Server) -> Lake:
    """Three months of orders, published."""
    found = Lake(str(tmp_path / "lake"))
    write_all(found, 100)
    server.publish(found)
    return found


def readers(server: Server) -> Readers:
    return Readers(server, (OF_THE_TABLE, OF_A_MONTH, OF_THE_SUMMARY), is_whole)


def amounts(server: Server) -> set[tuple[Any, ...]]:
    return {*server.rows("SELECT date_trunc('month', order_date)::date::text, amount FROM analytics.orders")}


def test_months_are_replaced_under_readers(server: Server, lake: Lake) -> None:
    with readers(server).reading() as seen:
        for cents in range(200, 1000, 100):
            write_all(lake, cents)
            assert len(server.publish(lake)[0].loaded) == 3
    assert not seen.faults
    assert seen.reads > 50
    assert len({row[1] for row in seen.seen if len(row) == 3}) > 1, "they read while it changed"
    assert seen.slowest < 1.0


def test_who_began_to_read_before_finds_the_new_month_and_no_gap(server: Server, lake: Lake) -> None:
    """Without frozen rows, a snapshot older than the load would find the swapped month empty."""
    with server.as_reader() as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1")
        write_all(lake, 777)
        server.publish(lake)
        assert is_whole(OF_A_MONTH, reader.execute(OF_A_MONTH).fetchall())
        reader.execute("ROLLBACK")


class OrdersLater(Orders):
    """Orders, one contract later: a column and an index more, two columns and an index fewer, another summary."""

    key = "testing/orders"
    published = Published(
        indexes=(("currency", "order_date"),),
        summaries=(MonthlySummary("orders_by_month", ("currency",), ("pieces", "amount")),),
        personal=("email",),
    )

    note: str | None = column("Something new.")


def test_a_table_follows_its_contract_under_readers(server: Server, lake: Lake) -> None:
    names = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'analytics' AND table_name = 'orders'"
    )
    assert OrdersLater.published is not None
    with readers(server).reading() as seen:
        lake.ensure(OrdersLater)
        done = server.publish(lake, OrdersLater)[0]
        assert len(done.loaded) == 3, "what was published had no such columns"
        assert server.rows("SELECT count(email), count(note) FROM analytics.orders") == [(9 * ROWS, 0)]
        assert done.summaries == ("orders_by_month",)
        indexes = {name for (name,) in server.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'analytics'")}
        assert "ix_orders_currency_order_date" in indexes
        assert "ix_orders_customer_order_date" not in indexes

        server.publish(lake)
        assert {("email",), ("note",)} <= {*server.rows(names)}, "somebody may still read what a contract gave up"
        assert drop_retired(server.url, [Orders]) == ["orders.email", "orders.note"]
        assert not {("email",), ("note",)} & {*server.rows(names)}
        assert drop_retired(server.url, [Orders]) == []
    assert not seen.faults
    assert seen.slowest < 1.0


def test_revisions_are_applied_under_readers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From every earlier revision, with tables and rows in place, to the newest."""
    lake = Lake(str(tmp_path / "lake"))
    write_all(lake, 100)
    with connected(server.url) as connection:
        schema.migrate(connection, "0002")
    with monkeypatch.context() as old:
        old.setattr(schema, "migrate", lambda connection: None)
        server.publish(lake)
    assert server.rows("SELECT to_regclass('analytics.publications')") == [(None,)]
    with readers(server).reading() as seen, connected(server.url) as connection:
        schema.migrate(connection)
        time.sleep(0.2)
    assert not seen.faults
    with server.as_reader() as reader:
        assert reader.execute("SELECT row_count FROM analytics.publications").fetchall() == [(9 * ROWS,)]


def test_what_no_contract_publishes_any_more_is_dropped_when_asked_to(server: Server, lake: Lake) -> None:
    assert set(drop_retired(server.url, [])) == {"orders", "orders_by_month"}
    assert server.rows("SELECT to_regclass('analytics.orders'), to_regclass('analytics.orders_by_month')") == [
        (None, None)
    ]
    assert not server.rows("SELECT relname FROM pg_class WHERE relname LIKE 'orders%'")


@pytest.mark.parametrize(
    ("point", "published"),
    [
        ("read:before:2", False),
        ("load:after:1", False),
        ("record:after:1", False),
        ("lock:before:1", False),
        ("lock:after:1", False),
        ("committed:before:1", True),
        ("refresh:before:1", True),
    ],
)
def test_a_killed_publisher_leaves_readers_the_old_or_the_new(
    server: Server, lake: Lake, point: str, published: bool
) -> None:
    write_all(lake, 200)
    own = {"LAKE": lake.root, "URL": server.url, "KILL_AT": point}
    with Readers(server, (OF_THE_TABLE, OF_A_MONTH), is_whole).reading() as seen:
        helper = str(SUPPORT.joinpath("publication_kill_helper.py"))
        root = str(PROJECT_ROOT)
        killed = subprocess.run(
            [sys.executable, helper], env=os.environ | own | {"PYTHONPATH": root}, capture_output=True, check=False
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not seen.faults
    assert {str(amount) for _, amount in amounts(server)} == {"2.00" if published else "1.00"}

    done = server.publish(lake)[0]
    assert bool(done.loaded) != published
    assert {str(amount) for _, amount in amounts(server)} == {"2.00"}
    sums = server.rows(
        "SELECT sum(amount) FROM analytics.orders UNION ALL SELECT sum(amount) FROM analytics.orders_by_month"
    )
    assert sums[0] == sums[1]
    left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'orders_20%' AND relkind = 'r'"
    assert server.rows(left) == [(3,)], "nothing of the killed one is left"


def test_a_reader_who_does_not_end_is_named_and_keeps_no_other_waiting(
    server: Server, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_DEADLINE_SECONDS", 3.0)
    write_all(lake, 200)
    with server.as_reader() as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT 1 FROM analytics.orders LIMIT 1")
        with readers(server).reading() as seen:
            problem = publish(lake, server.url, [Orders])[0].problem
        assert isinstance(problem, PublicationBlocked)
        assert "by dashboard (process" in problem.problem
        assert {str(amount) for _, amount in amounts(server)} == {"1.00"}
    assert not seen.faults
    assert seen.slowest < postgres.MOST_PATIENCE + 0.5
    assert len(server.publish(lake)[0].loaded) == 3


def test_who_waited_for_another_publisher_publishes_what_the_lake_says_then(
    server: Server, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    monkeypatch.setattr(schema, "expand", lambda *_: None)  # it would wait for its own turn, before the table's
    with connected(server.url) as other:
        postgres.take_turns(other, Orders.key)
        write_all(lake, 200)
        waiting = threading.Thread(target=lambda: found.extend(server.publish(lake)))
        waiting.start()
        deadline = time.monotonic() + 10
        while not server.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert time.monotonic() < deadline, "it did not wait"
            time.sleep(0.02)
        write_all(lake, 300)
    waiting.join()
    assert len(found[0].loaded) == 3
    assert {str(amount) for _, amount in amounts(server)} == {"3.00"}


def test_a_summary_is_refreshed_beside_a_reader_who_holds_it(server: Server, lake: Lake) -> None:
    write_all(lake, 200)
    with server.as_reader() as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT 1 FROM analytics.orders_by_month LIMIT 1")
        publishing_beside = threading.Thread(target=server.publish, args=(lake,))
        publishing_beside.start()
        publishing_beside.join(10)
        waits = publishing_beside.is_alive()
    publishing_beside.join()
    assert not waits
    assert server.rows("SELECT sum(amount) FROM analytics.orders_by_month") == [(2 * 9 * ROWS,)]


def test_two_publishers_at_once_load_once(server: Server, lake: Lake) -> None:
    write_all(lake, 200)
    loaded: list[Any] = []
    both = [threading.Thread(target=lambda: loaded.append(server.publish(lake)[0].loaded)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(map(len, loaded)) == [0, 3]


def test_a_server_that_goes_away_is_reported_and_what_was_there_stays(
    server: Server, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all(lake, 200)

    def interrupted(*_: Any) -> None:
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'data-platform publish'"
        )
        with server.as_admin() as admin:
            admin.execute(ended)

    monkeypatch.setattr(publishing, "_record", interrupted)
    problem = publish(lake, server.url, [Orders])[0].problem
    assert problem is not None
    assert "terminating connection" in problem.problem
    assert {str(amount) for _, amount in amounts(server)} == {"1.00"}


def test_vacuum_does_not_keep_readers_waiting(server: Server, lake: Lake) -> None:
    """Analyze holds its partition; the publisher waits for it while readers go on reading."""
    partition = server.rows("SELECT partition_name FROM analytics_internal.published_parts ORDER BY part LIMIT 1")[0][0]
    write_all(lake, 200)
    with readers(server).reading() as seen, psycopg.connect(server.url) as vacuum:
        lock = psycopg.sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE")
        vacuum.execute(lock.format(psycopg.sql.Identifier("analytics_internal", partition)))
        waiting = threading.Thread(target=server.publish, args=(lake,))
        waiting.start()
        time.sleep(1.5)
        vacuum.rollback()
        waiting.join()
    assert not seen.faults
    assert seen.slowest < 1.0
    assert {str(amount) for _, amount in amounts(server)} == {"2.00"}
