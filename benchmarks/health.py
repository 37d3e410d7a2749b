"""The health page over many tables: how fast it answers while the facts behind it are being refreshed.
Not here: what the page says."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.table import Row

TABLES, PARTITIONS, RULES = 200, 365, 5
REQUESTS = 400
MOST_MILLISECONDS = 100


def health(bench: Bench) -> Iterator[Row]:
    tables = bench.scaled(TABLES)
    title = f"health page of {tables} tables × {PARTITIONS} days"
    measured = bench.run(
        title, "health", bench.fresh_home(), tables=tables, partitions=PARTITIONS, rules=RULES, requests=REQUESTS
    )
    done = measured.result
    for page, latency in done["p95_milliseconds"].items():
        yield Row(
            f"{title}, p95 of {page} while facts are refreshed",
            f"{latency:.0f} ms",
            goal=f"< {MOST_MILLISECONDS} ms",
            met=latency < MOST_MILLISECONDS,
        )
    yield Row(
        f"{title}: all facts read for the first time, then refreshed",
        f"{done['first_seconds']:.1f} s, {done['refresh_seconds']:.1f} s",
    )
    yield Row(f"{title}: peak memory", f"{measured.peak_bytes / 2**20:,.0f} MB")
