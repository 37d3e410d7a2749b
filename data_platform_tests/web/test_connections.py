"""What a single connection may cost the web server, over real sockets: endless heads, slow senders and readers, crowds.
Not here: who may read what (test_health_access, test_feature_api_access)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from data_platform.web import connections
from data_platform_tests.support.http_server import served

CHUNK = b"x" * 65_536
LARGE = 30_000_000


async def _size(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _large(_request: Request) -> Response:
    return PlainTextResponse("y" * LARGE)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    routes = [Route("/", _size, methods=["GET", "POST"]), Route("/large", _large)]
    with served(Starlette(routes=routes)) as client:
        yield client


@contextlib.contextmanager
def connected(client: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=20) as connection:
        yield connection


def sent_until_refused(connection: socket.socket, start: bytes, more: bytes, most: int) -> tuple[int, bytes]:
    """Bytes that were taken before the server ended it, and what it said."""
    taken = 0
    try:
        connection.sendall(start)
        while taken < most:
            connection.sendall(more)
            taken += len(more)
    except OSError:
        pass
    try:
        return taken, connection.recv(1000)
    except OSError:
        return taken, b""


ENDLESS = {
    "one header": (b"GET / HTTP/1.1\r\nhost: x\r\nx: ", CHUNK),
    "headers": (b"GET / HTTP/1.1\r\nhost: x\r\n", b"".join(b"h%d: %s\r\n" % (n, b"v" * 100) for n in range(500))),
    "address": (b"GET /", CHUNK),
    "trailers": (
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        b"".join(b"t%d: %s\r\n" % (n, b"v" * 100) for n in range(500)),
    ),
    "chunk extension": (
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;e=",
        CHUNK,
    ),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory(client: httpx.Client, kind: str) -> None:
    with connected(client) as connection:
        taken, _ = sent_until_refused(connection, *ENDLESS[kind], most=100_000_000)
    # What lies in the sockets' own buffers was not held by the server.
    assert taken < 20_000_000
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("piece", [100, 100_000])
def test_bodies_are_no_heads_in_chunks_of_any_size(client: httpx.Client, piece: int) -> None:
    body = [b"z" * piece] * (2_000_000 // piece)
    assert client.post("/", content=iter(body)).text == "2000000"
    assert client.post("/", content=b"z" * 5_000_000).text == "5000000"


def test_headers_up_to_the_limit_are_taken_and_a_greater_one_is_refused_in_words(client: httpx.Client) -> None:
    assert client.get("/", headers={"x": "v" * 60_000}).status_code == 200
    with connected(client) as connection:
        _, said = sent_until_refused(connection, b"GET / HTTP/1.1\r\nhost: x\r\nx: ", b"v" * 70_000, most=70_000)
    assert said.startswith(b"HTTP/1.1 431")


SLOW = {
    "says nothing": b"",
    "stops in the headers": b"GET / HTTP/1.1\r\nhost:",
    "stops in a second request": b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET /",
    "stops in the body": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc",
}


def closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(1000):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_sender_is_let_go(monkeypatch: pytest.MonkeyPatch, client: httpx.Client, kind: str) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    with connected(client) as connection:
        connection.sendall(SLOW[kind])
        assert closed_within(connection, 10)


def test_a_byte_now_and_then_does_not_extend_the_time(monkeypatch: pytest.MonkeyPatch, client: httpx.Client) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
        for number in range(200):
            connection.sendall(b"h%d: v\r\n" % number)
            time.sleep(0.05)

    with connected(client) as connection, pytest.raises(ConnectionError):
        drip(connection)


def test_a_client_that_never_reads_is_let_go(monkeypatch: pytest.MonkeyPatch, client: httpx.Client) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.5)
    with connected(client) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(2)
        received = 0
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1_000_000):
                received += len(part)
        assert received < LARGE


def test_idle_connections_make_room_for_requests(monkeypatch: pytest.MonkeyPatch, client: httpx.Client) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60.0)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connected(client)) for _ in range(60)]
        new: Callable[[], httpx.Response] = lambda: httpx.get(client.base_url, timeout=5)  # noqa: E731
        assert [new().status_code for _ in range(5)] == [200] * 5
        closed = [closed_within(connection, 0.05) for connection in crowd]
        assert 40 <= sum(closed) <= 55
