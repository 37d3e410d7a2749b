"""The point-in-time join against a hand-written DuckDB ASOF query on the same Parquet files.
Not here: the comparison with Feast, online reads."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench import START, Bench
from benchmarks.process import Follow, Measured
from benchmarks.table import Row

DAYS = 365
PLAYERS = 100_000
ENTITY_ROWS = 1_000_000
FEATURES = 25
SEED = 7
MOST_TIMES_DUCKDB = 1.5
MOST_BYTES = 4e9
GAP_SHARE = 0.02
"""Players without a row on a day: their entities take an older one."""


def point_in_time(bench: Bench) -> Iterator[Row]:
    """1 million entity rows × 365 daily snapshots × 100,000 players, 25 features."""
    folder = made(bench)
    results = bench.fresh_folder()
    runs = {
        name: measured(bench, name, folder, results / f"{name}.parquet")
        for name in ("join_with_client", "join_with_duckdb", "join_with_equality")
    }
    assert require_equal(results, "join_with_client", "join_with_duckdb") == 0
    ours, theirs = runs["join_with_client"], runs["join_with_duckdb"]
    seconds = ours.result["seconds"], theirs.result["seconds"]
    ratio = seconds[0] / seconds[1]
    yield Row(
        size(bench),
        f"{seconds[0]:.1f} s",
        f"{seconds[1]:.1f} s",
        f"{ratio:.2f}",
        f"≤ {MOST_TIMES_DUCKDB}",
        ratio <= MOST_TIMES_DUCKDB,
    )
    yield Row(
        "… peak memory, against DuckDB ASOF", f"{ours.peak_bytes / 1e9:.2f} GB", f"{theirs.peak_bytes / 1e9:.2f} GB",
        f"{ours.peak_bytes / theirs.peak_bytes:.2f}", "< 4 GB", ours.peak_bytes < MOST_BYTES,
    )  # fmt: skip
    yield Row("… processor time", f"{ours.processor_seconds:.1f} s", f"{theirs.processor_seconds:.1f} s",
              f"{ours.processor_seconds / theirs.processor_seconds:.2f}")  # fmt: skip
    equality = runs["join_with_equality"].result["seconds"]
    yield Row("… against DuckDB asking for the day before alone (no older rows)", f"{seconds[0]:.1f} s",
              f"{equality:.1f} s", f"{seconds[0] / equality:.2f}")  # fmt: skip


def size(bench: Bench) -> str:
    players, entities = bench.scaled(PLAYERS), bench.scaled(ENTITY_ROWS)
    return (
        f"point-in-time join: {entities:,} entities, {DAYS} days, {players:,} players, {FEATURES} features, all equal"
    )


def measured(bench: Bench, task: str, folder: Path, to: Path) -> Measured:
    """The better of two runs: the first one also fills the page cache."""
    home = bench.fresh_home()
    runs = [bench.run(task.replace("_", " "), task, home, folder=str(folder), to=str(to)) for _ in range(2)]
    return min(runs, key=lambda run: float(run.result["seconds"]))


def require_equal(results: Path, one: str, other: str) -> int:
    """Raises AssertionError when two results differ anywhere, or say nothing; rows that only the first one has."""
    import polars as pl

    ours, theirs = (pl.read_parquet(results / f"{name}.parquet").sort("entity_row") for name in (one, other))
    lost = len(ours)
    ours = ours.filter(pl.col("entity_row").is_in(theirs["entity_row"].implode()))
    lost -= len(ours)
    assert ours.columns == theirs.columns, (ours.columns, theirs.columns)
    for name in ours.columns:
        assert ours[name].equals(theirs[name].cast(ours[name].dtype), null_equal=True), f"{name} differs"
    assert ours.select(ours.columns[-1]).null_count().item() < len(ours) / 2, "most entities found nothing"
    return lost


# ----------------------------------------------------------------------------- the data
def made(bench: Bench) -> Path:
    """A lake of churn features and a file of entities, kept between runs."""
    players, entities = bench.scaled(PLAYERS), bench.scaled(ENTITY_ROWS)
    folder = bench.folder / f"point-in-time-{players}-players-{entities}-entities-{DAYS}-days-seed-{SEED}"
    if not (folder / "made.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with bench.following(f"make {DAYS} days of features of {players:,} players") as follow:
            make(folder, players, entities, follow)
    return folder


def make(folder: Path, players: int, entities: int, follow: Follow) -> None:
    """Feature values like real ones: small counts, ratios of counts, a few words. Players keep theirs for a while."""
    import numpy as np
    import polars as pl

    from data_platform.core.lake.store import Lake
    from data_platform.domains.churn.contracts.features import PlayerChurnFeatures

    generator = np.random.default_rng(SEED)
    lake, schema = Lake(str(folder / "lake")), PlayerChurnFeatures.schema()
    ids = np.sort(np.array([f"{number:032x}" for number in generator.integers(1 << 62, size=players)]))
    count = generator.negative_binomial(1, 0.01, players) + 1
    words = np.array(["unknown", "comedy", "horror", "mystery", "romance"])
    base = {}
    for name, dtype in schema.items():
        part = generator.binomial(count, generator.random())
        base[name] = words[part % 5] if dtype == pl.String() else part / count if dtype.is_float() else part
    frame = pl.DataFrame({**base, "player_id": ids, "snapshot_date": [START] * players}).cast(schema)  # type: ignore[arg-type]
    values = [name for name in schema if name not in PlayerChurnFeatures.primary_key]
    staged = []
    days = [START + dt.timedelta(number) for number in range(DAYS)]
    for number, day in enumerate(days):
        moved = pl.col(values).gather((pl.int_range(pl.len()) + number // 3 * 17) % players)
        there = pl.Series(generator.random(players) > GAP_SHARE)
        staged += lake.stage(PlayerChurnFeatures, frame.with_columns(moved, snapshot_date=pl.lit(day)).filter(there))
        follow("", number + 1, DAYS)
    lake.commit(PlayerChurnFeatures, staged)
    begun = int(dt.datetime.combine(START, dt.time(), dt.UTC).timestamp() * 1_000_000)
    moments = begun + generator.integers(DAYS * 86_400_000_000, size=entities)
    asked = pl.DataFrame({"player_id": ids[generator.integers(players, size=entities)], "moment": moments})
    moment = pl.col("moment").cast(pl.Datetime("us", "UTC")).alias("event_timestamp")
    asked.select("player_id", moment).with_row_index("entity_row").write_parquet(folder / "entities.parquet")
    (folder / "made.json").write_text(json.dumps({"players": players, "entities": entities}))


# ------------------------------------------------------------------ in processes of their own
def names() -> list[str]:
    """The features that are joined."""
    from data_platform.domains.churn.contracts.features import PlayerChurnFeatures as Churn

    return [name for name in Churn.columns if name not in Churn.primary_key][:FEATURES]


def with_client(folder: str, to: str) -> dict[str, Any]:
    """As an ML engineer would."""
    import polars as pl

    from data_platform.features import FeatureStore

    references = [f"player_churn_features:{name}" for name in names()]
    begun = time.perf_counter()
    entities = pl.read_parquet(f"{folder}/entities.parquet")
    FeatureStore(f"{folder}/lake").get_historical_features(entities, references).to_polars().write_parquet(to)
    return {"seconds": time.perf_counter() - begun}


ASOF = """
SELECT e.*, {features}
FROM read_parquet(getvariable('entities')) e
ASOF LEFT JOIN (
  SELECT player_id, timezone('UTC', snapshot_date + INTERVAL 1 DAY) AS valid_from, {columns}
  FROM read_parquet(getvariable('files'), hive_partitioning = true, hive_types = {{'snapshot_date': DATE}})
) f ON e.player_id = f.player_id AND e.event_timestamp >= f.valid_from
"""
EQUALITY = """
SELECT e.*, {columns}
FROM read_parquet(getvariable('entities')) e
LEFT JOIN read_parquet(getvariable('files'), hive_partitioning = true, hive_types = {{'snapshot_date': DATE}}) f
  ON e.player_id = f.player_id AND f.snapshot_date = (e.event_timestamp AT TIME ZONE 'UTC')::DATE - 1
"""


def with_duckdb(folder: str, to: str, query: str = ASOF) -> dict[str, Any]:
    """By hand: one query over the same files."""
    import duckdb

    wanted = names()
    # Rows older than the time to live of seven days do not count.
    fresh = "CASE WHEN e.event_timestamp - f.valid_from <= INTERVAL 7 DAYS THEN f.{0} END AS {0}"
    features, columns = ", ".join(fresh.format(name) for name in wanted), ", ".join(wanted)
    begun = time.perf_counter()
    connection = duckdb.connect(config={"threads": 2, "temp_directory": f"{to}.spilled"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET VARIABLE entities = $1", [f"{folder}/entities.parquet"])
    files = sorted(str(path) for path in Path(folder).glob("lake/features/player_churn_features/*/*.parquet"))
    connection.execute("SET VARIABLE files = $1", [files])
    connection.execute(f"COPY ({query.format(features=features, columns=columns)}) TO '{to}'")
    return {"seconds": time.perf_counter() - begun}
