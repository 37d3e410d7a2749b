"""What dashboards ask of a year of usage, through the query API, beside the same in SQL over the calls themselves.
Not here: the questions (usage_server)."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.table import Row

ROWS = 100_000_000
REQUESTS = 60
MOST_MILLISECONDS, MOST_COLD_SECONDS = 100, 1.0


def usage(bench: Bench) -> Iterator[Row]:
    rows = bench.scaled(ROWS)
    title = f"a year of {rows / 1e6:,.0f} million calls"
    measured = bench.run(title, "usage", bench.fresh_home(), rows=rows, requests=REQUESTS)
    done = measured.result
    for question, told in done["questions"].items():
        if not told["equal"]:
            raise SystemExit(f"{question}: the query API does not say what the calls say")
        yield Row(
            f"{title}: {question}, p95 (p50) through the API; in SQL over the calls",
            f"{told['p95']:.0f} ms ({told['p50']:.0f})",
            f"{told['raw']:.0f} ms",
            f"{told['p95'] / told['raw']:.2f}",
            f"< {MOST_MILLISECONDS} ms",
            told["p95"] < MOST_MILLISECONDS,
        )
    cold = done["cold_seconds"]
    goal = f"< {MOST_COLD_SECONDS:.0f} s"
    yield Row(
        f"{title}: a fresh process with its first answer", f"{cold:.2f} s", goal=goal, met=cold < MOST_COLD_SECONDS
    )
    sizes = " · ".join(f"{key.partition('/')[2]} {size / 2**20:,.0f} MB" for key, size in done["bytes"].items())
    yield Row(f"{title}: size of {sizes}", f"{sum(done['bytes'].values()) / 2**20:,.0f} MB")
