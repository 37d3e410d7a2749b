"""An open-loop reader of the feature API: requests leave by the clock, whether or not the answers before have come.
Not here: the server, goals. `python -m benchmarks.online_load JSON` writes moments and latencies to a file."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any

import numpy as np
import uvloop

MOST_CONNECTIONS = 64
DIFFERENT_REQUESTS = 5_000


class Connection(asyncio.Protocol):
    """One keep-alive connection: one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: Any = None
        self.received = bytearray()
        self.due = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.load.free(self)

    def send(self, due: int) -> None:
        self.due = due
        self.transport.write(self.load.requests[due % len(self.load.requests)])

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.received.find(b"content-length: ")
        length = int(self.received[at + 16 : self.received.find(b"\r\n", at)])
        if len(self.received) < end + 4 + length:
            return
        self.load.done(self.due, self.received.startswith(b"HTTP/1.1 200"))
        self.received.clear()
        self.load.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.load.finished.is_set():
            raise SystemExit("the server closed a connection")


class Load:
    """Poisson arrivals at a rate. The latency of a request counts from when it was due, so that time it spent waiting
    for a connection, or for this process, is not left out."""

    def __init__(self, requests: list[bytes], count: int, rate: float) -> None:
        random = np.random.default_rng(7)
        self.requests = requests
        self.due = np.cumsum(random.exponential(1 / rate, count))
        self.latency = np.full(count, np.nan, np.float32)
        self.wrong = self.answered = 0
        self.idle: deque[Connection] = deque()  # taken in turn: the server closes what is idle for 5 s
        self.waiting: deque[int] = deque()
        self.finished = asyncio.Event()

    def free(self, connection: Connection) -> None:
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def done(self, number: int, good: bool) -> None:
        self.latency[number] = time.perf_counter() - self.begun - self.due[number]
        self.wrong += not good
        self.answered += 1
        if self.answered == len(self.due):
            self.finished.set()

    async def run(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(MOST_CONNECTIONS):
            await loop.create_connection(lambda: Connection(self), host, port)
        self.begun, self.epoch = time.perf_counter(), time.time()
        number, count = 0, len(self.due)
        while number < count:
            now = time.perf_counter() - self.begun
            while number < count and self.due[number] <= now:
                if self.idle:
                    self.idle.popleft().send(number)
                else:
                    self.waiting.append(number)
                number += 1
            if number < count:
                await asyncio.sleep(max(0.0, self.due[number] - now))
        await self.finished.wait()


def _requests(feature_set: str, players: int, at_once: int, token: str) -> list[bytes]:
    """Random players; as many different requests as there are connections to keep busy for seconds."""
    random = np.random.default_rng(3)
    head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
    made = []
    for chosen in random.integers(0, players, (DIFFERENT_REQUESTS, at_once)):
        ids = [f"player-{number:08d}" for number in chosen]
        if at_once == 1:
            made.append(f"GET /v1/features/{feature_set}/{ids[0]} HTTP/1.1\r\n{head}\r\n".encode())
        else:
            body = json.dumps({"player_ids": ids})
            head_of_body = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            made.append(f"POST /v1/features/{feature_set}:batch HTTP/1.1\r\n{head}{head_of_body}".encode())
    return made


def main() -> None:
    asked = json.loads(sys.argv[1])
    load = Load(
        _requests(asked["feature_set"], asked["players"], asked["at_once"], asked["token"]),
        asked["requests"],
        asked["rate"],
    )
    uvloop.run(load.run("127.0.0.1", asked["port"]))
    np.savez(asked["to"], at=load.epoch + load.due, latency=load.latency)
    print(json.dumps({"wrong": load.wrong}))


if __name__ == "__main__":
    main()
