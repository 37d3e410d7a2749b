"""Questions of dashboards asked of a year of usage: through the query API from another process, and in SQL of the raw
calls. Not here: making the year (usage_lake), goals (usage)."""

from __future__ import annotations

import glob
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import duckdb
import uvicorn

from benchmarks.health_server import PAUSE_SECONDS, READER
from benchmarks.usage_lake import BIGGEST, fill
from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.domains.metering.contracts.costs import UsageCosts
from data_platform.web.query.configured import query_api

QUESTIONS = {
    "a tenant's month by model": (
        f"/v1/costs?month=2025-06&tenant_id={BIGGEST}&group_by=model",
        "SELECT model, sum(cost) FROM calls WHERE tenant_id = $tenant AND usage_date BETWEEN '2025-06-01' AND"
        " '2025-06-30' GROUP BY 1",
    ),
    "top 20 tenants of a month": (
        "/v1/costs?month=2025-06&group_by=tenant_id&order=-cost&limit=20",
        "SELECT tenant_id, sum(cost) FROM calls WHERE usage_date BETWEEN '2025-06-01' AND '2025-06-30'"
        " GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
    ),
    "top 20 tenants of 30 days": (
        "/v1/costs?from=2025-06-11&to=2025-07-10&group_by=tenant_id&order=-cost&limit=20",
        "SELECT tenant_id, sum(cost) FROM calls WHERE usage_date BETWEEN '2025-06-11' AND '2025-07-10'"
        " GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
    ),
    "a tenant's days, a quarter": (
        f"/v1/costs?from=2025-04-01&to=2025-06-30&tenant_id={BIGGEST}&group_by=day",
        "SELECT usage_date, sum(cost) FROM calls WHERE tenant_id = $tenant AND usage_date BETWEEN '2025-04-01' AND"
        " '2025-06-30' GROUP BY 1",
    ),
    "a tenant's days, a year": (
        f"/v1/costs?from=2025-01-01&to=2025-12-31&tenant_id={BIGGEST}&group_by=day",
        "SELECT usage_date, sum(cost) FROM calls WHERE tenant_id = $tenant GROUP BY 1",
    ),
    "p95 tokens of a tenant's month": (
        f"/v1/usage?month=2025-06&tenant_id={BIGGEST}&group_by=model&measures=p95_tokens",
        "SELECT model, quantile_disc(total_tokens, 0.95) FROM calls WHERE tenant_id = $tenant AND usage_date"
        " BETWEEN '2025-06-01' AND '2025-06-30' GROUP BY 1",
    ),
    "users of a tenant's months": (
        f"/v1/usage?from=2025-01-01&to=2025-12-31&tenant_id={BIGGEST}&group_by=month&measures=users",
        "SELECT date_trunc('month', usage_date), count(DISTINCT user_id) FROM calls WHERE tenant_id = $tenant"
        " GROUP BY 1",
    ),
    "users of a month": (
        "/v1/usage?month=2025-06&measures=users",
        "SELECT count(DISTINCT (tenant_id, user_id)) FROM calls WHERE usage_date BETWEEN '2025-06-01' AND '2025-06-30'",
    ),
}
"""In words → (address, the same asked of the calls themselves)."""
RAW_ROUNDS = 3
QUANTILE_OFF = 0.05
"""Of a percentile from a histogram: half a bucket, and rounding."""
COLD = """
import asyncio, sys
from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.web.query.configured import query_api
api = query_api(settings(), Lake(settings().lake_root), "127.0.0.1")
path, _, query = sys.argv[1].partition("?")
async def ask():
    sent = []
    async def send(message): sent.append(message)
    async def receive(): await asyncio.sleep(60)
    await api({"type": "http", "method": "GET", "path": path, "query_string": query.encode(),
               "headers": [(b"host", b"127.0.0.1")]}, receive, send)
    return sent
sent = asyncio.run(ask())
assert sent[0]["status"] == 200, sent
"""


def measure(rows: int, requests: int, tell: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Of each question: p50 and p95 in ms through the API and in SQL over the calls; whether both say the same."""
    lake = Lake(settings().lake_root)
    if lake.version(UsageCosts) is None:
        fill(lake, rows, tell)
    addresses = [address for address, _ in QUESTIONS.values()]
    cold = [_cold(addresses[0]) for _ in range(3)]
    api = query_api(settings(), lake, "127.0.0.1")
    server = uvicorn.Server(uvicorn.Config(api, log_level="warning", access_log=False, ws="none", lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
        port = listening.getsockname()[1]
        _asked(port, addresses, 2)
        taken, answers = _asked(port, addresses, requests), _answers(port)
        server.should_exit = True
    raw = _raw(lake)
    files = lake.snapshot(UsageCosts).paths()
    pattern = f"{lake.uri(UsageCosts)}/{UsageCosts.partition}=*/*.parquet"
    if len(glob.glob(pattern)) != len(files):
        raise SystemExit("There are files of calls that no commit names: chdb would read them too.")
    return {
        "questions": {
            name: {
                "p50": 1000 * sorted(taken[address])[len(taken[address]) // 2],
                "p95": 1000 * sorted(taken[address])[int(0.95 * len(taken[address]))],
                "raw": 1000 * raw[name][0],
                "equal": _says_the_same(answers[name], raw[name][1]),
                "said": [[str(value) for value in row] for row in raw[name][1]],
                "query": query.replace("$tenant", f"'{BIGGEST}'"),
            }
            for name, (address, query) in QUESTIONS.items()
        },
        "files": pattern,
        "cold_seconds": sorted(cold)[1],
        "bytes": {key: int(sum(size)) for key, size in _sizes(lake)},
        "rows": sum(lake.rows(UsageCosts).values()),
    }


def _asked(port: int, addresses: list[str], requests: int) -> dict[str, list[float]]:
    arguments = json.dumps(["127.0.0.1", port, requests, PAUSE_SECONDS, addresses])
    reader = READER.replace("len(body) > 1000", "body")
    done = subprocess.run([sys.executable, "-c", reader, arguments], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def _answers(port: int) -> dict[str, list[dict[str, Any]]]:
    import urllib.request

    return {
        name: json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}{address}"))["rows"]
        for name, (address, _) in QUESTIONS.items()
    }


def _raw(lake: Lake) -> dict[str, tuple[float, list[tuple[Any, ...]]]]:
    """The best of three of each question over the files of the calls, and what it says."""
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    files = [f"{lake.uri(UsageCosts)}/{path}" for path in lake.snapshot(UsageCosts).paths()]
    reading = connection.from_parquet(files, hive_partitioning=True)
    reading.create_view("calls")
    found = {}
    for name, (_, query) in QUESTIONS.items():
        given = {"tenant": BIGGEST} if "$tenant" in query else {}
        seconds = []
        for _ in range(RAW_ROUNDS):
            begun = time.perf_counter()
            rows = connection.execute(query, given).fetchall()
            seconds.append(time.perf_counter() - begun)
        found[name] = min(seconds), rows
    return found


def _says_the_same(ours: list[dict[str, Any]], theirs: list[tuple[Any, ...]]) -> bool:
    """Costs to the last digit, users exactly, percentiles within a bucket."""
    from decimal import Decimal

    def key(row: dict[str, Any]) -> str:
        return str(next((row[name] for name in ("model", "tenant_id", "day", "month") if name in row), ""))

    known = {str(row[0]).removesuffix(" 00:00:00") if len(row) > 1 else "": row[-1] for row in theirs}
    for row in ours:
        wanted = known.pop(key(row))
        if "p95_tokens" in row:
            if abs(row["p95_tokens"] - wanted) > QUANTILE_OFF * wanted + 1:
                return False
        elif (row["users"] if "users" in row else Decimal(row["cost"])) != wanted:
            return False
    return not known


def _cold(address: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", COLD, address], check=True)
    return time.perf_counter() - begun


def _sizes(lake: Lake) -> list[tuple[str, list[int]]]:
    from data_platform.domains.metering.queries import USAGE

    tables = (UsageCosts, *USAGE.every_table)
    return [(table.key, lake.partitions(table)["bytes"].to_list()) for table in tables]
