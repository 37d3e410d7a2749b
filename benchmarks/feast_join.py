"""The point-in-time join against Feast's local offline stores: DuckDB on the same Parquet files, Dask on a copy.
Not here: the data and our side of it (point_in_time), what runs in Feast's environment (feast_side)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import point_in_time
from benchmarks.bench import Bench
from benchmarks.process import PROJECT, Measured, measure
from benchmarks.table import Row

FEAST = PROJECT / ".venv-feast" / "bin" / "python"
SET = "player_churn_features"
LEAST_TIMES_FASTER = 10
DASK_SCALE = 0.02
"""Dask matches every entity row with every row of its player before it looks at times: 4.6 GB at this scale."""


def feast(bench: Bench) -> Iterator[Row]:
    """The data of `point_in_time`, asked of both through `get_historical_features`."""
    if not FEAST.exists():
        raise SystemExit(f"There is no Feast in {FEAST.parents[1]}. `make bench` installs it.")
    folder, results = point_in_time.made(bench), bench.fresh_folder()
    made = _made(bench, folder, results / "duckdb", "duckdb")
    ours = point_in_time.measured(bench, "join_with_client", folder, results / "ours.parquet")
    theirs = _with_feast(bench, folder, results, "duckdb", SET)
    assert point_in_time.require_equal(results, "ours", "duckdb") == 0
    yield _against(bench, ours, theirs, "Feast with DuckDB")
    yield Row(
        "… peak memory, against Feast with DuckDB",
        f"{ours.peak_bytes / 1e9:.2f} GB",
        f"{theirs.peak_bytes / 1e9:.2f} GB",
        f"{ours.peak_bytes / theirs.peak_bytes:.2f}",
    )
    yield Row(
        "… processor time, with imports",
        f"{ours.processor_seconds:.1f} s",
        f"{theirs.processor_seconds:.1f} s",
        f"{ours.processor_seconds / theirs.processor_seconds:.2f}",
    )
    yield Row(
        f"… making the Feast repository: {made['linked']:,} files linked, {made['bytes']:,} bytes written",
        f"{made['seconds']:.1f} s",
    )
    if bench.scale <= DASK_SCALE:
        _made(bench, folder, results / "dask", "dask")
        theirs = _with_feast(bench, folder, results, "dask", f"{SET}_as_known")
        lost = point_in_time.require_equal(results, "ours", "dask")
        yield _against(bench, ours, theirs, f"Feast with Dask, {theirs.peak_bytes / 1e9:.1f} GB, {lost} rows lost")


def _against(bench: Bench, ours: Measured, theirs: Measured, whom: str) -> Row:
    seconds = ours.result["seconds"], theirs.result["seconds"]
    faster = seconds[1] / seconds[0]
    return Row(
        f"{point_in_time.size(bench)}, against {whom}",
        f"{seconds[0]:.1f} s",
        f"{seconds[1]:.1f} s",
        f"{faster:.1f}× faster",
        f"≥ {LEAST_TIMES_FASTER}×",
        faster >= LEAST_TIMES_FASTER,
    )


def _made(bench: Bench, folder: Path, to: Path, store: str) -> dict[str, Any]:
    title = f"make a Feast repository for {store}"
    made = bench.run(title, "feast_repository", bench.fresh_home(), folder=str(folder), to=str(to), store=store)
    return dict(made.result)


def _with_feast(bench: Bench, folder: Path, results: Path, store: str, view: str) -> Measured:
    """One run: the files were read or written just before."""
    arguments = {
        "repository": str(results / store),
        "entities": str(folder / "entities.parquet"),
        "features": [f"{view}:{name}" for name in point_in_time.names()],
        "to": str(results / f"{store}.parquet"),
    }
    with bench.following(f"join with Feast and {store}") as follow:
        script = Path(__file__).with_name("feast_side.py")
        return measure([str(FEAST), "-I", str(script), json.dumps(arguments)], {}, follow)


# ------------------------------------------------------------------ in a process of its own
def make_repository(folder: str, to: str, store: str) -> dict[str, Any]:
    """A Feast repository over the lake; bytes are those of files that are no links. For Dask, which cannot read columns
    from the names of folders, with the copy that has all columns, in one file: of 365 it makes 365 times the steps."""
    import polars as pl

    from data_platform.core.lake.store import Lake
    from data_platform.features.feast.repository import CONFIGURATION_FILE, write_repository

    begun = time.perf_counter()
    exported = write_repository(Lake(f"{folder}/lake"), Path(to), [SET], as_known=store == "dask")
    seconds = time.perf_counter() - begun
    if store == "dask":
        copies = sorted(Path(to, "data", f"{SET}_as_known").glob("*.parquet"))
        rows = pl.read_parquet(copies)
        for copy in copies:
            copy.unlink()
        rows.write_parquet(copies[0])
        configuration = Path(to) / CONFIGURATION_FILE
        configuration.write_text(configuration.read_text().replace("duckdb", store))
    files = [Path(top) / name for top, _, names in os.walk(to) for name in names]
    size = sum(file.stat().st_size for file in files if file.stat().st_nlink == 1)
    return {"seconds": seconds, "linked": sum(one.linked for one in exported), "bytes": size}
