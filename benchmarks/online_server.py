"""A table of made-up features, the server over it, swaps of what it serves, and readers in processes of their own.
Not here: goals (online), the reader (online_load)."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_platform.core.contract.table import Table, column, within
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.settings import settings

FEATURES = 40
DAYS = [dt.date(2024, 1, 1) + dt.timedelta(day) for day in range(3)]
"""Served at first, swapped in while single players are asked for, swapped in while batches are."""
BATCH = 100


def _table() -> type[Table]:
    types = [int, float, int, float, float, int, int, float, int, str]
    kinds = {f"feature_{number}": types[number % 10] for number in range(FEATURES)}
    body: dict[str, Any] = {
        "__doc__": "Made-up features.",
        "__annotations__": {"snapshot_date": dt.date, "player_id": str, **kinds},
        "key": "features/bench_features",
        "partition": "snapshot_date",
        "primary_key": ("snapshot_date", "player_id"),
        "owner": "team:bench",
        "fresh": within(hours=26),
        "snapshot_date": column("Day."),
        "player_id": column("Player."),
        **{name: column(f"{name}.") for name in kinds},
    }
    return type("BenchFeatures", (Table,), body)


TABLE = _table()
SET = TABLE.table_name()


def fill(lake: Lake, players: int) -> None:
    """Three days of features."""
    random = np.random.default_rng(1)
    for day in DAYS:
        frame = pl.DataFrame({"snapshot_date": [day]}).join(
            pl.select(player_id=pl.format("player-{}", pl.int_range(players).cast(pl.String).str.zfill(8))), how="cross"
        )
        values = {}
        for name in TABLE.columns.keys() - {"snapshot_date", "player_id"}:
            dtype = TABLE.columns[name].dtype
            whole = random.integers(0, 10_000, players)
            if dtype.is_float():
                values[name] = pl.Series(random.random(players) * 100)
            else:
                values[name] = (
                    pl.Series(whole) if dtype.is_integer() else pl.Series(whole % 7).cast(pl.String) + " theme"
                )
        frame = frame.with_columns(**values).select(list(TABLE.columns))
        lake.append(TABLE, frame)


def swap(day: int) -> None:
    """Build the vectors of a day and swap them in; prints when it began, and the seconds of building and swapping."""
    from data_platform.features.online.configured import open_online_store
    from data_platform.features.online.vectors import serve_day

    lake, store = configured_lake(), open_online_store(settings())
    version = lake.version(TABLE)
    assert version is not None
    begun = time.time()
    served = serve_day(lake, store, TABLE, DAYS[day], version)
    print(json.dumps({"begun": begun, "seconds": time.time() - begun, "rows": served.rows}), flush=True)


def serve() -> None:
    """What `data-platform serve` runs, with the health page's look at the lake as often as by default."""
    from data_platform.features.api.configured import feature_api
    from data_platform.observability.health.facts import Collector
    from data_platform.web import app

    lake = configured_lake()
    api = feature_api(settings(), lake, "127.0.0.1")
    app.serve(Collector(lake, [TABLE], every=15), "127.0.0.1", 0, None, lambda url: print(url, flush=True), api)


def measure(
    players: int, ones: int, batches: int, rate: float, folder: str, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """p50, p99 and worst latency in ms of both kinds of requests, over all of them and while a swap went on; seconds
    and rows of the swaps; wrong answers."""
    tell("features", 0, 4)
    fill(configured_lake(), players)
    tell("first snapshot", 1, 4)
    swaps = [_ended(_start("swap", "0"))]
    token = secrets.token_urlsafe(32)
    tokens = Path(folder) / "tokens.toml"
    digest = hashlib.sha256(token.encode()).hexdigest()
    scopes = 'scopes = ["features:read"]\nrequests_per_second = 100000\nburst = 100000\n'
    tokens.write_text(f'[[tokens]]\nname = "bench"\nsha256 = "{digest}"\n{scopes}')
    server = _start("serve", DATA_PLATFORM_API_TOKENS=str(tokens))
    result: dict[str, Any] = {"wrong": 0}
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().rsplit(":", 1)[1])
        for number, (kind, at_once, requests) in enumerate((("one", 1, ones), ("many", BATCH, batches)), 1):
            tell(f"{requests:,} requests for {at_once} at {rate:,.0f}/s", 1 + number, 4)
            asked = {"feature_set": SET, "players": players, "at_once": at_once, "token": token, "requests": requests,
                     "rate": rate, "port": port, "to": f"{folder}/{kind}.npz"}  # fmt: skip
            before = _processor_seconds(server.pid)
            reader = _reader(asked)
            time.sleep(0.4 * requests / rate)
            swapped = _ended(_start("swap", str(number)))
            swaps.append(swapped)
            result["wrong"] += _ended(reader)["wrong"]
            result[f"{kind}_processor_seconds"] = _processor_seconds(server.pid) - before
            found = np.load(asked["to"])
            during = (found["at"] >= swapped["begun"]) & (found["at"] <= swapped["begun"] + swapped["seconds"])
            result[kind] = _percentiles(found["latency"])
            result[f"{kind}_during_swap"] = _percentiles(found["latency"][during])
    finally:
        server.terminate()
        server.wait()
    return result | {"swap_seconds": [one["seconds"] for one in swaps], "swap_rows": swaps[0]["rows"]}


def _processor_seconds(pid: int) -> float:
    """Of the process so far; what tells a slow server from a busy machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _percentiles(seconds: Any) -> dict[str, float]:
    if len(seconds) == 0:
        return {"requests": 0, "p50": float("nan"), "p99": float("nan"), "worst": float("nan")}
    p50, p99 = np.percentile(seconds * 1000, [50, 99])
    return {"requests": len(seconds), "p50": float(p50), "p99": float(p99), "worst": float(seconds.max() * 1000)}


def _start(*words: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.online_server", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)


def _reader(asked: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.online_load", json.dumps(asked)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args} ended with {process.returncode}")
    return dict(json.loads(output.splitlines()[-1]))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        swap(int(sys.argv[2]))
