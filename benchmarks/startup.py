"""What it takes to begin: loading the code location, and simulating a game to fill it.
Not here: processing events."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median

from benchmarks.bench import SEED, START, Bench
from benchmarks.process import measure
from benchmarks.table import Row

LOAD = "import data_platform.definitions as location; location.defs.get_repository_def()"
LIBRARIES = "import dagster, dagster_dbt, polars, deltalake, pandera.polars"
REPEATS = 5
PLAYERS, DAYS = 17_300, 20
"""2 million events."""
EVENTS_PER_SECOND = 300_000


def load(bench: Bench) -> Iterator[Row]:
    """Alternately, after one unmeasured round that fills the caches of the file system."""
    home = bench.fresh_home()
    environment = {"DATA_PLATFORM_HOME": str(home), "DATA_PLATFORM_FIRST_DAY": START.isoformat()}
    seconds: dict[str, list[float]] = {LOAD: [], LIBRARIES: []}
    with bench.following("load the code location") as follow:
        for done in range(REPEATS + 1):
            follow("", done, REPEATS + 1)
            for code, measured in seconds.items():
                measured.append(measure([sys.executable, "-c", code], environment).seconds)
    ours, libraries = (median(measured[1:]) for measured in seconds.values())
    yield Row(
        "load the code location, against importing its libraries",
        f"{ours:.2f} s",
        f"{libraries:.2f} s",
        f"{ours / libraries:.2f}",
        "≤ 1.5",
        ours / libraries <= 1.5,
    )


def simulation(bench: Bench) -> Iterator[Row]:
    to = str(bench.fresh_folder())
    players = bench.scaled(PLAYERS)
    done = bench.run("simulate", "simulate", bench.fresh_home(), players=players, days=DAYS, seed=SEED, to=to).result
    rate = done["events"] / done["seconds"]
    yield Row(
        f"simulated events written a second, of {done['events']:,}",
        f"{rate:,.0f}",
        goal=f"≥ {EVENTS_PER_SECOND:,}",
        met=rate >= EVENTS_PER_SECOND,
    )
