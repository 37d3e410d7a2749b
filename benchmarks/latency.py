"""From an event to the tables: how long until it can be read from raw events, and until it is in the churn features,
with what `make ui` and `data-platform worker` start. Not here: the live page (live)."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench
from benchmarks.table import Row

EVENTS = 20
PLAYERS, DAYS = 200, 30
MOST_SECONDS = {"raw/player_events": 3.0, "features/player_churn_features": 30.0}


def latency(bench: Bench) -> Iterator[Row]:
    what = f"event in a segment → row, {EVENTS} events one by one, `dagster dev` and a worker"
    measured = bench.run(
        what, "latency", bench.fresh_home(), events=max(3, round(EVENTS * bench.scale)), players=PLAYERS, days=DAYS
    )
    for key, seconds in measured.result["seconds"].items():
        most = MOST_SECONDS.get(key)
        slowest = p95(seconds)
        yield Row(
            f"{what}: {key}, p95",
            f"{slowest:.1f} s",
            reference=f"p50 {statistics.median(seconds):.1f} s",
            goal=f"≤ {most:g} s" if most else "",
            met=slowest <= most if most else None,
        )
    yield Row("… load of the machine before, after", f"{measured.result['load']:.1f}, {os.getloadavg()[0]:.1f}")


def p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]
