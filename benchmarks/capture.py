"""Change capture of PostgreSQL: changes a second into segments, against the server handing them over alone.
Not here: the database and what happens in it (capture_server)."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.table import Row

CHANGES = 1_000_000
LEAST_A_SECOND = 50_000
MOST_GROWTH = 300 << 20
"""Bytes that memory may grow by while a transaction of this many changes is taken, whatever its size."""


def cdc(bench: Bench) -> Iterator[Row]:
    measured = bench.run(
        "change capture", "cdc", bench.fresh_home(), changes=bench.scaled(CHANGES), landing=str(bench.fresh_folder())
    )
    done = measured.result
    copied, small, large = done["snapshot"], done["small"], done["large"]
    yield Row(
        f"snapshot of {copied['rows']:,} rows into segments, against COPY of the same rows",
        f"{copied['rows'] / copied['seconds']:,.0f} rows/s",
        reference=f"{copied['rows'] / copied['bare']:,.0f} rows/s",
        ratio=f"{copied['seconds'] / copied['bare']:.2f}",
    )
    for told, found in (("in transactions of 1,000", small), ("in one transaction", large)):
        rate = found["rows"] / found["seconds"]
        yield Row(
            f"{found['rows']:,} changes {told} into segments, against a bare peek at them",
            f"{rate:,.0f} changes/s",
            reference=f"{found['rows'] / found['bare']:,.0f} changes/s",
            ratio=f"{found['seconds'] / found['bare']:.2f}",
            goal=f"≥ {LEAST_A_SECOND:,} changes/s",
            met=rate >= LEAST_A_SECOND,
        )
        ours, theirs = (1e6 * found[whose] / found["rows"] for whose in ("ours", "theirs"))
        yield Row(f"… {told}, processor time of a change: ours, the server's", f"{ours:.1f} µs, {theirs:.1f} µs")
    yield Row(
        "… memory that the one transaction takes",
        f"{large['growth'] / 2**20:.0f} MB",
        goal=f"< {MOST_GROWTH >> 20} MB",
        met=large["growth"] < MOST_GROWTH,
    )
    yield Row("… load of the machine meanwhile (1 minute)", f"{done['load']:.1f}")
