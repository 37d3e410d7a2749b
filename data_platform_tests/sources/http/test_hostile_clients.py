"""Whoever wants to do harm is refused, the collector's memory stays as it is, and others are answered meanwhile.
Not here: connections in general (web/test_connections), who may post (test_producers)."""

from __future__ import annotations

import contextlib
import gzip
import random
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from data_platform_tests.support.collectors import JSON, PACKED, Process, named, packed, producers_file, stored_ids
from data_platform_tests.support.homes import Home, line

TOKEN, OTHER = "game-" + "g" * 40, "other-" + "o" * 40
MINE = {"authorization": f"Bearer {TOKEN}"}
MOST_PEAK = 220_000_000
"""Bytes of memory beyond the peak of its first good requests: 64 MB of bodies, and one body of 5 MB that is read, which
takes 110 MB if it is a million empty lists."""
MOST_GROWTH = 60_000_000
"""Bytes that it keeps of all further attacks once it has seen each of them: what the allocator does not give back."""
EVENTS = "/v1/events"


@pytest.fixture
def running(home: Home, tmp_path: Path) -> Iterator[Process]:
    tokens = producers_file(
        tmp_path,
        {"token": TOKEN, "sources": ["player_events"], "requests_per_second": 1e6, "burst": 1_000_000},
        {"token": OTHER, "sources": ["event_totals"], "requests_per_second": 1e6, "burst": 1_000_000},
    )
    started = Process(home, DATA_PLATFORM_COLLECTOR_TOKENS=str(tokens))
    try:
        yield started
    finally:
        started.kill()


def bomb(megabytes: int) -> bytes:
    """As many bytes in a thousandth of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(b"[" * 1_000_000) for _ in range(megabytes)]) + packer.flush()


BOMB, BOMB_OF_MEMBERS = bomb(300), gzip.compress(b" " * 1_000_000) * 100
NESTED = b"[" + b"[]," * 1_600_000 + b"[]]"
HOSTILE: dict[str, tuple[Callable[[httpx.Client], httpx.Response], set[int]]] = {
    "no token": (lambda client: client.post(EVENTS, content=b"x" * 100_000, headers=JSON), {401}),
    "a wrong token": (lambda client: client.post(EVENTS, headers=JSON | {"authorization": f"Bearer {TOKEN}x"}), {401}),
    "another producer's token": (
        lambda client: client.post(EVENTS, content=line(), headers=JSON | {"authorization": f"Bearer {OTHER}"}),
        {403},
    ),
    "a path": (lambda client: client.post(f"{EVENTS}?source=../../lake", content=line(), headers=JSON | MINE), {403}),
    "another path": (lambda client: client.post("/v1/../../etc/passwd", content=line(), headers=JSON | MINE), {404}),
    "no JSON": (lambda client: client.post(EVENTS, content=random.randbytes(2_000), headers=JSON | MINE), {400}),
    "depth": (lambda client: client.post(EVENTS, content=b"[" * 30_000, headers=JSON | MINE), {400}),
    "another method": (lambda client: client.request("DELETE", EVENTS, headers=MINE), {405}),
}
LARGE: dict[str, tuple[Callable[[httpx.Client], httpx.Response], set[int]]] = {
    "too large": (lambda client: client.post(EVENTS, content=b"x" * 6_000_000, headers=JSON | MINE), {413}),
    "too large, in chunks": (
        lambda client: client.post(EVENTS, content=iter([b"x" * 100_000] * 60), headers=JSON | MINE),
        {413},
    ),
    "a bomb": (lambda client: client.post(EVENTS, content=BOMB, headers=PACKED | MINE), {413}),
    "a bomb of many members": (
        lambda client: client.post(EVENTS, content=BOMB_OF_MEMBERS, headers=PACKED | MINE),
        {413},
    ),
    "a million lists": (lambda client: client.post(EVENTS, content=NESTED, headers=JSON | MINE), {413}),
    "a list of a million lists": (
        lambda client: client.post(EVENTS, content=b"[" + NESTED + b"]", headers=JSON | MINE),
        {422},
    ),
}


def attacked(running: Process, small: int, large: int) -> None:
    with httpx.Client(base_url=running.url, timeout=60) as client:
        for _ in range(20):
            client.post(EVENTS, content=packed(*named("x" * 100)), headers=PACKED | MINE)
        peak = running.peak_bytes
        for kind, (attack, expected) in (HOSTILE | LARGE).items():
            assert attack(client).status_code in expected, kind
        kept = running.own_bytes
        for attacks, number in ((HOSTILE, small), (LARGE, large)):
            for count in range(number):
                kind = list(attacks)[count % len(attacks)]
                attack, expected = attacks[kind]
                try:
                    assert attack(client).status_code in expected, kind
                except httpx.TransportError:  # refused before it had sent everything
                    assert attacks is LARGE, kind
        grown, peaked = running.own_bytes - kept, running.peak_bytes - peak
        assert client.post(EVENTS, content=packed(*named("good")), headers=PACKED | MINE).status_code == 202
    print(f"{small + large:,} attacks: {grown / 1e6:.0f} MB kept, {peaked / 1e6:.0f} MB at most")
    assert grown < MOST_GROWTH
    assert peaked < MOST_PEAK


def test_hostile_requests_are_refused_and_memory_is_flat(home: Home, running: Process) -> None:
    attacked(running, 800, 18)
    assert running.stop() == 0
    assert stored_ids(home)[-1] == "good"
    assert "Traceback" not in running.said
    assert TOKEN not in running.said


@pytest.mark.soak
def test_memory_is_flat_over_a_hundred_thousand_hostile_requests(home: Home, running: Process) -> None:
    attacked(running, 100_000, 300)


def test_slow_clients_hold_nobody_up(running: Process) -> None:
    """Half-sent bodies of 4 MB on a hundred connections: the room for large bodies runs out, and nothing else does."""
    head = b"POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n" % TOKEN.encode()
    head += b"content-type: application/json\r\ncontent-length: 4000000\r\n\r\n"
    before = running.peak_bytes
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=0.5))
            with contextlib.suppress(OSError):  # told to come back, or not read any more
                slow.sendall(head + b"[" * 3_900_000)
        with httpx.Client(base_url=running.url, timeout=30) as client:
            for _ in range(20):
                assert client.post(EVENTS, content=line(), headers=JSON | MINE).status_code == 202
            many = client.post(EVENTS, content=b"[" + b" " * 4_000_000 + b"]", headers=JSON | MINE)
            assert many.status_code == 429, "the room is used up"
        assert running.peak_bytes - before < MOST_PEAK
    with httpx.Client(base_url=running.url, timeout=30) as client:
        until = time.monotonic() + 20
        while client.post(EVENTS, content=b"[" + b" " * 4_000_000 + b"]", headers=JSON | MINE).status_code != 422:
            assert time.monotonic() < until, "what they held is not given back"
