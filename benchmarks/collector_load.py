"""A collector in a process of its own, and clients that post to it as fast as it answers.
Not here: goals (collector)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from data_platform.core.settings import settings
from data_platform.sources.segments import read_segment

DIFFERENT_REQUESTS = 2_000
WARM_UP = 2_000
SERVE = "from data_platform.cli import main; main()"


class Client(asyncio.Protocol):
    """One keep-alive connection that posts again as soon as it was answered."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: Any = None
        self.received = bytearray()
        self.sent_at = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.post()

    def post(self) -> None:
        request = self.load.next()
        if request is not None:
            self.sent_at = time.perf_counter()
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.received.endswith(b"}"):
            return
        if not self.received.startswith(b"HTTP/1.1 202"):
            raise SystemExit(f"the collector answered {bytes(self.received[:300])!r}")
        self.received.clear()
        self.load.answered(time.perf_counter() - self.sent_at)
        self.post()


class Load:
    """So many requests, over so many connections."""

    def __init__(self, requests: list[bytes], count: int) -> None:
        self.requests, self.count, self.begun, self.latencies = requests, count, 0, np.zeros(count, np.float32)
        self.done = 0
        self.finished = asyncio.Event()

    def next(self) -> bytes | None:
        if self.begun == self.count:
            return None
        self.begun += 1
        return self.requests[self.begun % len(self.requests)]

    def answered(self, seconds: float) -> None:
        self.latencies[self.done] = seconds
        self.done += 1
        if self.done == self.count:
            self.finished.set()

    async def run(self, port: int, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: Client(self), "127.0.0.1", port)
        await self.finished.wait()


def measure(requests: int, events: int, connections: int) -> dict[str, Any]:
    """Seconds, p50 and p99 in ms, processor seconds and memory of the server, events that are stored."""
    load_before = os.getloadavg()[0]
    with _served() as (server, port):
        uvloop.run(Load(_requests(events), WARM_UP).run(port, connections))
        load, processor, begun = Load(_requests(events), requests), _processor_seconds(server.pid), time.perf_counter()
        uvloop.run(load.run(port, connections))
        seconds, processor = time.perf_counter() - begun, _processor_seconds(server.pid) - processor
        resident = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    p50, p99 = np.percentile(load.latencies * 1000, [50, 99])
    segments = [read_segment(path) for path in (settings().landing / "player_events").glob("*.zst")]
    return {
        "requests": requests, "seconds": seconds, "p50": float(p50), "p99": float(p99), "processor": processor,
        "resident": resident, "stored": max(one.end for one in segments) - WARM_UP * events,
        "segments": len(segments), "load_before": load_before,
    }  # fmt: skip


@contextlib.contextmanager
def _served() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-c", SERVE, "serve", "collector", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r":(\d+)/v1/events", server.stdout.readline())
        assert found
        yield server, int(found[1])
    finally:
        server.terminate()
        server.communicate()


def _requests(events: int) -> list[bytes]:
    made = []
    for number in range(DIFFERENT_REQUESTS):
        body = json.dumps([_event(f"{number:08d}-{each}") for each in range(events)], separators=(",", ":"))
        head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        made.append(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    return made


def _event(name: str) -> dict[str, Any]:
    return {
        "event_id": f"event-{name}", "player_id": f"player-{name}", "event_type": "combat_start",
        "event_data": {"enemy": "wolf", "level": 7}, "session_id": "s-1", "timestamp": "2024-01-03T10:00:00.123Z",
    }  # fmt: skip


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
