"""The hand-written DuckDB pipeline of `reference.sql`: running it, and whether its features equal ours.
Not here: what the features mean (DESIGN §10)."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

SCRIPT = Path(__file__).with_suffix(".sql")
THREADS = 2
TOLERANCE = 1e-9
"""Relative, and absolute below 1: a nanosecond's part of a minute, where the clock counts microseconds."""


class ResultsDiffer(AssertionError):
    """The two pipelines do not agree; one of them is wrong."""


def run_reference(landing: str, output: str, follow: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Run the script statement by statement; returns the seconds of each that took a while."""
    connection = duckdb.connect(config={"threads": THREADS})
    for name, folder in (("landing", landing), ("output", output)):
        connection.execute(f"SET VARIABLE {name} = '{folder}'")
    statements = duckdb.extract_statements(SCRIPT.read_text())
    steps: dict[str, float] = {}
    for done, statement in enumerate(statements):
        name = _name(statement.query)
        follow(name, done, len(statements))
        begun = time.perf_counter()
        connection.execute(statement)
        steps[name] = round(steps.get(name, 0) + time.perf_counter() - begun, 3)
    connection.close()
    return {"steps": {name: seconds for name, seconds in steps.items() if seconds >= 0.01}}


def _name(query: str) -> str:
    """What the statement makes: a table, or a folder of files."""
    made = re.search(r"CREATE TABLE (\w+)|TO \(.*'/(\w+)'\)", query)
    return made[1] or f"write {made[2]}" if made else "rest"


def compare_features(root: Path, output: Path, days: list[dt.date]) -> int:
    """Compare every feature of every row, day by day; returns the number of rows. Raises ResultsDiffer."""
    import polars as pl

    from data_platform.core.lake.store import Lake
    from data_platform.domains.churn.contracts.features import PlayerChurnFeatures

    rows = 0
    for day in days:
        ours = Lake(str(root)).scan(PlayerChurnFeatures, day, day).sort("player_id").collect()
        files = output / "player_churn_features" / f"snapshot_date={day}" / "*.parquet"
        theirs = pl.scan_parquet(files, hive_partitioning=False).with_columns(snapshot_date=pl.lit(day))
        expected = theirs.select(pl.col(name).cast(dtype) for name, dtype in ours.schema.items())
        _compare(ours, expected.sort("player_id").collect(), day)
        rows += len(ours)
    if not rows:
        raise ResultsDiffer("there are no features at all")
    return rows


def _compare(ours: Any, theirs: Any, day: dt.date) -> None:
    import polars as pl

    if not ours["player_id"].equals(theirs["player_id"]):
        mine, yours = set(ours["player_id"]), set(theirs["player_id"])
        raise ResultsDiffer(
            f"{day}: {len(ours)} rows against {len(theirs)} of the reference; "
            f"only ours {sorted(mine - yours)[:3]}, only the reference's {sorted(yours - mine)[:3]}"
        )
    for name, dtype in ours.schema.items():
        a, b = ours[name], theirs[name]
        same = a.eq_missing(b)
        if dtype.is_float():
            bound = TOLERANCE * pl.select(pl.max_horizontal(a.abs(), b.abs(), 1.0)).to_series()
            same = same | ((a - b).abs() <= bound).fill_null(False)
        if not same.all():
            sample = pl.DataFrame([ours["player_id"], a.alias("ours"), b.alias("reference")]).filter(~same)
            raise ResultsDiffer(f"{day}: {name} differs in {len(sample)} of {len(ours)} rows:\n{sample.head(5)}")
