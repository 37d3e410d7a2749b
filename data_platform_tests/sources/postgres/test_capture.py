"""What is captured equals what a log kept by triggers says, transaction by transaction. Not here: kills and lost slots
(test_capture_faults), options and settings that are wrong (test_capture_settings)."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import threading

import polars as pl
import pytest

from data_platform.core.quality.validation import Status
from data_platform.domains.commerce.contracts.sources import RawOrderChanges, RawOrderChangesRejected
from data_platform.sources.positions import positions
from data_platform.sources.postgres import database, replication
from data_platform.sources.postgres.options import TableOptions
from data_platform.sources.postgres.table_stream import FIRST_LSN, TableStream
from data_platform.sources.schema_drift import judge_incoming
from data_platform_tests.support.captured_shop import ORDERS, USERS, Shop, row_of, some_transactions
from data_platform_tests.support.source_database import connected


def test_random_transactions_are_received_as_triggers_saw_them(shop: Shop) -> None:
    """Rollbacks, savepoints, key updates, large values left alone; looks at the slot in between, and one connector
    after the other."""
    shop.capture()
    for seed in range(4):
        some_transactions(shop.db, seed, 25, range(1, 12))
        shop.take_in()
    received: dict[tuple[object, ...], list[tuple[str, tuple[object, ...]]]] = {}
    for row in shop.user_changes().iter_rows(named=True):
        content = tuple(row[name] for name in ("user_id", "email", "country", "plan", "bio"))
        received.setdefault((row["changed_at"],), []).append((row["operation"], content))
    expected = [[(op, row_of(row)) for op, row in changes] for changes in shop.told_by_triggers("users")]
    assert list(received.values()) == expected
    assert sum(map(len, expected)) > 60, "there was something to compare"
    assert shop.users_in_lake() == shop.users_in_database()
    assert shop.orders_in_lake() == shop.orders_in_database()
    assert shop.gaps() == []
    assert USERS in set(shop.home.ledger()["stream"])


def test_what_was_committed_while_the_snapshot_began_is_told_once(shop: Shop) -> None:
    """Writers that never pause: every row is in the snapshot or in the changes after it, never in both."""
    stop = threading.Event()

    def write(first: int) -> None:
        with connected(shop.dsn) as connection:
            for number in itertools.count(first, 2):
                if stop.is_set():
                    return
                connection.execute("insert into users (user_id) values (%s)", [number])

    writers = [threading.Thread(target=write, args=[first]) for first in (1, 2)]
    for writer in writers:
        writer.start()
    connector = shop.connector()
    for _ in range(8):
        connector.advance(threading.Event())
    stop.set()
    for writer in writers:
        writer.join()
    connector.close()
    shop.take_in()
    told = shop.user_changes().group_by("user_id").len()
    assert len(told) == len(shop.users_in_database()) > 20
    assert told["len"].max() == 1
    assert shop.user_changes()["sequence"].n_unique() > 2, "some were told by the snapshot, some by the log"


def test_a_snapshot_comes_in_pieces_and_its_values_are_those_of_changes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "PIECE_BYTES", 1)
    shop.db.execute(
        "insert into users (user_id, email, bio) select i, 'mail' || i,"
        " E'tab\\t \"quote\" back\\\\slash \\\\N \\n' || i from generate_series(1, 2500) i"
    )
    shop.take_in()
    assert shop.users_in_lake() == shop.users_in_database()
    stretches = shop.home.ledger().filter(pl.col("stream") == USERS).sort("begin_position")
    assert stretches.select("begin_position", "received_lines").rows()[:3] == [(0, 1000), (1, 1000), (2, 500)]
    assert shop.gaps() == []
    shop.db.execute("update users set country = 'PL'")
    shop.take_in()
    assert shop.users_in_lake() == shop.users_in_database()


TYPES = {
    "a": ("bool", "true", True),
    "b": ("numeric", "'1.50'", "1.50"),
    "c": ("numeric", "'NaN'", "NaN"),
    "d": ("float8", "1e300", 1e300),
    "e": ("float8", "'-Infinity'", "-Infinity"),
    "f": ("jsonb", """'{"k": [1.50, "x\\n"]}'""", '{"k": [1.50, "x\\n"]}'),
    "g": ("json", "E'{\"k\":\\n1}'", '{"k":\n1}'),
    "h": ("timestamptz", "'2024-01-03 10:00:00.5+02'", "2024-01-03T08:00:00.5Z"),
    "i": ("timestamp", "'2024-01-03 10:00:00'", "2024-01-03T10:00:00"),
    "j": ("date", "'2024-01-03'", "2024-01-03"),
    "k": ("timestamptz", "'infinity'", "infinity"),
    "l": ("bytea", "'\\x00ff'", "\\x00ff"),
    "m": ("int[]", "'{1,2}'", "{1,2}"),
    "n": ("interval", "'1 day 02:00'", "1 day 02:00:00"),
    "o": ("positive", "7", 7),
    "p": ("mood", "'sad'", "sad"),
    "q": ("money", "'$1,234.50'", "$1,234.50"),
    "r": ("bigint", "9223372036854775807", 9223372036854775807),
}


def test_every_type_is_told_alike_by_snapshot_and_log(shop: Shop) -> None:
    shop.db.execute("create domain positive as int check (value > 0); create type mood as enum ('sad', 'glad')")
    for name, (type_, _, _) in TYPES.items():
        shop.db.execute(f"alter table users add column {name} {type_}")
    values = ", ".join(value for _, value, _ in TYPES.values())
    insert = f"insert into users (user_id, {', '.join(TYPES)}) values (%s, {values})"  # noqa: S608
    shop.db.execute(insert, [1])
    shop.take_in()
    shop.db.execute(insert, [2])
    shop.take_in()
    of_snapshot, of_log = (json.loads(text) for text in shop.user_changes()["extra_fields"])
    assert of_snapshot == of_log == {name: value for name, (_, _, value) in TYPES.items()}


def test_truncate_deletes_every_row_that_was_there(shop: Shop) -> None:
    """Known from raw, from segments that wait, from this very transaction; what comes after it stays."""
    shop.capture()
    shop.db.execute("insert into users (user_id, bio) select i, repeat('x', 9000) from generate_series(1, 3) i")
    shop.take_in()
    shop.db.execute("insert into users (user_id) select generate_series(4, 6); delete from users where user_id = 1")
    shop.capture()
    with shop.db.transaction():
        shop.db.execute("update users set email = 'last' where user_id = 2; insert into users (user_id) values (7)")
        shop.db.execute("truncate users, orders")
        shop.db.execute("insert into users (user_id, email) values (2, 'again'), (8, 'new')")
    shop.take_in()
    assert shop.users_in_lake() == shop.users_in_database()
    *_, (_, last) = shop.user_changes().group_by("changed_at", maintain_order=True)
    found = [(row["operation"], row["user_id"], row["email"]) for row in last.iter_rows(named=True)]
    told = [(op, str(row["user_id"]), row["email"]) for op, row in shop.told_by_triggers("users")[-1]]
    assert found[:2] == told[:2]
    assert sorted(found[2:-2]) == sorted(told[2:-2])
    assert found[-2:] == told[-2:]
    assert len(found) == 2 + 6 + 2


def test_a_transaction_larger_than_a_look_is_taken_whole_and_in_order(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "MOST_CHANGES", 10)
    shop.capture()
    with shop.db.transaction():
        shop.db.execute("insert into users (user_id) select generate_series(1, 5000)")
        shop.db.execute("update users set email = 'm' where user_id % 2 = 0")
        shop.db.execute("delete from users where user_id % 3 = 0")
    some_transactions(shop.db, 1, 40, range(1, 9))
    shop.take_in()
    assert shop.users_in_lake() == shop.users_in_database()
    assert shop.home.ledger().filter(pl.col("stream") == USERS)["received_lines"].max() > 9_000
    assert shop.gaps() == []


def test_a_new_column_flows_into_extra_fields_and_drift_tells(shop: Shop) -> None:
    shop.db.execute("insert into users (user_id, registered_at) select i, now() from generate_series(1, 30) i")
    shop.take_in()
    shop.db.execute("alter table users add column nickname text default 'nick'")
    shop.db.execute("update users set email = 'm'")
    shop.take_in()
    assert shop.user_changes().tail(1)["extra_fields"].item() == '{"nickname":"nick"}'
    source = shop.ways.sources["users"]
    verdict = judge_incoming(shop.home.lake, source, shop.home.ledger().filter(pl.col("source") == "users"))
    assert verdict.status is Status.FAILED
    assert "+ nickname (string, 30 lines)" in str(verdict.message)


def test_a_column_that_was_added_while_a_snapshot_waited_is_in_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = database.Database.begin_snapshot

    def begin_later(self: database.Database, stop: threading.Event) -> database.TableSnapshot:
        shop.db.execute("alter table users add column nickname text default 'nick'")
        return begin(self, stop)

    shop.db.execute("insert into users (user_id) values (1)")
    monkeypatch.setattr(database.Database, "begin_snapshot", begin_later)
    shop.take_in()
    assert shop.user_changes()["extra_fields"].to_list() == ['{"nickname":"nick"}']


def test_a_changed_type_raises_an_alarm_and_what_no_longer_fits_is_rejected(shop: Shop) -> None:
    shop.db.execute("insert into orders (total) values (1)")
    shop.take_in()
    connector = shop.connector()
    connector.advance(threading.Event())
    shop.db.execute("alter table orders alter column ordered_at drop default, alter column ordered_at type text")
    shop.db.execute("insert into orders (total, ordered_at) values (2, 'yesterday'), (3, '2024-01-03T10:00:00Z')")
    connector.advance(threading.Event())
    (alarm,) = (state.alarm for state in connector.states() if state.stream == ORDERS)
    assert alarm == "public.orders: ordered_at changed its type"
    connector.close()
    shop.home.ingest()
    assert shop.home.rows(RawOrderChangesRejected)["reason"].to_list() == ["wrong_type_ordered_at"]
    assert set(shop.home.rows(RawOrderChanges)["total_amount"]) == {"1.00", "3.00"}


def test_states_tell_position_lag_and_watermark(shop: Shop) -> None:
    shop.db.execute("insert into users (user_id) values (1)")
    shop.capture()
    connector = shop.connector(most_lag_mb=1)
    assert connector.states() == []
    before = dt.datetime.now(dt.UTC)
    shop.db.execute("update users set email = 'm'")
    while connector.advance(threading.Event()):
        pass
    users, orders = connector.states()
    assert (users.source, users.stream, users.alarm) == ("users", USERS, None)
    assert users.watermark is not None
    assert abs(users.watermark - before) < dt.timedelta(seconds=60)
    assert users.position == orders.position, "a table without changes is received as far as the others"
    assert users.lag == orders.lag == 0
    shop.db.execute("create table other as select repeat(md5(i::text), 9) from generate_series(1, 40000) i")
    shop.db.execute("update users set email = 'n'")
    connector.advance(threading.Event())
    states = connector.states()
    assert "MB of its log for the slot" in str(states[0].alarm)
    connector.close()


def test_a_quiet_table_gets_no_segments_and_the_slot_moves_on(shop: Shop) -> None:
    shop.db.execute("insert into users (user_id) values (1)")
    shop.capture()
    before = shop.db.execute("select confirmed_flush_lsn from pg_replication_slots").fetchall()
    shop.db.execute("create table other as select repeat(md5(i::text), 9) from generate_series(1, 40000) i")
    shop.capture()
    assert shop.db.execute("select confirmed_flush_lsn from pg_replication_slots").fetchall() > before
    shop.home.ingest()
    assert sorted(shop.home.ledger()["received_lines"]) == [0, 0, 1], "one segment says that nothing changed"
    shop.db.execute("update users set email = 'm'")
    shop.take_in()
    assert shop.users_in_lake() == shop.users_in_database()
    assert shop.gaps() == []


def test_time_never_goes_back_in_a_stream(shop: Shop) -> None:
    """The server's clock was set back: the later change still counts, also for the process after this one."""
    stream = TableStream("shop", "public.users", shop.ways.sources["users"], TableOptions(source="users"), shop.ways)
    stream.stand(None, shop.ways)
    assert [stream.at(at) for at in (5_000_000, 3_000_000, 6_000_000)] == [
        b"2000-01-01T00:00:05.000000Z", b"2000-01-01T00:00:05.000000Z", b"2000-01-01T00:00:06.000000Z",
    ]  # fmt: skip
    line = b'{"operation":"insert","changed_at":"2000-01-01T00:00:06.000000Z","sequence":1,"user_id":"1"}\n'
    stream.file.add(line)
    stream.land(FIRST_LSN)
    for ingest in (lambda: None, shop.home.ingest):
        ingest()
        again = TableStream("shop", "public.users", stream.source, stream.options, shop.ways)
        again.stand(positions(shop.home.lake, stream.folder)[stream.stream], shop.ways)
        assert again.at(1_000_000) == b"2000-01-01T00:00:06.000000Z"
