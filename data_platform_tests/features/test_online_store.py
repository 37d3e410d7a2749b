"""What every online store promises, on SQLite files, a real Redis and a real PostgreSQL; how values are written.
Not here: the HTTP API (test_feature_api), the comparison with the lake (test_serving_skew)."""

from __future__ import annotations

import datetime as dt
import json
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import polars as pl
import pytest
from pydantic import SecretStr

from data_platform.core.contract.table import Table, column
from data_platform.core.errors import PlatformError
from data_platform.core.settings import Settings, settings
from data_platform.features.online import vectors
from data_platform.features.online.configured import open_online_store
from data_platform.features.online.sqlite_store import SqliteStore
from data_platform.features.online.store import (
    OlderThanServed,
    OnlineSnapshot,
    OnlineStore,
    OnlineStoreUnavailable,
)
from data_platform_tests.support.homes import Home
from data_platform_tests.support.online_servers import PASSWORD, postgres_server, redis_server

DAY = dt.date(2024, 3, 1)
NAME = "some_features"
HOSTILE = ("'; DROP TABLE vectors; --", "../../etc/passwd", "a\x00b", "%", "*", "\ud800", "{}", "x" * 100_000, "", "ü")
KINDS = ("sqlite", "redis", "postgresql")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    with redis_server() as redis_url, postgres_server() as postgres_url:
        yield {"redis": redis_url, "postgresql": postgres_url, "sqlite": ""}


@pytest.fixture(params=KINDS)
def configured(request: pytest.FixtureRequest, servers: dict[str, str], tmp_path: Path) -> Settings:
    url = servers[request.param]
    return Settings(home=tmp_path, online_url=SecretStr(url) if url else None)


@pytest.fixture
def store(configured: Settings) -> Iterator[OnlineStore]:
    opened = open_online_store(configured)
    yield opened
    _forget(opened)
    opened.close()


def _forget(store: Any) -> None:
    """Servers last for the whole file; what a test wrote does not."""
    if hasattr(store, "_redis"):
        store._redis.flushall()
    elif hasattr(store, "_pool"):
        with store._connection() as connection:
            connection.execute("DROP SCHEMA IF EXISTS online_features CASCADE")


def snapshot(day: dt.date = DAY, version: int = 1, name: str = NAME) -> OnlineSnapshot:
    return OnlineSnapshot(name, ("mark", "rank"), day, version, "c0ffee", "digest")


def frame(ids: list[str], mark: int) -> pl.DataFrame:
    texts = [json.dumps([mark, rank]).encode() for rank in range(len(ids))]
    return pl.DataFrame({"entity_id": ids, "vector": texts}, schema={"entity_id": pl.String, "vector": pl.Binary})


def test_a_swap_replaces_everything_and_version_and_date_come_with_each_vector(store: OnlineStore) -> None:
    assert store.current(NAME) is None
    assert store.count(NAME) == 0
    assert store.read(NAME, ["a"]) == [None]
    before = dt.datetime.now(dt.UTC)
    served = store.swap(snapshot(), [frame(["a", "b"], 1), frame(["c"], 1)])
    assert served == store.current(NAME)
    assert (served.rows, store.count(NAME)) == (3, 3)
    assert before <= served.written_at <= dt.datetime.now(dt.UTC)
    found = store.read(NAME, ["b", "nobody", "a", "b"])
    assert [vector and vector.values for vector in found] == [
        {"mark": 1, "rank": 1}, None, {"mark": 1, "rank": 0}, {"mark": 1, "rank": 1},
    ]  # fmt: skip
    assert found[0] is not None
    assert (found[0].entity_id, found[0].snapshot_date, found[0].version, found[0].contract) == ("b", DAY, 1, "c0ffee")
    store.swap(snapshot(version=2), [frame(["b", "d"], 2)])
    assert [vector and vector.values["mark"] for vector in store.read(NAME, ["a", "b", "c", "d"])] == [None, 2, None, 2]
    store.swap(snapshot(version=3), [])
    assert store.read(NAME, ["b"]) == [None]
    assert (store.count(NAME), getattr(store.current(NAME), "version", None)) == (0, 3)


def test_sets_do_not_touch_each_other(store: OnlineStore) -> None:
    store.swap(snapshot(), [frame(["a"], 1)])
    store.swap(snapshot(name="other_features"), [frame(["b"], 2)])
    assert store.read(NAME, ["b"]) == [None]
    assert store.count("other_features") == 1
    for wrong in ("", "../some_features", "Some", "a;b", "a" * 60):
        with pytest.raises(ValueError, match="no name of a feature set"):
            store.read(wrong, ["a"])


def test_what_is_older_is_refused_and_changes_nothing(store: OnlineStore) -> None:
    store.swap(snapshot(version=5), [frame(["a"], 1)])
    for day, version in ((DAY - dt.timedelta(1), 9), (DAY, 4)):
        with pytest.raises(OlderThanServed, match="is older"):
            store.swap(snapshot(day, version), [frame(["a"], 2)])
    assert [vector and vector.values["mark"] for vector in store.read(NAME, ["a"])] == [1]
    store.swap(snapshot(DAY + dt.timedelta(1), 1), [frame(["a"], 3)])
    assert [vector and vector.values["mark"] for vector in store.read(NAME, ["a"])] == [3]


def test_a_swap_that_fails_leaves_what_was_served_and_nothing_else(store: OnlineStore) -> None:
    store.swap(snapshot(), [frame(["a"], 1)])

    def broken() -> Iterator[pl.DataFrame]:
        yield frame(["a", "b"], 2)
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        store.swap(snapshot(version=2), broken())
    assert [vector and vector.values["mark"] for vector in store.read(NAME, ["a", "b"])] == [1, None]
    if hasattr(store, "folder"):
        assert sorted(path.name for path in store.folder.iterdir()) == [f".{NAME}.lock", f"{NAME}.sqlite"]
    if hasattr(store, "_redis"):
        assert len(store._redis.keys("*")) == 2
    store.swap(snapshot(version=2), [frame(["b"], 2)])
    assert store.count(NAME) == 1


def test_hostile_ids_are_ids_like_others_or_nobody(store: OnlineStore) -> None:
    odd = ["'; DROP TABLE vectors; --", "../../etc/passwd", "%", "*", "{}", "ü\U0001f600", " ", "\n", "\x7f"]
    store.swap(snapshot(), [frame(odd, 7)])
    assert [vector and vector.values["rank"] for vector in store.read(NAME, odd)] == list(range(len(odd)))
    assert [v for v in store.read(NAME, [one for one in HOSTILE if one not in odd])] == [None] * 5
    assert store.count(NAME) == len(odd)


def _swap_for_ever(configured: Settings, ids: list[str], first: int) -> None:
    other = open_online_store(configured)
    for version in range(first, 1_000_000):
        other.swap(snapshot(version=version), [frame(ids, version)])


def test_readers_never_see_two_snapshots_at_once_also_when_a_writer_is_killed(
    store: OnlineStore, configured: Settings
) -> None:
    ids = [f"player-{number}" for number in range(300)]
    store.swap(snapshot(version=1), [frame(ids, 1)])
    seen: list[int] = []
    ended, faults = threading.Event(), []

    def reads() -> None:
        while not ended.is_set():
            found = store.read(NAME, ids)
            marks = {vector.values["mark"] if vector else None for vector in found}
            versions = {vector.version for vector in found if vector}
            if len(marks) != 1 or marks != versions:
                faults.append((marks, versions))
            seen.extend(versions)

    readers = [threading.Thread(target=reads) for _ in range(2)]
    for reader in readers:
        reader.start()
    writer = multiprocessing.get_context("spawn").Process(target=_swap_for_ever, args=(configured, ids, 2), daemon=True)
    writer.start()
    for _ in range(3000):
        now = store.current(NAME)
        if now is not None and now.version > 6:
            break
        time.sleep(0.02)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    ended.set()
    for reader in readers:
        reader.join()
    assert not faults
    assert len(set(seen)) > 3, "the new snapshot is seen without opening the store again"
    last = store.current(NAME)
    assert last is not None
    store.swap(snapshot(version=last.version + 1), [frame(ids, last.version + 1)])
    assert store.count(NAME) == len(ids)
    if hasattr(store, "folder"):
        assert not list(store.folder.glob("*.building")), "what a killed writer left behind goes with the next swap"


@pytest.mark.parametrize("url", ["redis://:{}@127.0.0.1:1/0", "postgresql://features:{}@127.0.0.1:1/none"])
def test_a_server_that_is_away_is_reported_in_a_sentence_without_its_password(url: str, tmp_path: Path) -> None:
    store = open_online_store(Settings(home=tmp_path, online_url=SecretStr(url.format(PASSWORD))))
    with pytest.raises(OnlineStoreUnavailable) as raised:
        store.read(NAME, ["a"])
    store.close()
    assert PASSWORD not in str(raised.value)
    assert "DATA_PLATFORM_ONLINE_URL" in str(raised.value)


def test_a_store_of_another_kind_and_a_broken_file_are_reported(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="neither redis:// nor postgresql://"):
        open_online_store(Settings(home=tmp_path, online_url=SecretStr("mysql://root:secret@db")))
    (tmp_path / "online").mkdir()
    (tmp_path / "online" / f"{NAME}.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(PlatformError, match="is not an online store's file"):
        open_online_store(Settings(home=tmp_path)).read(NAME, ["a"])


class Wide(Table):
    """Every type a feature may have."""

    key = "testing/wide_features"
    partition = "snapshot_date"
    primary_key = ("snapshot_date", "player_id")
    owner = "team:gameplay"

    snapshot_date: dt.date = column("Day.")
    player_id: str = column("Player.")
    whole: int | None = column("Whole.")
    real: float | None = column("Real.")
    text: str | None = column("Text.")
    flag: bool | None = column("Flag.")
    day: dt.date | None = column("Date.")


values = st.fixed_dictionaries(
    {
        "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
        "real": st.none() | st.floats(),
        "text": st.none() | st.text(),
        "flag": st.none() | st.booleans(),
        "day": st.none() | st.dates(dt.date(1, 1, 1)),
    }
)


@hypothesis.given(st.lists(values, min_size=1, max_size=20))
def test_values_read_back_as_the_same_bits(rows: list[dict[str, Any]]) -> None:
    keyed = [{"snapshot_date": DAY, "player_id": str(number), **row} for number, row in enumerate(rows)]
    written = vectors.vectors(Wide, pl.DataFrame(keyed, schema=Wide.schema()))
    for row, text in zip(rows, written["vector"], strict=True):
        real = row["real"] if row["real"] is not None and math.isfinite(row["real"]) else None
        expected = [row["whole"], real, row["text"], row["flag"], row["day"] and row["day"].isoformat()]
        assert repr(json.loads(text)) == repr(expected)


def three_players(day: dt.date, whole: int) -> pl.DataFrame:
    players = [{"snapshot_date": day, "player_id": f"p-{n}", "whole": whole} for n in range(3)]
    return pl.DataFrame(players, schema=Wide.schema())


def test_the_newest_day_of_a_table_is_served_from_the_lake(home: Home) -> None:
    store = open_online_store(settings())
    home.lake.replace(Wide, three_players(DAY, 1), [DAY])
    newer = DAY + dt.timedelta(1)
    version = home.lake.replace(Wide, three_players(newer, 2), [newer]).version
    assert vectors.newest_day(home.lake, Wide) == newer
    served = vectors.serve_day(home.lake, store, Wide, newer, version)
    assert (served.rows, served.version, served.contract) == (3, version, Wide.version())
    assert served.as_of == dt.datetime(2024, 3, 3, tzinfo=dt.UTC)
    found = store.read("wide_features", ["p-1"])[0]
    assert found is not None
    assert found.values == {"whole": 2, "real": None, "text": None, "flag": None, "day": None}
    same = vectors.snapshot_of(home.lake, Wide, newer, version)
    home.lake.replace(Wide, three_players(newer, 3), [newer])
    changed = vectors.snapshot_of(home.lake, Wide, newer, version + 1)
    assert (same.source == served.source, changed.source == served.source) == (True, False)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_vectors_are_built_by_a_thread_that_gives_way(home: Home) -> None:
    found: list[int] = []

    class Watched(SqliteStore):
        def _replace(self, snapshot: OnlineSnapshot, parts: Iterable[pl.DataFrame]) -> OnlineSnapshot:
            found.append(_niceness())
            return super()._replace(snapshot, parts)

    version = home.lake.replace(Wide, three_players(DAY, 1), [DAY]).version
    before = _niceness()
    vectors.serve_day(home.lake, Watched(home.path / "online"), Wide, DAY, version)
    assert (found, _niceness()) == ([19], before)


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
