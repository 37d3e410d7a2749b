"""Features of a million players over HTTP: how fast they are answered, also while they are being replaced.
Not here: server and reader (online_server, online_load)."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.online_server import BATCH, FEATURES
from benchmarks.table import Row

PLAYERS, ONES, BATCHES = 1_000_000, 600_000, 400_000
RATE = 1_000
MOST_MILLISECONDS = {"one": 5, "many": 25}
MOST_SWAP_SECONDS = 15
REQUESTS_OF = {"one": "one player", "many": f"{BATCH} players"}


def online(bench: Bench) -> Iterator[Row]:
    players = bench.scaled(PLAYERS)
    title = f"online, {players:,} players × {FEATURES} features, {RATE:,} requests/s, one worker"
    measured = bench.run(
        title, "online", bench.fresh_home(), players=players, ones=bench.scaled(ONES), batches=bench.scaled(BATCHES),
        rate=RATE, folder=str(bench.fresh_folder()),
    )  # fmt: skip
    done = measured.result
    for kind, most in MOST_MILLISECONDS.items():
        for part, when in (("", ""), ("_during_swap", " while a swap goes on")):
            found = done[kind + part]
            yield Row(
                f"{title}: p99 of {REQUESTS_OF[kind]}{when} ({found['requests']:,} requests)",
                f"{found['p99']:.1f} ms",
                reference=f"p50 {found['p50']:.1f}, worst {found['worst']:.0f} ms",
                goal=f"≤ {most} ms",
                met=found["p99"] <= most,
            )
        used = done[f"{kind}_processor_seconds"] / done[kind]["requests"]
        yield Row(f"{title}: processor time of the server per request for {REQUESTS_OF[kind]}", f"{used * 1e6:,.0f} µs")
    seconds = max(done["swap_seconds"])
    yield Row(
        f"{title}: build and swap of {done['swap_rows']:,} vectors, the slowest of {len(done['swap_seconds'])}",
        f"{seconds:.1f} s",
        goal=f"≤ {MOST_SWAP_SECONDS} s",
        met=seconds <= MOST_SWAP_SECONDS,
    )
    yield Row(f"{title}: answers that were not 200", f"{done['wrong']:,}", goal="0", met=done["wrong"] == 0)
