"""The live page: from a segment on the disk to a viewer's message, while events come by the thousand.
Not here: the server and its load (live_server), what the page says."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.table import Row

RATE = 2_000
SECONDS = 60
VIEWERS = 100
MOST_MILLISECONDS = 500


def live(bench: Bench) -> Iterator[Row]:
    rate = bench.scaled(RATE)
    told = f"live page at {rate:,} events a second, {VIEWERS} viewers"
    measured = bench.run(told, "live", bench.fresh_home(), rate=rate, seconds=SECONDS, viewers=VIEWERS)
    done = measured.result
    yield Row(
        f"{told}: segment written → message read, p50, p95",
        f"{done['p50']:.0f} ms, {done['p95']:.0f} ms",
        goal=f"p95 ≤ {MOST_MILLISECONDS} ms",
        met=done["p95"] <= MOST_MILLISECONDS,
    )
    yield Row("… processor time of the server", f"{done['busy']:.0%} of one")
    yield Row("… peak memory", f"{measured.peak_bytes / 2**20:,.0f} MB")
