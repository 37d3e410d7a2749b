"""What is published to PostgreSQL is what the lake says, to the cent; only what changed is loaded; readers may read it
and nothing else; errors say what to do and never the password. On a real PostgreSQL. Not here: readers during a
publication (test_publication_readers)."""

from __future__ import annotations

import datetime as dt
import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import polars as pl
import psycopg
import pytest

from data_platform.bi.publishing import publish, require_published
from data_platform.core.contract.published import MonthlySummary, Published
from data_platform.core.contract.table import Table, column
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform_tests.support.published_lake import Orders, Server, Shops, orders, write

JANUARY, FEBRUARY = dt.date(2026, 1, 31), dt.date(2026, 2, 1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(str(tmp_path / "lake"))
    for day in (dt.date(2026, 1, 1), JANUARY, FEBRUARY, dt.date(2027, 12, 31)):
        write(found, day, 200, cents=123_45)
    return found


def published(table: type[Table]) -> list[str]:
    assert table.published
    return list(table.published.columns(table))


def lake_rows(lake: Lake, table: type[Table] = Orders) -> pl.DataFrame:
    return lake.scan(table).select(published(table)).sort(table.primary_key).collect()


def test_every_value_is_the_lake_s(server: Server, lake: Lake) -> None:
    done = server.publish(lake)
    assert done[0].loaded == ("2026-01", "2026-02", "2027-12")
    assert (done[0].rows, done[0].total) == (800, 800)
    assert server.table(Orders).equals(lake_rows(lake))
    types = server.rows(
        "SELECT column_name, format_type(atttypid, atttypmod) FROM information_schema.columns JOIN pg_attribute"
        " ON attname = column_name AND attrelid = 'analytics.orders'::regclass"
        " WHERE table_schema = 'analytics' AND table_name = 'orders'"
    )
    assert {"amount": "numeric(18,2)", "ordered_at": "timestamp with time zone", "details": "jsonb"}.items() <= dict(
        types
    ).items()
    assert "email" not in dict(types), "what identifies a person by itself is not published unless the contract says so"


VALUES = st.fixed_dictionaries(
    {
        "customer": st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
        "amount": st.decimals(-(10**15), 10**15, places=2),
        "pieces": st.integers(-(2**56), 2**56),
        "weight": st.none() | st.floats(),
        "is_gift": st.none() | st.booleans(),
        "ordered_at": st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(dt.UTC)),
    }
)


@hypothesis.settings(max_examples=12)
@hypothesis.given(st.lists(VALUES, min_size=1, max_size=40))
@hypothesis.example(
    [{"customer": text} for text in ("", "\\.", "\\N", "NULL", '"', "a,b", " x ", "a\r\nb", "ü—😀", None)]
)
def test_any_value_comes_through(running: Server, tmp_path_factory: Any, values: list[dict[str, Any]]) -> None:
    plain = orders(JANUARY, len(values)).to_dicts()
    frame = pl.DataFrame([row | given for row, given in zip(plain, values, strict=True)], schema=Orders.schema())
    found = Lake(str(tmp_path_factory.mktemp("lake")))
    found.replace(Orders, frame, [JANUARY])
    running.publish(found)
    assert running.table(Orders).equals(frame.select(published(Orders)).sort(Orders.primary_key))


def test_publishing_again_changes_nothing_and_a_corrected_day_its_month_alone(server: Server, lake: Lake) -> None:
    def partitions() -> dict[Any, Any]:
        found = server.rows("SELECT part, partition_name, published_at FROM analytics_internal.published_parts")
        return {part: rest for part, *rest in found}

    server.publish(lake)
    before = partitions()
    assert not server.publish(lake)[0].loaded
    assert partitions() == before

    write(lake, JANUARY, 199, cents=5)
    assert server.publish(lake)[0].loaded == ("2026-01",)
    after = partitions()
    assert {part for part in before if before[part] != after[part]} == {"2026-01"}
    assert server.table(Orders).equals(lake_rows(lake))

    lake.replace(Orders, Orders.empty(), [FEBRUARY])
    done = server.publish(lake)[0]
    assert (done.loaded, done.removed) == ((), ("2026-02",))
    assert server.table(Orders).equals(lake_rows(lake))
    left = server.rows("SELECT relname FROM pg_class WHERE relname LIKE 'orders_20%' AND relkind = 'r'")
    assert {name[:14] for (name,) in left} == {"orders_2026_01", "orders_2027_12"}, "what was replaced is gone"


def test_a_table_that_was_dropped_is_published_anew(server: Server, lake: Lake) -> None:
    server.publish(lake)
    with server.as_admin() as connection:
        connection.execute("DROP TABLE analytics.orders CASCADE")
    assert server.publish(lake)[0].loaded == ("2026-01", "2026-02", "2027-12")
    assert server.table(Orders).equals(lake_rows(lake))
    assert not server.publish(lake)[0].loaded


def test_a_key_may_be_in_another_order_than_the_columns(server: Server, tmp_path: Path) -> None:
    class Visits(Table):
        """Visits by whom, then when."""

        key = "testing/visits"
        partition = "day"
        primary_key = ("day", "visitor")
        owner = "team:testing"
        published = Published()

        visitor: str = column("Who.")
        day: dt.date = column("Day.")

    found = Lake(str(tmp_path / "visits"))
    rows = pl.DataFrame({"visitor": ["a", "b"], "day": [JANUARY] * 2}, schema=Visits.schema())
    for _ in range(2):
        found.replace(Visits, rows, [JANUARY])
        server.publish(found, Visits)
        assert server.table(Visits).equals(rows)


def test_a_random_history_ends_as_the_lake_does(server: Server, lake: Lake) -> None:
    chance = random.Random(5)
    for _ in range(12):
        for day in chance.sample([dt.date(2026, month, day) for month in (1, 2, 3) for day in (1, 15, 28)], 3):
            write(lake, day, chance.choice((0, 1, 30)), cents=chance.randrange(10_000))
        server.publish(lake)
        assert server.table(Orders).equals(lake_rows(lake))


def test_a_table_without_days_is_replaced_whole(server: Server, lake: Lake) -> None:
    for names in (["a", "b"], ["b", "c", "d"], []):
        frame = pl.DataFrame({"table": names, "order": [None] * len(names)}, schema=Shops.schema())
        lake.replace(Shops, frame, [])
        server.publish(lake, Shops)
        assert server.table(Shops)["table"].to_list() == names


def test_a_query_of_a_month_looks_at_one_partition_and_by_the_declared_index(server: Server, lake: Lake) -> None:
    server.publish(lake)

    def plan(where: str) -> str:
        with psycopg.connect(server.url) as connection:
            connection.execute("SET enable_seqscan = off")
            query = f"EXPLAIN SELECT sum(amount) FROM analytics.orders WHERE {where}"  # noqa: S608
            return "\n".join(line for (line,) in connection.execute(query.encode()).fetchall())

    assert {*re.findall(r"orders_(\d+_\d+)", plan("order_date = '2026-02-01'"))} == {"2026_02"}
    assert "customer_order_date_idx" in plan("customer = 'c-1' AND order_date = '2026-02-01'")


def test_summaries_are_the_sums_of_the_table_and_follow_it(server: Server, lake: Lake) -> None:
    def by_hand() -> list[tuple[Any, ...]]:
        month = pl.col("order_date").dt.month_start()
        sums = lake.scan(Orders).group_by(month, "currency").agg(pl.len().alias("n"), pl.sum("amount", "pieces"))
        return sums.sort("order_date", "currency").collect().rows()

    def seen() -> list[tuple[Any, ...]]:
        return server.rows("SELECT * FROM analytics.orders_by_month ORDER BY month, currency")

    assert server.publish(lake)[0].summaries == ("orders_by_month",)
    assert seen() == by_hand()
    write(lake, JANUARY, 10, cents=1)
    assert server.publish(lake)[0].summaries == ("orders_by_month",)
    assert seen() == by_hand()
    assert isinstance(seen()[0][3], Decimal)
    assert server.publish(lake)[0].summaries == (), "nothing changed, nothing is refreshed"


def test_a_reader_reads_what_is_published_and_nothing_else(server: Server, lake: Lake) -> None:
    server.publish(lake)
    allowed = ("orders", "orders_by_month", "publications")
    refused = (
        "INSERT INTO analytics.orders DEFAULT VALUES",
        "DELETE FROM analytics.orders",
        "UPDATE analytics.orders SET amount = 0",
        "TRUNCATE analytics.orders",
        "DROP TABLE analytics.orders",
        "CREATE TABLE analytics.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "REFRESH MATERIALIZED VIEW analytics.orders_by_month",
        "SELECT * FROM analytics_internal.published_parts",
        "SELECT * FROM analytics_internal.alembic_version",
        "SELECT * FROM {partition}",
        "SET ROLE features",
    )
    partition = server.rows("SELECT partition_name FROM analytics_internal.published_parts LIMIT 1")[0][0]
    with server.as_reader() as reader:
        for name in allowed:
            rows = reader.execute(psycopg.sql.SQL("SELECT * FROM analytics.{}").format(psycopg.sql.Identifier(name)))
            assert rows.fetchall(), name
        for statement in refused:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement.format(partition=f'analytics_internal."{partition}"').encode())
        found = reader.execute("SELECT table_name, first_part, last_part, row_count FROM analytics.publications")
        assert found.fetchall() == [("orders", "2026-01", "2027-12", 800)]


def test_without_the_right_to_create_the_role_one_is_told_what_to_do(server: Server, lake: Lake) -> None:
    with server.as_admin() as admin:
        admin.execute("ALTER ROLE analytics_reader RENAME TO kept_aside")
        try:
            with pytest.raises(PlatformError, match=r"(?s)refused: permission denied.*CREATE ROLE analytics_reader"):
                server.publish(lake)
        finally:
            admin.execute("ALTER ROLE kept_aside RENAME TO analytics_reader")
    assert server.publish(lake)


class OrdersInTons(Table):
    """Orders, whose weight became a text."""

    key = "testing/orders"
    partition = "order_date"
    primary_key = ("order_date", "order_id")
    owner = "team:testing"
    published = Published()

    order_date: dt.date = column("Day.")
    order_id: str = column("The order.")
    weight: str | None = column("How heavy.")


class OrdersByNumber(Table):
    """Orders with another key."""

    key = "testing/orders"
    partition = "order_date"
    primary_key = ("order_date", "pieces")
    owner = "team:testing"
    published = Published()

    order_date: dt.date = column("Day.")
    pieces: int = column("How many.")


@pytest.mark.parametrize(
    ("changed", "message"),
    [(OrdersInTons, "weight is DOUBLE.* there and TEXT"), (OrdersByNumber, "key is order_date, order_id there")],
)
def test_what_cannot_be_changed_under_readers_is_refused_and_leaves_everything(
    server: Server, lake: Lake, changed: type[Table], message: str
) -> None:
    server.publish(lake)
    done = publish(lake, server.url, [changed])
    with pytest.raises(PlatformError, match=rf"testing/orders was not published: .*{message}.*new name"):
        require_published(done)
    assert server.table(Orders).equals(lake_rows(lake))


def test_nul_is_replaced_where_postgresql_cannot_hold_it_and_reported(server: Server, lake: Lake) -> None:
    names = ["a\0b", "plain", "\0\0"]
    details = [r'{"\u0000k": "\\\u0000\u0000 \\u0000"}', r'{"k": "\\u0000"}', None]
    frame = orders(FEBRUARY, 3).with_columns(customer=pl.Series(names), details=pl.Series(details))
    lake.replace(Orders, frame, [FEBRUARY])
    lake.replace(Shops, pl.DataFrame({"table": ["sh\0p", "shop"], "order": [1, 2]}), [])
    done = publish(lake, server.url, [Orders, Shops])
    require_published(done)
    assert [dict(one.nul_rows) for one in done] == [{"customer": 2, "details": 1}, {"table": 1}]
    found = server.rows(
        "SELECT customer, details FROM analytics.orders WHERE extract(month FROM order_date) = 2 ORDER BY order_id"
    )
    assert found == [
        ("a\ufffdb", {"\ufffdk": "\\\ufffd\ufffd \\u0000"}), ("plain", {"k": "\\u0000"}), ("\ufffd\ufffd", None)
    ]  # fmt: skip
    assert server.table(Shops)["table"].to_list() == ["shop", "sh\ufffdp"]
    assert lake.scan(Shops).collect()["table"].to_list() == ["sh\0p", "shop"], "the lake keeps what was received"


def test_a_text_postgresql_cannot_hold_keeps_its_table_back_and_no_other(server: Server, lake: Lake) -> None:
    server.publish(lake)
    before = server.table(Orders)
    beyond = '{"secret": 1e99999999}'  # JSON, but no number of PostgreSQL's
    lake.replace(Orders, orders(FEBRUARY, 3).with_columns(details=pl.lit(beyond)), [FEBRUARY])
    write(lake, JANUARY, 1)
    lake.replace(Shops, pl.DataFrame({"table": ["a"], "order": [1]}), [])
    done = publish(lake, server.url, [Orders, Shops])
    with pytest.raises(PlatformError, match=r"testing/orders was not published: .*overflow") as raised:
        require_published(done)
    assert "secret" not in str(raised.value), "rows are not quoted"
    assert server.table(Orders).equals(before), "not even the month that would have gone in"
    assert server.table(Shops).height == 1


def test_a_damaged_file_of_the_lake_keeps_its_table_back_and_is_named(server: Server, lake: Lake) -> None:
    server.publish(lake)
    before = server.table(Orders)
    write(lake, FEBRUARY, 7)
    [path] = lake.snapshot(Orders).paths(FEBRUARY, FEBRUARY)
    Path(lake.uri(Orders), path).write_bytes(b"PAR1")
    lake.replace(Shops, pl.DataFrame({"table": ["a"], "order": [1]}), [])
    done = publish(lake, server.url, [Orders, Shops])
    with pytest.raises(PlatformError, match=rf"testing/orders was not published: .*{Path(path).name}"):
        require_published(done)
    assert server.table(Orders).equals(before)
    assert server.table(Shops).height == 1


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (Published(indexes=(("nothing",),)), "nothing"),
        (Published(indexes=(("email",),)), "withheld"),
        (Published(summaries=(MonthlySummary("s", ("customer",), ("amount",)),)), "null"),
        (Published(summaries=(MonthlySummary("s", ("currency",), ("weight",)),)), "neither whole numbers nor money"),
    ],
)
def test_a_declaration_that_contradicts_the_contract_fails_at_import(declaration: Published, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        type("Wrong", (Orders,), {"__doc__": "x", "key": "testing/wrong", "published": declaration})


def test_rows_of_tenants_are_not_summed_up_for_every_reader() -> None:
    assert Orders.published is not None
    assert Orders.published.summaries
    with pytest.raises(TypeError, match="several tenants"):
        type("Wrong", (Orders,), {"__doc__": "x", "key": "testing/wrong", "tenant": "currency"})
