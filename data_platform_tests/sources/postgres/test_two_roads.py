"""One history of a database by both roads, captured from the database and told by a real Debezium, makes equal tables.
Not here: what each road does by itself (test_capture, kafka/test_debezium)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from data_platform.core.contract.received import ReceivedChanges
from data_platform.core.discovery import landing_sources
from data_platform.domains.commerce.contracts.sources import RawOrderChanges, RawOrderChangesRejected
from data_platform.domains.gameplay.contracts.registry import RawPlayerChanges, RawPlayerChangesRejected
from data_platform.sources.connectors import Ways
from data_platform.sources.kafka.debezium import Layout
from data_platform.sources.kafka.lines import lines_of_envelopes
from data_platform.sources.kafka.options import options_of
from data_platform.sources.postgres.connector import connect
from data_platform.sources.segments import write_segment
from data_platform_tests.support.homes import Home
from data_platform_tests.support.source_database import SourceServer, connected

GOLDEN = Path(__file__).parents[1] / "kafka" / "golden"
TOPICS: dict[str, Any] = {
    "shop.public.players": {"source": "players", "columns": {"id": "player_id"}, "decimals": {}},
    "shop.public.orders": {"source": "orders", "decimals": {"total_amount": 2}, "full_before": True},
}
REFUSED = {"shop.public.players": ["refused_out_of_range_registered_at"], "shop.public.orders": []}
"""Of Debezium's messages: infinity is no moment. By our road the line is rejected too."""
OF_ROAD = {"received_at", "source_file", "source_line", "changed_at", "change_date", "sequence", "extra_fields"}
"""What says when and by which road a change came."""
ALIKE = ("rate", "referrer", "profile")
"""Columns that no contract knows and that Debezium writes one way whatever it is set to."""
NAMED = {"public.players": {"source": "players", "columns": {"id": "player_id"}}, "public.orders": "orders"}


def captured(home: Home, dsn: str) -> None:
    """The golden history again, by our own road. Players have their whole old rows here."""
    before, _, after = (GOLDEN / "history.sql").read_text().partition("-- streaming\n")
    with connected(dsn) as database:
        play(database, before)
        database.execute("alter table players replica identity full")
        database.execute("create publication data_platform for table players, orders")
        ways = Ways(home.lake, home.landing, {source.name: source for source in landing_sources()})
        connector = connect("postgres.shop", {"dsn": dsn, "slot": "two_roads", "tables": NAMED}, ways)
        while connector.advance(threading.Event()):
            pass
        play(database, after)
        while connector.advance(threading.Event()):
            pass
        connector.close()
        database.execute("select pg_drop_replication_slot('two_roads')")
    home.ingest()


def play(database: Any, history: str) -> None:
    for statement in history.splitlines():
        if statement and not statement.startswith("--"):
            database.execute(statement)


def told_by_debezium(home: Home) -> None:
    options = options_of(
        "kafka.shop", {"bootstrap": "b", "format": "debezium", "time_mode": "isostring", "topics": TOPICS}
    )
    sources = {source.name: source for source in landing_sources()}
    sent = [json.loads(line) for line in (GOLDEN / "recommended.ndjson").read_text().splitlines()]
    for topic, said in TOPICS.items():
        messages = [one for one in sent if one["topic"] == topic]
        keys, values = ([encoded(one[part]) for one in messages] for part in ("key", "value"))
        reads = Layout.of(options, topic, sources[said["source"]])
        lines = lines_of_envelopes(range(len(keys)), keys, values, reads.line_of)
        assert [reason for _, reason in lines.refused] == REFUSED[topic]
        folder = home.landing / said["source"]
        stream = f"kafka:shop/{topic}/0"
        write_segment(folder, stream, 0, len(keys), lines.text, runs=lines.runs, refused=lines.refused)
    home.ingest()


def encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def history(home: Home, table: type[ReceivedChanges]) -> Iterator[dict[str, Any]]:
    """Every change in order; of a deletion its key, which is all that Debezium knows of one of players."""
    for row in home.rows(table).sort("source_file", "source_line").iter_rows(named=True):
        if table is RawPlayerChanges and row["operation"] == "delete":
            yield {"operation": "delete", "player_id": row["player_id"]}
            continue
        extra = json.loads(row["extra_fields"] or "{}")
        yield {name: value for name, value in row.items() if name not in OF_ROAD} | {
            name: extra[name] for name in ALIKE if extra.get(name) is not None
        }


def test_the_same_history_by_both_roads_makes_equal_tables(server: SourceServer, home: Home, tmp_path: Any) -> None:
    other = Home(tmp_path / "other")
    with server.database() as dsn:
        captured(home, dsn)
    told_by_debezium(other)
    for table, rejected, changes in (
        (RawPlayerChanges, RawPlayerChangesRejected, 11),
        (RawOrderChanges, RawOrderChangesRejected, 5),
    ):
        ours, theirs = list(history(home, table)), list(history(other, table))
        assert ours == theirs
        assert len(ours) == changes
        assert len(home.rows(rejected)) == len(other.rows(rejected)) == (table is RawPlayerChanges)
    kept = home.rows(RawOrderChanges).select(pl.col("extra_fields").str.json_path_match("$.receipt").str.len_chars())
    assert kept.to_series().drop_nulls().to_list() == [10_000, 10_000], "a large value that no change touched"
