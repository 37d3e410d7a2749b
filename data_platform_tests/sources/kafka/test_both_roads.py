"""One history of a database, captured from its log and told by Debezium, gives equal tables. Not here: either road by
itself (test_debezium, sources/postgres)."""

from __future__ import annotations

from typing import Any

from data_platform.domains.commerce.contracts.sources import RawOrderChanges
from data_platform.domains.gameplay.contracts.registry import (
    PlayerChanges,
    Players,
    RawPlayerChanges,
    RawPlayerChangesRejected,
)
from data_platform.domains.gameplay.transforms.registry import clean_changes, history
from data_platform_tests.sources.kafka.conftest import Readers
from data_platform_tests.sources.kafka.test_debezium import (
    GOLDEN,
    ORDER_COLUMNS,
    ORDER_HISTORY,
    PLAYER_COLUMNS,
    PLAYER_HISTORY,
    send_all,
)
from data_platform_tests.sources.kafka.test_debezium import history as told
from data_platform_tests.support.brokers import Broker
from data_platform_tests.support.captured_shop import Shop
from data_platform_tests.support.homes import Home
from data_platform_tests.support.source_database import connected, source_server

TABLES = {
    "public.players": {"source": "players", "columns": {"id": "player_id"}},
    "public.orders": {"source": "orders", "columns": {}},
}


def play(connection: Any, statements: str) -> None:
    for line in statements.splitlines():
        if line and not line.startswith("--"):
            for statement in line.split("; "):
                connection.execute(statement)


def without_content(change: tuple[Any, ...]) -> tuple[Any, ...]:
    """A deletion says of which row; with REPLICA IDENTITY FULL also what was in it."""
    return (*change[:2], *[None] * 5) if change[1] == "delete" else change


def versions(home: Home) -> list[tuple[Any, ...]]:
    """The players' history as tables of the lake have it, without the moments, which are those of two days."""
    changes = clean_changes(home.lake.scan(RawPlayerChanges), PlayerChanges)
    columns = ("player_id", "username", "platform", "subscription_tier", "registered_at", "is_current")
    found = history(changes, Players).sort("player_id", "valid_from").select(columns).collect()
    return found.rows()


def test_both_roads_give_equal_tables(home: Home, broker: Broker, readers: Readers) -> None:
    before, _, after = (GOLDEN / "history.sql").read_text().partition("-- streaming\n")
    direct = Home(home.path.with_name("direct"))
    with source_server() as server, server.database() as dsn:
        with connected(dsn) as admin:
            play(admin, before)
            admin.execute("ALTER TABLE players REPLICA IDENTITY FULL")  # which this road asks for
            admin.execute("CREATE PUBLICATION data_platform FOR TABLE players, orders")
        shop = Shop(dsn, direct, {"tables": TABLES})
        shop.take_in()
        play(shop.db, after)
        shop.take_in()
        shop.close()
    readers.read(**send_all(broker, "recommended"))
    home.ingest()
    for road in (direct, home):
        players = told(road, RawPlayerChanges, PLAYER_COLUMNS)
        assert [without_content(row) for row in players] == PLAYER_HISTORY
        assert told(road, RawOrderChanges, ORDER_COLUMNS) == ORDER_HISTORY
        assert len(road.rows(RawPlayerChangesRejected)) == 1, "the year of infinity"
    assert versions(direct) == versions(home)
    assert len(versions(home)) > 5
