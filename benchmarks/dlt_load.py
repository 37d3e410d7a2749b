"""The same landing files into raw tables by the platform, and into DuckDB by dlt: time and memory of whole processes.
Not here: what runs in dlt's environment (dlt_side)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench, Simulated
from benchmarks.process import PROJECT, Measured, measure
from benchmarks.table import Row

DLT = PROJECT / ".venv-dlt" / "bin" / "python"
PLAYERS, DAYS = 8_650, 20
"""A million events."""
RAW = "raw/player_events"
EVENTS = "player_events"


def dlt(bench: Bench) -> Iterator[Row]:
    """dlt gets both cores and Parquet between its steps; it keeps nested fields as JSON, as raw tables do. It neither
    types them, nor keeps what cannot be read, nor knows a file that was loaded before: that is what we do more."""
    if not DLT.exists():
        raise SystemExit(f"There is no dlt in {DLT.parents[1]}. `make bench` installs it.")
    simulated = bench.simulated(bench.scaled(PLAYERS), DAYS)
    home = bench.fresh_home()
    simulated.land(home)
    days = {"first": str(simulated.days[0]), "last": str(simulated.days[-1])}
    ours = bench.run("ours", "build", home, select=[RAW], **days)
    theirs = _with_dlt(bench, simulated, bench.fresh_folder())
    lines = simulated.truth.totals["received"]
    if theirs.result["rows"] != lines:
        raise SystemExit(f"dlt loaded {theirs.result['rows']:,} of {lines:,} lines.")
    yield Row(
        f"{lines:,} lines landed into raw tables by Dagster; dlt {theirs.result['version']} into DuckDB",
        f"{ours.seconds:.1f} s",
        f"{theirs.seconds:.1f} s",
        f"{theirs.seconds / ours.seconds:.1f}× faster",
    )
    yield Row(
        "… processor time, with imports",
        f"{ours.processor_seconds:.1f} s",
        f"{theirs.processor_seconds:.1f} s",
        f"{ours.processor_seconds / theirs.processor_seconds:.2f}",
    )
    yield Row(
        "… peak memory",
        f"{ours.peak_bytes / 1e9:.2f} GB",
        f"{theirs.peak_bytes / 1e9:.2f} GB",
        f"{ours.peak_bytes / theirs.peak_bytes:.2f}",
    )
    for step, seconds in theirs.result["steps"].items():
        yield Row(f"… dlt: {step}", "", f"{seconds:.1f} s")


def _with_dlt(bench: Bench, simulated: Simulated, folder: Path) -> Measured:
    asked = {"landing": str(simulated.root / EVENTS), "folder": str(folder), "table": EVENTS}
    with bench.following("dlt") as follow:
        script = Path(__file__).with_name("dlt_side.py")
        return measure([str(DLT), "-I", str(script), json.dumps(asked)], {}, follow)
