"""The dashboards over a year of marts: how fast they answer while the tables behind them are written.
Not here: what the pages show."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.table import Row

DAYS, PLAYERS, CAMPAIGNS = 2 * 365, 5_000, 200
"""A year, and the one before that it is compared with."""
REQUESTS = 120
MOST_MILLISECONDS = 100


def dashboard_pages(bench: Bench) -> Iterator[Row]:
    players = bench.scaled(PLAYERS)
    title = f"dashboards over two years of {players:,} players a day"
    measured = bench.run(
        title, "dashboards", bench.fresh_home(), days=DAYS, players=players, campaigns=CAMPAIGNS, requests=REQUESTS
    )
    done = measured.result
    for page, latency in done["p95_milliseconds"].items():
        yield Row(
            f"{title}, p95 of {page} while tables are written",
            f"{latency:.0f} ms",
            goal=f"< {MOST_MILLISECONDS} ms",
            met=latency < MOST_MILLISECONDS,
        )
    yield Row(
        f"{title}: first look at the marts, then after a commit",
        f"{done['first_seconds']:.1f} s, {done['look_seconds']:.2f} s",
    )
    yield Row(
        f"{title}: the page of a year, made anew", f"{done['made_milliseconds']:.0f} ms, {done['kilobytes']:.0f} kB"
    )
    yield Row(f"{title}: peak memory", f"{measured.peak_bytes / 2**20:,.0f} MB")
