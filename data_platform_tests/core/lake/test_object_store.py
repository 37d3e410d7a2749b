"""A lake in an object store does what one in a folder does, says so when it cannot be used, and tells no secret.
Against moto's server, which speaks S3 (object_store). Not here: what the tables, features and commands mean."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import polars as pl
import pytest

from data_platform.core.attempts import TRANSIENT_FAULTS
from data_platform.core.contract.table import contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake.commits import Position
from data_platform.core.lake.damage import damaged_files
from data_platform.core.lake.files import LakeUnavailable
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake, StaleWriter
from data_platform.core.settings import settings
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.commerce.contracts.star import FctOrders, FctOrderVersions
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.registry import Players
from data_platform.features import FeatureStore, training_sets
from data_platform.features.online.configured import open_online_store
from data_platform.features.online.vectors import serve_day
from data_platform.operations import maintenance
from data_platform_tests.core.lake.test_concurrency import (
    ROWS,
    TABLE,
    assert_nothing_lost,
    day_of,
    in_processes,
    replace_own_days,
    succeeded,
    version_of_a_day,
)
from data_platform_tests.features import test_training_set_pins as pins
from data_platform_tests.features import test_training_sets as sets
from data_platform_tests.support.command_line import Run, assert_one_paragraph
from data_platform_tests.support.commerce_homes import compute_and_publish, contents, drop, item, order
from data_platform_tests.support.feature_rows import publish
from data_platform_tests.support.homes import COMPUTED_GROUPS, Home, all_tables, assert_same_tables, event
from data_platform_tests.support.object_store import (
    BUCKET,
    KEY_ID,
    OTHER_KEY_ID,
    SECRET,
    HomeOnStore,
    object_store,
    options_of,
)

NOBODY = "http://127.0.0.1:9"
"""A port that nothing listens on."""
OTHER_KEY = {"AWS_ACCESS_KEY_ID": OTHER_KEY_ID}
DAYS = [dt.date(2024, 1, 3), dt.date(2024, 1, 4)]


@dataclass(frozen=True)
class Store:
    """A bucket, and what lets one in."""

    url: str
    options: dict[str, str]

    def lake(self, name: str, **other: str) -> Lake:
        return Lake(f"{self.url}/{name}", self.options | other)

    def home(self, path: Path, name: str) -> HomeOnStore:
        return HomeOnStore(path, url=f"{self.url}/{name}", options=self.options)

    def sizes(self, name: str) -> dict[str, int]:
        """Path → bytes of every object of a lake, as the server tells another client than ours."""
        o = self.options
        s3 = boto3.client(
            "s3", aws_access_key_id=o["AWS_ACCESS_KEY_ID"], aws_secret_access_key=o["AWS_SECRET_ACCESS_KEY"],
            region_name=o["AWS_REGION"], endpoint_url=o["AWS_ENDPOINT_URL"],
        )  # fmt: skip
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
        return {one["Key"].removeprefix(f"{name}/"): one["Size"] for page in pages for one in page.get("Contents", ())}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with object_store() as (url, options):
        yield Store(url, options)


def arrive_and_build(home: Home) -> None:
    """Two days of events and a registration through Dagster, then an event that is late."""
    tables = [table.key for table in all_tables() if table.table_group() in COMPUTED_GROUPS]
    registered = {"player_id": "p-1", "operation": "insert", "changed_at": "2024-01-03T08:00:00Z", "country": "DE"}
    home.drop("first.ndjson", [registered], "players")
    played = [
        event(event_id=f"{day}-{n}", player_id=f"p-{n % 3}", timestamp=f"{day}T1{n}:00:00Z")
        for day in DAYS
        for n in range(6)
    ]
    home.drop("first.ndjson", [*played, played[0], "broken"])
    home.build(tables)
    home.drop("late.ndjson", [event(event_id="late", player_id="p-9", timestamp=f"{DAYS[0]}T12:00:00Z")])
    home.build(tables)


@pytest.fixture(scope="module")
def built(store: Store, tmp_path_factory: pytest.TempPathFactory) -> HomeOnStore:
    home = store.home(tmp_path_factory.mktemp("s3") / "home", "built")
    arrive_and_build(home)
    return home


def rows_files(store: Store, name: str) -> int:
    return sum(path.endswith(".parquet") and "_delta_log" not in path for path in store.sizes(name))


# ------------------------------------------------------------------- the same as in a folder
def test_tables_built_through_dagster_are_those_of_a_local_lake(built: HomeOnStore, home: Home) -> None:
    arrive_and_build(home)
    assert_same_tables(built.computed(), home.computed())
    assert not (built.path / "lake").exists()
    filled = {key for key, rows in built.computed().items() if len(rows)}
    assert {"clean/player_events", "clean/players", PlayerDailyActivity.key, PlayerChurnFeatures.key} <= filled
    late = built.rows(PlayerDailyActivity).filter(pl.col("player_id") == "p-9")
    assert late["activity_date"].to_list() == DAYS[:1]


def test_the_log_says_how_big_the_files_are(built: HomeOnStore, store: Store) -> None:
    """Spark and delta-rs read the end of a file by the size in the log."""
    on_server = store.sizes("built")
    sizes = {
        f"{table.key}/{path}": size
        for table in contracts().values()
        for path, size in built.lake.snapshot(table).files.select("path", "size_bytes").iter_rows()
    }
    assert len(sizes) > 50
    assert sizes == {path: on_server[path] for path in sizes}


def test_features_as_known_at_a_moment_are_those_of_a_local_lake(store: Store, home: Home) -> None:
    moments = [dt.datetime(2024, 1, day, 12, tzinfo=dt.UTC) for day in (6, 8, 10)]
    numbers = [{day: {"ann": first + n, "bob": n} for n, day in enumerate(DAYS)} for first in (10, 20)]
    entities = pl.DataFrame({"player_id": ["ann", "bob", "eve"], "event_timestamp": moments[:1] * 3})
    found = {}
    for lake in (home.lake, store.lake("known")):
        for published, at in zip(numbers, moments[::2], strict=True):
            publish(lake, PlayerChurnFeatures, published, at)
        client = FeatureStore(lake) if lake.local else FeatureStore(lake.root, store.options)
        for known_at in (None, moments[1]):
            rows = client.get_historical_features(entities, "player_churn_features", known_at=known_at).to_polars()
            found[lake.local, known_at] = rows
    assert found[False, None].equals(found[True, None])
    assert found[False, moments[1]].equals(found[True, moments[1]])
    assert [found[False, at]["total_events"].to_list() for at in (None, moments[1])] == [[21, 1, None], [11, 1, None]]


def test_a_training_set_is_the_local_one_also_after_a_correction_and_vacuum(store: Store, home: Home) -> None:
    lake, played = store.lake("sets"), sets.random_history(7)
    for one in (lake, home.lake):
        for rows in (sets.activity_rows({day: sets.PLAYERS for day in played}), sets.activity_rows(played)):
            one.replace(PlayerDailyActivity, rows, list(played))
        one.replace(PlayerChurnFeatures, sets.feature_rows(played), list(played))
    built, local = sets.build(lake), sets.build(home.lake)
    assert (built.id, built.manifest.files) == (local.id, local.manifest.files)
    pins.correct(lake)
    lake.append(PlayerDailyActivity, sets.activity_rows({sets.day(9): ["late"]}))
    assert compact(lake, PlayerDailyActivity, at_least_files=2) == 2
    pins.delete_at_once(lake)
    before = rows_files(store, "sets")
    done = maintenance.maintain(lake, pins.AT_ONCE)
    deleted = sum(table.deleted for table in done.values())
    assert deleted >= sets.DAYS, "what no set needs"
    assert rows_files(store, "sets") == before - deleted
    assert training_sets.rebuild(lake, built.id).manifest == built.manifest
    assert training_sets.load(lake, built.id).rows().equals(local.rows())
    assert [manifest.id for manifest in training_sets.registered(lake)] == [built.id]
    assert sets.build(lake).id != built.id, "the corrections would have changed it"


def test_a_dbt_model_computes_what_it_does_over_a_local_lake(store: Store, tmp_path: Path) -> None:
    found = []
    for home in (Home(tmp_path / "local"), store.home(tmp_path / "s3", "dbt")):
        with home.used():
            bought = [order(f"o-{n}", f"2024-01-0{3 + n % 2} 10:00", f"{n}.25") for n in range(4)]
            bad = order("o-bad", "2024-01-03 12:00", "1.005")
            drop(home, "shop", {"orders": [*bought, bad], "order_items": [item("i", "o-1", "2024-01-04 10:00")]})
            home.ingest()
            for table in (FctOrderVersions, FctOrders):
                compute_and_publish(home, table, DAYS)
            found.append(contents(home, [FctOrders]))
    assert_same_tables(*found)
    assert len(found[1][FctOrders.key]) == 4


def test_the_online_store_is_filled_and_commands_work(built: HomeOnStore, run: Run) -> None:
    with built.used():
        version = built.lake.version(PlayerChurnFeatures)
        assert version is not None
        online = open_online_store(settings())
        served = serve_day(built.lake, online, PlayerChurnFeatures, DAYS[1], version)
        online.close()
        assert served.rows == len(built.lake.scan(PlayerChurnFeatures, DAYS[1], DAYS[1]).collect()) > 0
        status = {one["key"]: one for one in run("status", "--json").json}
        assert status[PlayerChurnFeatures.key]["rows"] == len(built.rows(PlayerChurnFeatures))
        assert [row["country"] for row in run("table", Players.key, "--json").json] == ["DE"]


# ------------------------------------------------------------------------- many processes
def test_processes_that_create_a_table_and_write_its_days_lose_nothing(store: Store) -> None:
    lake, writers, writes = store.lake("many"), 3, 9
    work = [(lake.root, writer, writers, writes, store.options) for writer in range(writers)]
    succeeded(in_processes(replace_own_days, work))
    assert_nothing_lost(lake, writers, writes)


def test_a_second_writer_at_the_same_position_is_refused(store: Store) -> None:
    first, second = store.lake("position"), store.lake("position")
    staged = [lake.stage(TABLE, version_of_a_day(day_of(0), 0, 0)) for lake in (first, second)]
    first.commit(TABLE, staged[0], position=Position("source", None, 1))
    with pytest.raises(StaleWriter):
        second.commit(TABLE, staged[1], position=Position("source", None, 1))
    assert len(first.scan(TABLE).collect()) == ROWS


# --------------------------------------------------------------------- when it cannot be used
def unusable(store: Store) -> dict[str, HomeOnStore]:
    here = Path("unused")
    return {
        "NoSuchBucket": HomeOnStore(here, url="s3://nobodys/lake", options=store.options),
        "InvalidAccessKeyId": HomeOnStore(here, url=f"{store.url}/lake", options=store.options | OTHER_KEY),
        "Connection refused": HomeOnStore(here, url=f"{store.url}/lake", options=options_of(NOBODY)),
    }


COMMANDS = {
    "NoSuchBucket": [["status"], ["table", Players.key], ["build"], ["training-set", "list"]],
    "InvalidAccessKeyId": [["status"], ["table", Players.key], ["build"], ["plan"]],
    "Connection refused": [["build"]],
}


@pytest.mark.parametrize("why", COMMANDS)
def test_a_wrong_setting_is_reported_in_one_paragraph(store: Store, tmp_path: Path, run: Run, why: str) -> None:
    home = dataclasses.replace(unusable(store)[why], path=tmp_path)
    home.drop("waits.ndjson", [event()])
    with home.used():
        for command in COMMANDS[why]:
            began = time.monotonic()
            output = run(*command)
            assert_one_paragraph(output, why, "DATA_PLATFORM_LAKE_OPTIONS", "bucket, endpoint, region, keys")
            assert time.monotonic() - began < 30, "nobody waits a minute to read of a typing error"
            assert_no_secret(output.out + output.err)
            assert OTHER_KEY_ID not in output.err, "the store's answer names the key"
    assert home.landing.joinpath("player_events", "waits.ndjson").exists()


@pytest.mark.parametrize("why", ["NoSuchBucket", "InvalidAccessKeyId"])
def test_the_client_says_why_a_lake_cannot_be_used(store: Store, why: str) -> None:
    wrong = unusable(store)[why].lake
    client = FeatureStore(wrong.root, wrong.options)
    asked = pl.DataFrame({"player_id": ["p"], "event_timestamp": [dt.datetime(2024, 1, 5, tzinfo=dt.UTC)]})
    with pytest.raises(PlatformError, match=why) as refused:
        client.get_historical_features(asked, "player_churn_features")
    assert "FeatureStore" in refused.value.remedy
    assert isinstance(refused.value, TRANSIENT_FAULTS), "a network may be there again at the next attempt"


def test_an_unreachable_store_is_no_damaged_file(store: Store) -> None:
    """What cannot be read just now must not enter the journal as lost for good."""
    lake = store.lake("damage")
    lake.replace(TABLE, pl.concat(version_of_a_day(day_of(n), 0, n) for n in range(3)), [day_of(n) for n in range(3)])
    snapshot = lake.snapshot(TABLE)
    files = snapshot.paths()
    lake.files(TABLE.key).write(files[1], b"no Parquet")
    gone = files[2].replace("part-", "gone-")
    assert damaged_files(snapshot, [*files[:2], gone]) == [files[1], gone]
    refused = dataclasses.replace(snapshot, lake=store.lake("damage", **OTHER_KEY))
    with pytest.raises(LakeUnavailable):
        damaged_files(refused, files)


# ---------------------------------------------------------------------------------- secrets
def assert_no_secret(text: str) -> None:
    assert SECRET not in text
    assert json.dumps(SECRET)[1:-1] not in text


def everything_that_fails(lake: Lake) -> Iterator[BaseException]:
    attempts: list[Callable[[], object]] = [
        lake.require_reachable,
        lambda: lake.scan(TABLE),
        lambda: lake.ensure(TABLE),
        lambda: lake.replace(TABLE, version_of_a_day(day_of(0), 0, 0), [day_of(0)]),
        lambda: lake.files("folder").write("file", b""),
        lambda: lake.files("folder").read("file"),
        lambda: lake.scan_files(TABLE, ["change_date=2024-01-01/x.parquet"]).collect(),
    ]
    for attempt in attempts:
        with pytest.raises(Exception) as failed:  # noqa: PT011  whichever it is, it must not tell
            attempt()
        yield failed.value


def test_no_error_and_no_record_tells_a_secret(
    store: Store,
    built: HomeOnStore,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for why in ("NoSuchBucket", "InvalidAccessKeyId"):
        for error in everything_that_fails(unusable(store)[why].lake):
            assert_no_secret("".join(traceback.format_exception(error)) + repr(error))
    with built.used():
        assert settings().lake_options["AWS_SECRET_ACCESS_KEY"].get_secret_value() == SECRET
        assert_no_secret(repr(settings()) + str(settings().model_dump()) + settings().model_dump_json())
        for wrong in ({"AWS_SECRET_ACCESS_KEY": [SECRET]}, SECRET, [SECRET]):
            monkeypatch.setenv("DATA_PLATFORM_LAKE_OPTIONS", wrong if isinstance(wrong, str) else json.dumps(wrong))
            settings.cache_clear()
            with pytest.raises(PlatformError, match="DATA_PLATFORM_LAKE_OPTIONS is wrong") as refused:
                settings()
            assert_no_secret(str(refused.value))
        monkeypatch.undo()
    records = [entry for one in built.instance.get_runs() for entry in built.instance.all_logs(one.run_id)]
    assert len(records) > 100
    assert_no_secret("".join(entry.to_json() for entry in records))
    assert_no_secret("".join(str(one.run_config) + str(one.tags) for one in built.instance.get_runs()))
    kept = [path.read_bytes() for path in built.path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in content or KEY_ID.encode() in content for content in kept)
    assert_no_secret(caplog.text + "".join(capfd.readouterr()))
