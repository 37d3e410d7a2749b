"""From landing files to churn features, against the same by hand in DuckDB: time, memory and size on disk.
Not here: the reference itself, players one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench, Simulated
from benchmarks.process import Measured
from benchmarks.reference import compare_features
from benchmarks.table import Row
from data_platform.core.contract.table import contracts
from data_platform.core.lake.store import Lake

PLAYERS, DAYS = 86_500, 20
"""10 million events."""
PLAYERS_OF_ONE_DAY = 744_000
"""5 million events on one day."""
CHURN = "features/player_churn_features"
REPEATS = 2
GB = 10**9


@dataclass(frozen=True)
class PipelineRun:
    """Both pipelines on the same files; the better of the repeats of each."""

    simulated: Simulated
    home: Path
    ours: Measured
    reference: Measured
    rows: int
    peak_bytes: int


def run_pipeline(bench: Bench) -> PipelineRun:
    """Alternately ours and the reference, each in a fresh process and folder, and a comparison of every feature."""
    simulated = bench.simulated(bench.scaled(PLAYERS), DAYS)
    ours, references = [], []
    rows = 0
    for repeat in range(1, REPEATS + 1):
        home = bench.fresh_home()
        simulated.land(home)
        ours.append(build_churn(bench, home, simulated, f"ours, {repeat} of {REPEATS}"))
        output = bench.fresh_folder()
        title = f"reference, {repeat} of {REPEATS}"
        references.append(bench.run(title, "reference", home, landing=str(simulated.root), output=str(output)))
        with bench.following("compare all features"):
            rows = compare_features(home / "lake", output, simulated.days)
    best, reference = (min(runs, key=lambda run: run.seconds) for runs in (ours, references))
    return PipelineRun(simulated, home, best, reference, rows, max(run.peak_bytes for run in ours))


def build_churn(bench: Bench, home: Path, simulated: Simulated, title: str) -> Measured:
    first, last = str(simulated.days[0]), str(simulated.days[-1])
    return bench.run(title, "build", home, select=[CHURN], first=first, last=last)


def pipeline(bench: Bench) -> Iterator[Row]:
    run = bench.once(run_pipeline)
    ratio = run.ours.seconds / run.reference.seconds
    yield Row(
        f"landing to churn features: {run.simulated.events:,} events, {DAYS} days, {run.rows:,} equal feature rows",
        f"{run.ours.seconds:.1f} s",
        f"{run.reference.seconds:.1f} s",
        f"{ratio:.2f}",
        "≤ 1.5",
        ratio <= 1.5,
    )
    yield Row(
        "… processor time of it, all cores",
        f"{run.ours.processor_seconds:.1f} s",
        f"{run.reference.processor_seconds:.1f} s",
        f"{run.ours.processor_seconds / run.reference.processor_seconds:.2f}",
    )
    for name, seconds in _steps(run.ours).items():
        yield Row(f"… ours: {name}", f"{seconds:.1f} s", ratio=f"{seconds / run.ours.seconds:.0%}")
    for name, seconds in _steps(run.reference).items():
        yield Row(f"… reference: {name}", "", f"{seconds:.1f} s", f"{seconds / run.reference.seconds:.0%}")


def memory(bench: Bench) -> Iterator[Row]:
    run = bench.once(run_pipeline)
    peak = run.peak_bytes
    yield Row(
        f"peak memory of {run.simulated.events:,} events over {DAYS} days",
        f"{peak / GB:.2f} GB",
        f"{run.reference.peak_bytes / GB:.2f} GB",
        f"{peak / run.reference.peak_bytes:.2f}",
        "< 3 GB",
        peak < 3 * GB,
    )
    simulated = bench.simulated(bench.scaled(PLAYERS_OF_ONE_DAY), 1)
    home = bench.fresh_home()
    simulated.land(home)
    one_day = build_churn(bench, home, simulated, "one large day").peak_bytes
    yield Row(
        f"peak memory of {simulated.events:,} events on one day",
        f"{one_day / GB:.2f} GB",
        goal="< 4 GB",
        met=one_day < 4 * GB,
    )


def storage(bench: Bench) -> Iterator[Row]:
    run = bench.once(run_pipeline)
    received = run.simulated.uncompressed_bytes()
    root = run.home / "lake"
    stored = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    yield Row(
        "the whole lake, logs included, against the uncompressed lines",
        f"{stored / 1e6:,.1f} MB",
        f"{received / 1e6:,.1f} MB",
        f"{stored / received:.1%}",
        "≤ 25 %",
        stored / received <= 0.25,
    )
    lake = Lake(str(root))
    sizes = {key: int(lake.partitions(table)["bytes"].sum()) for key, table in contracts().items()}
    for key, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size:
            yield Row(f"… {key}", f"{size / 1e6:,.1f} MB", ratio=f"{size / received:.1%}")


def _steps(run: Measured) -> dict[str, float]:
    """The steps that take at least a fiftieth of the time, and the rest in one."""
    large = {name: seconds for name, seconds in run.result["steps"].items() if seconds >= run.seconds / 50}
    return large | {"starting, finishing and smaller steps": run.seconds - sum(large.values())}
