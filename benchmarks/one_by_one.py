"""Features as they are usually computed first: one query and some pandas per player. A rate to compare ours with.
Not here: our transforms."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
from deltalake import DeltaTable

from benchmarks.bench import Bench
from benchmarks.pipeline import run_pipeline
from benchmarks.reference import TOLERANCE, ResultsDiffer
from benchmarks.table import Row
from data_platform.core.lake.store import Lake
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.events import PlayerEvents

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 300
RATED = ("combat_start", "spell_cast", "dialogue_choice", "item_acquired")
SOCIAL = ("party_join", "message_sent", "trade_completed")


def pandas_method(bench: Bench) -> Iterator[Row]:
    """Its rate for players of the last day, against that of the whole pipeline, reading the landing files included."""
    import pandas as pd  # noqa: F401 - not part of what is timed

    run = bench.once(run_pipeline)
    day = run.simulated.days[-1]
    lake = Lake(str(run.home / "lake"))
    features = lake.scan(PlayerChurnFeatures, day, day).filter(pl.col("total_events") > 0).sort("player_id").collect()
    expected = features.gather_every(max(1, len(features) // SAMPLE)).head(SAMPLE).rows(named=True)
    with bench.following(f"pandas, {len(expected)} players") as follow, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        begun = time.perf_counter()
        found = []
        for done, row in enumerate(expected):
            found.append(player_features(events_of(connection, lake, row["player_id"], day)))
            follow("", done + 1, len(expected))
        seconds = time.perf_counter() - begun
    for row, computed in zip(expected, found, strict=True):
        _check(row, computed)
    rate, ours = len(expected) / seconds, run.rows / run.ours.seconds
    yield Row(
        f"feature rows a second; player by player in pandas, {len(expected)} players",
        f"{ours:,.0f}",
        f"{rate:,.1f}",
        f"{ours / rate:,.0f}",
        "≥ 300",
        ours / rate >= 300,
    )


def events_of(connection: duckdb.DuckDBPyConnection, lake: Lake, player_id: str, day: dt.date) -> pd.DataFrame:
    """One player's events of the 30 days, by one query over the table as it is now."""
    root = Path(lake.uri(PlayerEvents))
    files = [str(root / path) for path in DeltaTable(str(root)).file_uris()]
    query = """
        SELECT event_type, session_id, "timestamp"
        FROM read_parquet($files, hive_partitioning = true, hive_types = {'event_date': 'DATE'})
        WHERE player_id = $player_id AND event_date BETWEEN $first AND $last
    """
    window = {"first": day - dt.timedelta(29), "last": day}
    return connection.execute(query, {"files": files, "player_id": player_id, **window}).df()


def player_features(events: pd.DataFrame) -> dict[str, Any]:
    """One player's engagement features. Campaigns are left out, in the method's favour."""
    total, at = len(events), events["timestamp"]
    counts = events["event_type"].value_counts()
    moments = events.groupby("session_id")["timestamp"].agg(["min", "max"])
    minutes = (moments["max"] - moments["min"]).dt.total_seconds() / 60
    hours = at.dt.hour.value_counts()
    social = sum(int(counts.get(event_type, 0)) for event_type in SOCIAL)
    features: dict[str, Any] = {
        "total_events": total,
        "unique_days_active": at.dt.date.nunique(),
        "unique_sessions": len(minutes),
        "avg_events_per_session": total / len(minutes),
        "most_active_hour": int(hours[hours == hours.max()].index.min()),
        "weekend_ratio": float((at.dt.weekday >= 5).mean()),
        "avg_session_duration_minutes": float(minutes.mean()),
        "max_session_duration_minutes": float(minutes.max()),
        "session_duration_std": float(minutes.std()) if len(minutes) > 1 else None,
        "level_ups": int(counts.get("level_up", 0)),
        "social_interactions": social,
        "social_ratio": social / total,
    }
    for event_type in RATED:
        features[f"{event_type}_count"] = int(counts.get(event_type, 0))
        features[f"{event_type}_ratio"] = features[f"{event_type}_count"] / total
    return features


def _check(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name, value in theirs.items():
        same = ours[name] == value if value is None else abs(ours[name] - value) <= TOLERANCE * max(1.0, abs(value))
        if not same:
            raise ResultsDiffer(f"{ours['player_id']}: {name} is {ours[name]}, by pandas {value}")
