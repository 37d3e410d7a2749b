"""Processes that are killed at any moment, two at once, servers that go away, slots that are lost: every change is
received once, and the tables end as the database's. Not here: what a change is (test_capture)."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.errors import PlatformError
from data_platform.sources.positions import positions
from data_platform.sources.postgres import database, replication, table_stream
from data_platform_tests.sources.postgres import capture_helper
from data_platform_tests.support.captured_shop import ORDERS, USER_FIELDS, USERS, Shop, row_of, some_transactions
from data_platform_tests.support.homes import kill
from data_platform_tests.support.source_database import CONFIGURED, SourceServer, connected

HELPER = str(Path(capture_helper.__file__))
OWN_SERVER = pytest.mark.skipif(CONFIGURED in os.environ, reason="needs a server that may be stopped")


@dataclass(frozen=True, eq=False)
class Processes:
    """What captures a shop in processes of its own, one after the other."""

    helper: subprocess.Popen[str]

    def start(self, point: str = "") -> int:
        assert self.helper.stdin is not None
        self.helper.stdin.write(f"{point}\n")
        self.helper.stdin.flush()
        return int(self._told())

    def killed(self, point: str) -> None:
        """One that kills itself there."""
        self.start(point)
        assert self._told() == "-9", point

    def kill(self, process: int) -> None:
        os.kill(process, signal.SIGKILL)
        assert self._told() == "-9"

    def _told(self) -> str:
        assert self.helper.stdout is not None
        return self.helper.stdout.readline().strip()


@contextlib.contextmanager
def processes(shop: Shop) -> Iterator[Processes]:
    command = [sys.executable, HELPER, json.dumps(shop.options)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    helper = subprocess.Popen(command, env=shop.home.environment(), text=True, start_new_session=True, **pipes)
    found = Processes(helper)
    try:
        assert found._told() == "ready"
        yield found
    finally:
        kill(helper)


def assert_received_once(shop: Shop) -> None:
    """Every change of users that committed after the first snapshot, once; both tables as in the database."""
    shop.take_in()
    by_transaction: dict[object, list[object]] = {}
    for row in shop.user_changes().filter(pl.col("sequence") != "0").iter_rows(named=True):
        content = tuple(row[name] for name in USER_FIELDS)
        by_transaction.setdefault(row["changed_at"], []).append((row["operation"], content))
    told = [[(op, row_of(row)) for op, row in changes] for changes in shop.told_by_triggers("users")]
    assert sorted(map(repr, by_transaction.values())) == sorted(map(repr, told))
    assert_as_in_database(shop)


def assert_as_in_database(shop: Shop) -> None:
    assert shop.users_in_lake() == shop.users_in_database()
    assert shop.orders_in_lake() == shop.orders_in_database()
    assert shop.gaps() == []


# -------------------------------------------------------------------------------- kills
CHANGE_POINTS = [
    "peek:before:1", "change:after:9", "fsync:before:1", "rename:before:1", "rename:after:1", "land:after:1",
    "rename:before:2", "advance:before:1", "advance:after:1",
]  # fmt: skip


def test_a_process_killed_at_any_boundary_of_a_look_is_gone_on_from(shop: Shop) -> None:
    shop.capture()
    with processes(shop) as capturing:
        for seed, point in enumerate(CHANGE_POINTS):
            some_transactions(shop.db, seed, 4, range(1, 9))
            shop.db.execute("insert into users (user_id) values (%s)", [100 + seed])
            shop.db.execute("insert into orders (customer, total) values (1, 2)")
            capturing.killed(point)
            if seed % 4 == 3:
                shop.home.ingest()
    assert_received_once(shop)


ANEW_POINTS = ["mark:after:1", "drop:after:1", "create:after:1", "snapshot:after:1", "rename:before:5"]


def test_a_process_killed_while_it_begins_anew_begins_anew(shop: Shop) -> None:
    """A lost slot, and rows that are gone meanwhile, over and over."""
    shop.db.execute("insert into users (user_id) select generate_series(1, 1100)")
    shop.db.execute("insert into orders (customer, total) select i, i from generate_series(1, 5) i")
    with processes(shop) as capturing:
        for seed, point in enumerate(ANEW_POINTS):
            shop.capture()
            if seed % 3 == 0:
                shop.home.ingest()
            shop.db.execute("delete from users where user_id = %s", [seed + 1])
            moved_by_somebody(shop)
            capturing.killed(point)
            shop.db.execute("update orders set total = total + 1 where customer = %s", [seed])
    shop.take_in()
    assert_as_in_database(shop)


def killed_while_it_works(shop: Shop, kills: int) -> None:
    """Three writers, two processes that race, one or the other killed at random moments, files taken in beside them."""
    shop.capture()
    stop = threading.Event()

    def write(number: int) -> None:
        with connected(shop.dsn) as connection:
            for seed in range(number, 10**6, 3):
                if stop.is_set():
                    return
                # Ids of their own: writers that wait for each other would end in deadlocks.
                some_transactions(connection, seed, 1, range(number * 100, number * 100 + 30))
                time.sleep(0.02)

    writers = [threading.Thread(target=write, args=[number]) for number in range(3)]
    for writer in writers:
        writer.start()
    chosen = random.Random(kills)
    try:
        with processes(shop) as one, processes(shop) as other:
            running = {helper: helper.start() for helper in (one, other)}
            for number in range(kills):
                time.sleep(chosen.uniform(0.2, 0.9))
                killed = chosen.choice((one, other))
                killed.kill(running[killed])
                running[killed] = killed.start()
                if number % 3 == 0:
                    shop.home.ingest()
            for helper, process in running.items():
                helper.kill(process)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert len(shop.told_by_triggers("users")) > 2 * kills
    assert_received_once(shop)


def test_kills_at_random_moments(shop: Shop) -> None:
    killed_while_it_works(shop, 6)


@pytest.mark.soak
def test_fifty_kills_at_random_moments(shop: Shop) -> None:
    killed_while_it_works(shop, 50)


# ----------------------------------------------------------------------------- two at once
def test_of_two_processes_one_captures_and_the_other_takes_over(shop: Shop) -> None:
    first, second = shop.connector(), shop.connector()
    with contextlib.closing(second):
        with contextlib.closing(first):
            while first.advance(threading.Event()):
                pass
            shop.db.execute("insert into users (user_id) values (1)")
            assert not second.advance(threading.Event())
            assert second.states() == []
            first.advance(threading.Event())
            shop.db.execute("insert into users (user_id) values (2)")
            assert not second.advance(threading.Event())
        while second.advance(threading.Event()):
            pass
        assert second.states()
    assert_received_once(shop)


# ---------------------------------------------------------------------------- the server
@OWN_SERVER
def test_a_database_that_is_away_is_told_and_gone_on_from(shop: Shop, server: SourceServer) -> None:
    connector = shop.connector()
    while connector.advance(threading.Event()):
        pass
    shop.db.execute("insert into users (user_id) values (1)")
    shop.close()
    server.stop()
    try:
        for one in (connector, shop.connector()):
            with pytest.raises(PlatformError, match=r"\[postgres.shop\] The database cannot be read") as told:
                one.advance(threading.Event())
            assert "password" not in str(told.value)
    finally:
        server.start()
    shop.db.execute("insert into users (user_id) values (2)")
    assert_received_once(shop)


@pytest.mark.parametrize("failing", ["move_durably", "closing_frame"])
def test_a_full_disk_loses_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Where a segment is written, and where it gets its name."""
    connector = shop.connector()
    while connector.advance(threading.Event()):
        pass
    some_transactions(shop.db, 1, 20, range(1, 12))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(table_stream, failing, full)
        with pytest.raises(OSError, match="No space left"):
            connector.advance(threading.Event())
        connector.close()
    assert not list((shop.home.landing / "users").glob(".postgres*")), "nothing unfinished is left"
    assert_received_once(shop)


def test_a_stop_is_heeded_while_an_open_transaction_keeps_a_snapshot_waiting(shop: Shop) -> None:
    with connected(shop.dsn) as other, other.transaction():
        other.execute("insert into users (user_id) values (1)")
        connector, stop = shop.connector(), threading.Event()
        threading.Timer(1, stop.set).start()
        assert connector.advance(stop) is False
    assert_received_once_after_snapshot(shop)


def assert_received_once_after_snapshot(shop: Shop) -> None:
    shop.take_in()
    assert_as_in_database(shop)
    assert len(shop.user_changes()) == 1


# ------------------------------------------------------------------------------ lost slots
def dropped(shop: Shop) -> None:
    shop.db.execute("select pg_drop_replication_slot(%s)", [shop.slot])


def moved_by_somebody(shop: Shop) -> None:
    shop.db.execute("select pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", [shop.slot])


def outgrown(shop: Shop) -> None:
    """What `max_slot_wal_keep_size` does."""
    shop.db.execute("alter system set max_slot_wal_keep_size = '1MB'")
    shop.db.execute("select pg_reload_conf()")
    try:
        shop.db.execute("create table other (a text)")
        for _ in range(4):
            shop.db.execute("insert into other values ('x')")
            shop.db.execute("select pg_switch_wal()")
        shop.db.execute("checkpoint")
        (status,) = shop.db.execute("select wal_status from pg_replication_slots where slot_name = %s", [shop.slot])
        assert status == ("lost",)
    finally:
        shop.db.execute("alter system reset max_slot_wal_keep_size")
        shop.db.execute("select pg_reload_conf()")


def created_anew(shop: Shop) -> None:
    dropped(shop)
    shop.db.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [shop.slot])


@pytest.mark.parametrize("lose", [dropped, moved_by_somebody, outgrown, created_anew])
def test_a_lost_slot_is_noticed_and_a_new_snapshot_follows(shop: Shop, lose: Callable[[Shop], None]) -> None:
    some_transactions(shop.db, 1, 30, range(1, 12))
    shop.take_in()
    shop.db.execute("insert into users (user_id, bio) values (50, 'goes'), (51, 'stays'), (52, 'goes, not taken in')")
    shop.capture()
    shop.db.execute("delete from users where user_id in (50, 52); update users set email = 'unseen' where user_id = 51")
    shop.db.execute("delete from orders where customer % 2 = 0")
    lose(shop)
    shop.db.execute("insert into users (user_id) values (60)")
    shop.take_in()
    assert_as_in_database(shop)
    assert {place.generation for place in positions(shop.home.lake, shop.home.landing / "users").values()} == {1}
    some_transactions(shop.db, 2, 30, range(1, 12))
    shop.take_in()
    assert_as_in_database(shop)


@pytest.mark.parametrize("lose", [dropped, moved_by_somebody, outgrown])
def test_a_slot_that_is_lost_while_it_is_read_is_noticed(shop: Shop, lose: Callable[[Shop], None]) -> None:
    connector = shop.connector()
    while connector.advance(threading.Event()):
        pass
    shop.db.execute("insert into users (user_id) values (1)")
    lose(shop)
    shop.db.execute("insert into users (user_id) values (2)")
    while connector.advance(threading.Event()):
        pass
    connector.close()
    shop.take_in()
    assert_as_in_database(shop)


def test_another_database_whose_log_is_shorter_is_taken_for_a_restored_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.db.execute("insert into users (user_id) values (1), (2)")
    shop.take_in()
    shop.db.execute("delete from users where user_id = 1")
    with monkeypatch.context() as patched:
        patched.setattr(database.Database, "log_end", lambda self: 1 << 21)
        connector = shop.connector()
        connector.advance(threading.Event())
        connector.close()
    shop.take_in()
    assert_as_in_database(shop)


def test_a_table_that_left_the_section_gets_a_snapshot_when_it_comes_back(shop: Shop) -> None:
    shop.db.execute("insert into users (user_id) values (1), (2)")
    shop.take_in()
    orders = shop.options["tables"]["public.orders"]
    shop.capture(tables={"public.orders": orders})
    shop.db.execute("delete from users where user_id = 1")
    shop.db.execute("insert into orders (customer, total) values (1, 1)")
    shop.capture(tables={"public.orders": orders})
    shop.take_in()
    assert_as_in_database(shop)
    assert positions(shop.home.lake, shop.home.landing / "orders")[ORDERS].generation == 0
    assert positions(shop.home.lake, shop.home.landing / "users")[USERS].generation > 0


@pytest.mark.parametrize("told_by", ["a change", "the catalog"])
def test_a_table_that_was_created_again_is_copied_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, told_by: str
) -> None:
    shop.db.execute("insert into users (user_id) values (1), (2)")
    connector = shop.connector()
    while connector.advance(threading.Event()):
        pass
    shop.db.execute("create table new (like users including all); drop table users; alter table new rename to users")
    shop.db.execute("insert into users (user_id) values (3)")
    shop.db.execute("alter table users replica identity full; alter publication data_platform add table users")
    if told_by == "a change":
        shop.db.execute("insert into users (user_id) values (2)")
    else:
        monkeypatch.setattr(replication, "CATALOG_SECONDS", 0)
    for _ in range(6):
        connector.advance(threading.Event())
    connector.close()
    shop.home.ingest()
    assert_as_in_database(shop)


def test_a_table_that_was_renamed_is_not_passed_over(shop: Shop) -> None:
    shop.db.execute("insert into users (user_id) values (1)")
    connector = shop.connector()
    while connector.advance(threading.Event()):
        pass
    shop.db.execute("alter table users rename to people; insert into people (user_id) values (2)")
    with pytest.raises(PlatformError, match=r"the table is called public\.people now"):
        connector.advance(threading.Event())
    with pytest.raises(PlatformError, match=r"There is no table public\.users"):
        connector.advance(threading.Event())


def test_a_table_that_is_added_is_copied_while_the_others_go_on(shop: Shop) -> None:
    users = shop.options["tables"]["public.users"]
    shop.capture(tables={"public.users": users})
    some_transactions(shop.db, 1, 20, range(1, 12))
    shop.capture(tables={"public.users": users})
    some_transactions(shop.db, 2, 20, range(1, 12))
    assert_received_once(shop)
