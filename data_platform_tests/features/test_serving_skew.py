"""From the lake to the online store by Dagster, and what was served held against the lake again: equal, or told.
Not here: the stores (test_online_store), the API (test_feature_api)."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import hypothesis
import hypothesis.strategies as st
import polars as pl
import pytest

from data_platform.core.contract.table import Table
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.settings import settings
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.features.assets import ALL_SERVED, EQUAL
from data_platform.features.contracts import OnlinePlayerFeatures, ServedFeatures, ServingSkew
from data_platform.features.online import vectors
from data_platform.features.online.configured import open_online_store
from data_platform.features.online.store import OnlineSnapshot
from data_platform.features.skew import served_log
from data_platform.features.skew.comparison import skew
from data_platform.features.skew.landing import take_in, waiting_files
from data_platform.features.skew.served_log import ServedLog
from data_platform_tests.support.feature_home import DAY, PLAYERS, SET, TODAY, churn_rows, serving
from data_platform_tests.support.homes import Home


@pytest.fixture
def every_vector_logged(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATA_PLATFORM_SERVED_SAMPLE", "1")
    settings.cache_clear()
    yield
    settings.cache_clear()


def run(home: Home, table: type[Table], **tags: str) -> dg.ExecuteInProcessResult:
    """Materialise one asset, as the daemon would."""
    from data_platform.definitions import defs

    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=home.instance, asset_selection=[asset_key(table)], tags=tags, raise_on_error=False
    )


def days(*given: dt.date) -> dict[str, str]:
    first, last = str(given[0]), str(given[-1])
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def write(home: Home, day: dt.date, events: int, players: list[str] = PLAYERS) -> int:
    return home.lake.replace(PlayerChurnFeatures, churn_rows(day, events, players), [day]).version


def swapped(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert result.success
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_the_asset_serves_the_newest_day_and_never_goes_back(home: Home) -> None:
    nothing = swapped(run(home, OnlinePlayerFeatures))
    assert "no features yet" in str(nothing["swap"])
    write(home, DAY - dt.timedelta(1), 1)
    version = write(home, DAY, 2)
    metadata = swapped(run(home, OnlinePlayerFeatures))
    assert (metadata["swap"], metadata["snapshot_date"], metadata["source_version"]) == ("replaced", str(DAY), version)
    assert metadata["players"] == len(PLAYERS)
    assert home.rows(OnlinePlayerFeatures).to_dicts() == [
        {"feature_set": SET, "snapshot_date": DAY, "players": len(PLAYERS), "features": len(FEATURES)}
    ]
    store = open_online_store(settings())
    written = store.current(SET)
    write(home, DAY - dt.timedelta(1), 9)  # a late event of an older day
    assert swapped(run(home, OnlinePlayerFeatures))["swap"] == "nothing: this is what is served"
    assert store.current(SET) == written
    write(home, DAY, 3)
    assert swapped(run(home, OnlinePlayerFeatures))["swap"] == "replaced"
    found = store.read(SET, ["player-0"])[0]
    assert found is not None
    assert found.values["total_events"] == 3
    home.lake.replace(PlayerChurnFeatures, PlayerChurnFeatures.empty(), [DAY])  # the newest day is taken away
    assert "is older" in swapped(run(home, OnlinePlayerFeatures))["swap"]
    assert store.current(SET) != written
    assert store.current(SET).snapshot_date == DAY  # type: ignore[union-attr]
    assert home.verdicts(OnlinePlayerFeatures, ALL_SERVED.name)[None].passed


def test_the_check_fails_when_vectors_are_missing_from_the_store(home: Home) -> None:
    write(home, DAY, 2)
    run(home, OnlinePlayerFeatures)
    with sqlite3.connect(settings().online / f"{SET}.sqlite") as connection:
        connection.execute("DELETE FROM vectors WHERE entity_id = 'player-3'")
    run(home, OnlinePlayerFeatures)
    verdict = home.verdicts(OnlinePlayerFeatures, ALL_SERVED.name)[None]
    assert (verdict.passed, verdict.metadata["players_served"].value) == (False, len(PLAYERS) - 1)


def test_served_vectors_computed_again_from_the_lake_are_all_equal(home: Home, every_vector_logged: None) -> None:
    write(home, DAY, 2)
    run(home, OnlinePlayerFeatures)
    with serving(home) as (client, _):
        for player in PLAYERS[:5]:
            assert client.get(f"/v1/features/{SET}/{player}").status_code == 200
        client.get(f"/v1/features/{SET}/player-1", params={"features": "level_ups,most_active_hour"})
        client.post(f"/v1/features/{SET}:batch", json={"player_ids": [*PLAYERS, "nobody"]})
        client.post(f"/v1/features/{SET}:batch", json={"player_ids": PLAYERS, "features": ["total_events"]})
        write(home, DAY, 50)  # corrected meanwhile: what was served was right when it was
        run(home, OnlinePlayerFeatures)
        client.post(f"/v1/features/{SET}:batch", json={"player_ids": PLAYERS})
    assert len(waiting_files(settings().served)) == 1, "written when the server stopped, at the latest"
    assert run(home, ServedFeatures).success
    assert not waiting_files(settings().served)
    logged = home.rows(ServedFeatures)
    assert len(logged) == 5 + 1 + 3 * len(PLAYERS)
    assert logged["table_version"].n_unique() == 2
    assert run(home, ServingSkew, **days(TODAY)).success
    found = home.rows(ServingSkew)
    counts = {row["feature"]: row["compared"] for row in found.iter_rows(named=True)}
    assert counts["total_events"] == 5 + 3 * len(PLAYERS)
    assert (counts["level_ups"], counts["weekend_ratio"]) == (6 + 2 * len(PLAYERS), 5 + 2 * len(PLAYERS))
    assert counts.keys() == FEATURES.keys()
    assert found["mismatched"].sum() == found["not_verifiable"].sum() == 0
    assert home.verdicts(ServingSkew, EQUAL.name)[str(TODAY)].passed


def test_what_was_served_wrong_is_found_and_reported(home: Home, every_vector_logged: None) -> None:
    write(home, DAY, 2)
    run(home, OnlinePlayerFeatures)
    with sqlite3.connect(settings().online / f"{SET}.sqlite") as connection:
        ((text,),) = connection.execute("SELECT vector FROM vectors WHERE entity_id = 'player-1'")
        spoilt = json.loads(text)
        spoilt[0] += 1  # total_events
        spoilt[3] = float(spoilt[3]) * (1 + 2**-52)  # avg_events_per_session: the last bit
        connection.execute("UPDATE vectors SET vector = ? WHERE entity_id = 'player-1'", [json.dumps(spoilt).encode()])
        connection.execute("UPDATE vectors SET entity_id = 'ghost' WHERE entity_id = 'player-2'")
    with serving(home) as (client, _):
        client.post(f"/v1/features/{SET}:batch", json={"player_ids": PLAYERS})
        client.get(f"/v1/features/{SET}/ghost", params={"features": "level_ups"})
    run(home, ServedFeatures)
    run(home, ServingSkew, **days(TODAY))
    wrong = {row["feature"]: row for row in home.rows(ServingSkew).filter(pl.col("mismatched") > 0).to_dicts()}
    assert set(wrong) == {"total_events", "avg_events_per_session", "level_ups"}
    sample = json.loads(wrong["total_events"]["sample"])
    assert (sample["player_id"], sample["served"] - sample["lake"]) == ("player-1", 1)
    assert json.loads(wrong["level_ups"]["sample"])["player_id"] == "ghost"
    verdict = home.verdicts(ServingSkew, EQUAL.name)[str(TODAY)]
    assert (verdict.passed, verdict.metadata["values_mismatched"].value) == (False, 3)


def test_versions_that_are_gone_are_not_called_equal(home: Home, every_vector_logged: None) -> None:
    write(home, DAY, 2)
    run(home, OnlinePlayerFeatures)
    with serving(home) as (client, _):
        client.get(f"/v1/features/{SET}/player-1")
    write(home, DAY, 3)
    delta = home.lake.open(PlayerChurnFeatures)
    assert delta.vacuum(0, enforce_retention_duration=False, dry_run=False)
    run(home, ServedFeatures)
    run(home, ServingSkew, **days(TODAY))
    found = home.rows(ServingSkew)
    assert (found["compared"].sum(), found["not_verifiable"].sum()) == (0, len(FEATURES))


def snapshot() -> OnlineSnapshot:
    names = vectors.feature_names(PlayerChurnFeatures)
    return OnlineSnapshot(SET, names, DAY, 0, PlayerChurnFeatures.version(), "digest", 1, dt.datetime.now(dt.UTC))


def test_the_log_never_waits_and_counts_what_it_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ServedLog(tmp_path / "served", 1.0)  # not started: nobody takes from the queue
    begun = time.perf_counter()
    for _ in range(served_log.QUEUED_ANSWERS + 7):
        log.offer(snapshot(), ("level_ups",), ("a", "b"), (b"[1]", b"[2]"))
    assert time.perf_counter() - begun < 2
    assert log.dropped == 14
    monkeypatch.setattr(served_log, "MOST_FOLDER_BYTES", -1)
    log.start()
    log.stop()
    assert log.dropped == 14 + 2 * served_log.QUEUED_ANSWERS, "a full folder takes nothing"
    assert not ServedLog(tmp_path, 0.0).chosen()
    chosen = sum(ServedLog(tmp_path, 0.25).chosen() for _ in range(4000))
    assert 800 < chosen < 1200


def test_the_log_is_taken_in_once_also_when_it_was_interrupted(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    folder = settings().served
    log = ServedLog(folder, 1.0)
    log.start()
    log.offer(snapshot(), ("level_ups",), ("a", "b", "c"), (b"[1]", None, b"[3]"))
    log.stop()
    (path,) = waiting_files(folder)
    kept = path.read_bytes()
    assert take_in(home.lake, folder) == {str(TODAY): 2}
    path.write_bytes(kept)  # as if the process had been killed before it deleted the file
    (folder / "20240101T000000-broken.parquet").write_bytes(b"PAR1 is not all")
    assert take_in(home.lake, folder) == {}
    assert not waiting_files(folder)
    assert len(home.rows(ServedFeatures)) == 2
    assert list(folder.glob("*.unreadable"))
    assert "put aside" in caplog.text


def _any_value(dtype: pl.DataType) -> st.SearchStrategy[Any]:
    if dtype.is_float():
        return st.none() | st.floats()
    if isinstance(dtype, pl.Decimal):
        return st.none() | st.decimals(-(10**15), 10**15, places=dtype.scale)
    return st.none() | (st.integers(-(2**63), 2**63 - 1) if dtype.is_integer() else st.text())


FEATURES = {n: t for n, t in PlayerChurnFeatures.schema().items() if n not in PlayerChurnFeatures.primary_key}


@hypothesis.settings(max_examples=60)
@hypothesis.given(st.lists(st.fixed_dictionaries({n: _any_value(t) for n, t in FEATURES.items()}), max_size=3))
def test_any_values_survive_the_way_through_the_log(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    from data_platform.core.lake.store import Lake

    folder = tmp_path_factory.mktemp("any")
    lake = Lake(str(folder / "lake"))
    keyed = [{"snapshot_date": DAY, "player_id": str(number), **row} for number, row in enumerate(rows)]
    frame = pl.DataFrame(keyed, schema=PlayerChurnFeatures.schema())
    version = lake.replace(PlayerChurnFeatures, frame, [DAY]).version
    written = vectors.vectors(PlayerChurnFeatures, frame)
    log = ServedLog(folder / "served", 1.0)
    log.start()
    about = vectors.snapshot_of(lake, PlayerChurnFeatures, DAY, version)
    log.offer(about, about.features, written["entity_id"].to_list(), written["vector"].to_list())
    log.stop()
    take_in(lake, folder / "served")
    found = skew(lake, lake.scan(ServedFeatures).collect(), {SET: PlayerChurnFeatures})
    assert found["mismatched"].sum() == 0
    assert found["compared"].sum() == len(rows) * len(FEATURES)
