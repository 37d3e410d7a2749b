"""Sections and databases that cannot be captured as they are: what is said, with the statement that mends it.
Not here: capture that works."""

from __future__ import annotations

import re
import threading
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from data_platform.core.errors import PlatformError
from data_platform.core.settings import PROJECT_ROOT
from data_platform.sources.compressed_lines import LineFile
from data_platform.sources.connectors import StreamState, sections
from data_platform.sources.postgres.connector import connect, external_tables
from data_platform.sources.postgres.options import Options, TableOptions
from data_platform.sources.postgres.table_stream import FIRST_LSN, SegmentFile
from data_platform.sources.segments import Segment, read_segment
from data_platform.sources.streams import read_once
from data_platform_tests.support.captured_shop import ORDERS, TITLE, USERS, Shop
from data_platform_tests.support.source_database import SourceServer, connected

FAULTS = {
    "alter table users replica identity default": "ALTER TABLE public.users REPLICA IDENTITY FULL",
    "alter publication data_platform drop table users": "ALTER PUBLICATION data_platform ADD TABLE public.users",
    "drop publication data_platform": "CREATE PUBLICATION data_platform FOR TABLE public.users, public.orders",
    "alter publication data_platform set (publish = 'insert')": (
        "ALTER PUBLICATION data_platform SET (publish = 'insert, update, delete, truncate')"
    ),
}


def advance(shop: Shop, **changes: Any) -> None:
    connector = shop.connector(**changes)
    try:
        connector.advance(threading.Event())
    finally:
        connector.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_database_lacks_is_said_with_the_statement_that_mends_it(shop: Shop, fault: str) -> None:
    shop.db.execute(fault)
    with pytest.raises(PlatformError, match=r"\[postgres.shop\]") as told:
        advance(shop)
    assert told.value.remedy == FAULTS[fault]
    shop.db.execute(told.value.remedy)
    advance(shop)


REFUSED = {
    "alter table users drop constraint users_pkey": "public.users has no primary key",
    "alter table users drop constraint users_pkey, add primary key (user_id) deferrable": "no unique index that holds",
    "alter table users drop password": "has no column password",
    "alter table users add operation text": "The column operation .* would be operation, as change capture itself",
    "alter table orders drop currency": "no column gives currency, without which raw/order_changes takes no line",
    "drop table users": "There is no table public.users",
    "alter table users rename to u; create view users as select * from u": "is no ordinary table",
    "alter publication data_platform set table users where (country = 'PL'), orders": "with a row filter",
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_taken_over_right_is_refused(shop: Shop, fault: str) -> None:
    shop.db.execute(fault)
    with pytest.raises(PlatformError, match=REFUSED[fault]):
        advance(shop)


WRONG = [
    ({"dsn": "host=/nowhere password=s3cret ="}, "dsn: it is no connection string"),
    ({"slots": "x"}, "slots: Extra inputs are not permitted.*Did you mean slot"),
    ({"tables": {"users": "users"}}, r"users must be written as schema.table"),
    ({"tables": {"public.users": "user"}}, "There is no landing source user. Did you mean users"),
    ({"tables": {"public.users": "player_events"}}, "takes no changes of rows. Sources that do: campaign_participants"),
    ({"tables": {}}, "tables: Dictionary should have at least 1 item"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_options_that_are_wrong_are_refused_before_a_connection(shop: Shop, options: Any, said: str) -> None:
    with pytest.raises(PlatformError, match=said) as told:
        connect(TITLE, shop.options | options, shop.ways)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": {"mail": "email"}}, "has no column mail. Did you mean email"),
        ({"columns": {"country": "land"}}, "has no field land"),
        ({"columns": {"country": "email"}}, "would be email, as the column email"),
        ({"leave_out": ["user_id"]}, "user_id names the rows and cannot be left out"),
        ({"key": ["email"]}, "no unique index that holds at once is of exactly email"),
    ],
)
def test_a_table_whose_options_do_not_fit_is_refused(shop: Shop, options: Any, said: str) -> None:
    with pytest.raises(PlatformError, match=said):
        advance(shop, tables={"public.users": {"source": "users"} | options})


def test_a_wrong_password_is_told_without_it(shop: Shop) -> None:
    dsn = psycopg.conninfo.make_conninfo(shop.dsn, user="nobody", password="s3cret")
    with pytest.raises(PlatformError, match="The database cannot be read") as told:
        advance(shop, dsn=dsn)
    assert "s3cret" not in str(told.value) + repr(shop.connector(dsn=dsn)._options)


def test_a_slot_of_another_database_is_left_alone(shop: Shop, server: SourceServer) -> None:
    with connected(server.dsn) as other:
        other.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [shop.slot])
        try:
            with pytest.raises(PlatformError, match="belongs to something else"):
                advance(shop)
        finally:
            other.execute("select pg_drop_replication_slot(%s)", [shop.slot])


def test_a_section_has_a_slot_of_its_own() -> None:
    options = Options(dsn=SecretStr("host=/nowhere"), tables={"public.users": TableOptions(source="users")})
    assert [options.of_section(name).slot for name in ("shop", "Shop-2")] == [
        "data_platform_shop",
        "data_platform_shop_2",
    ]


def test_a_change_without_the_row_before_it_stops_and_says_what_to_do(shop: Shop) -> None:
    shop.db.execute("insert into users (user_id, bio) values (1, repeat('x', 9000))")
    shop.capture()
    shop.db.execute("alter table users replica identity default; update users set email = 'm'")
    shop.db.execute("alter table users replica identity full")
    with pytest.raises(PlatformError, match="its replica identity was not FULL") as told:
        shop.capture()
    assert "drop the slot" in told.value.remedy
    shop.db.execute("select pg_drop_replication_slot(%s)", [shop.slot])
    shop.take_in()
    assert shop.users_in_lake() == shop.users_in_database()


def test_a_key_of_ones_own_names_the_rows(shop: Shop) -> None:
    """The source's rows are named by other columns than the table's: a change of theirs is a deletion and an insert."""
    shop.db.execute("alter table users add column id bigserial, drop constraint users_pkey, add primary key (id)")
    shop.db.execute("create unique index on users (user_id)")
    tables = {"public.users": {"source": "users", "leave_out": ["password"], "key": ["user_id"]}}
    shop.capture(tables=tables)
    shop.db.execute("insert into users (user_id) values (1); update users set user_id = 2; truncate users")
    shop.db.execute("insert into users (user_id) values (3)")
    shop.capture(tables=tables)
    shop.home.ingest()
    assert shop.users_in_lake().keys() == {"3"}
    told = shop.user_changes().select("operation", "user_id").rows()
    assert told[1:4] == [("delete", "1"), ("insert", "2"), ("delete", "2")]


def test_what_a_section_reads_is_known_without_a_connection() -> None:
    tables = {"public.users": "users", "shop.orders": {"source": "orders"}}
    found = external_tables(TITLE, {"dsn": "host=/nowhere", "tables": tables})
    assert [(one.key, one.kind, one.source) for one in found] == [
        (("postgres", "shop", "public.users"), "postgres", "users"),
        (("postgres", "shop", "shop.orders"), "postgres", "orders"),
    ]
    state = StreamState("users", "postgres:shop/public.users", 7)
    assert [one.of([state]) for one in found] == [[state], []]
    assert TableOptions(source="s").field("a") == "a"


def test_rows_that_repeat_a_large_value_are_not_taken_for_a_bomb(tmp_path: Any) -> None:
    """90 MB that pack 10,000 times: without bytes to skip, ingestion would put the segment into quarantine."""
    line = b'{"a":"' + b"x" * 999_990 + b'"}\n'
    file = SegmentFile(tmp_path, "s")
    for _ in range(90):
        file.add(line)
    file.settle()
    segment = Segment("s", 0, FIRST_LSN, file.lines)
    file.land(segment)
    path = tmp_path / segment.file_name
    assert sum(chunk.text.count(b"\n") for chunk in LineFile(path).chunks()) == 90  # type: ignore[union-attr]
    assert read_segment(path) == segment
    assert path.stat().st_size < 2_000_000


def test_what_the_guide_tells_the_administrator_is_enough(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its statements as they stand, but for the role's name, and its section."""
    guide = (PROJECT_ROOT / "docs" / "guides" / "streams.md").read_text()
    chapter = guide.partition("\n## PostgreSQL\n")[2].partition("\n## ")[0]
    (statements,), (section,) = (
        re.findall(rf"```{language}\n(.*?)```", chapter, re.DOTALL) for language in ("sql", "toml")
    )
    shop.db.execute("drop publication data_platform")
    shop.db.execute("alter table users replica identity default; alter table orders replica identity default")
    role = f"guided_{shop.slot}"
    left_out = "ALTER SYSTEM" if shop.db.info.server_version >= 160_000 else "ALTER SYSTEM|pg_log_standby_snapshot"
    for statement in re.sub("--.*", "", statements).split(";"):
        if re.search(left_out, statement):
            continue
        named = re.sub(r"(ROLE|TO) data_platform", rf"\1 {role}", statement)
        shop.db.execute(named.encode())
    try:
        dsn = psycopg.conninfo.make_conninfo(shop.dsn, user=role, password="choose-one")
        monkeypatch.setenv("SHOP_DSN", dsn)
        shop.home.path.mkdir()
        file = shop.home.path / "sources.toml"
        file.write_text(section)
        file.chmod(0o600)
        shop.db.execute(
            "insert into users (user_id) values (1); insert into orders (customer, total) values (1, 12.30)"
        )
        (one,) = sections(file)
        read_once(one, shop.ways)
        shop.db.execute("update users set email = 'm'")
        states = read_once(one, shop.ways)
        assert {state.stream for state in states} == {USERS, ORDERS}
        shop.home.ingest()
        assert shop.users_in_lake() == shop.users_in_database()
        assert shop.orders_in_lake() == shop.orders_in_database()
        shop.db.execute(f"revoke select on users from {role}")  # noqa: S608
        with pytest.raises(PlatformError, match=r"GRANT SELECT ON public\.users"):
            read_once(one, shop.ways)
    finally:
        shop.db.execute(f"drop owned by {role}; drop role {role}")
