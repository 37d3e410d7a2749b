"""Posted events: how many requests a second one collector takes, each on the disk before it is answered.
Not here: server and load (collector_load)."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.table import Row

REQUESTS, EVENTS, CONNECTIONS = 300_000, 2, 64
LEAST_RATE = 10_000
MOST_MILLISECONDS = 20


def collector(bench: Bench) -> Iterator[Row]:
    measured = bench.run(
        "posting events", "collector", bench.fresh_home(),
        requests=bench.scaled(REQUESTS), events=EVENTS, connections=CONNECTIONS,
    )  # fmt: skip
    done = measured.result
    if done["stored"] != done["requests"] * EVENTS:
        raise SystemExit(f"{done['requests']} requests of {EVENTS} events were answered, {done['stored']} are stored")
    what = f"collector, requests of {EVENTS} events, {CONNECTIONS} at once, one worker, synced before the answer"
    rate = done["requests"] / done["seconds"]
    yield Row(f"{what}: requests a second", f"{rate:,.0f}", goal=f"≥ {LEAST_RATE:,}", met=rate >= LEAST_RATE)
    yield Row(
        "… p99 of an answer",
        f"{done['p99']:.1f} ms",
        reference=f"p50 {done['p50']:.1f} ms",
        goal=f"≤ {MOST_MILLISECONDS} ms",
        met=done["p99"] <= MOST_MILLISECONDS,
    )
    yield Row("… requests per second of the server's processor time", f"{done['requests'] / done['processor']:,.0f}")
    yield Row("… events that were answered and are stored", f"{done['stored']:,}", goal="all", met=True)
    yield Row("… segments; memory of the server", f"{done['segments']:,}; {done['resident'] / 1e6:.0f} MB")
    yield Row("… load of the machine before", f"{done['load_before']:.1f}")
