"""An application behind a real HTTP server on a free port, or on one that was free, and a client of it.
Not here: any application."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx
from starlette.types import ASGIApp

from data_platform.web.connections import web_server


@contextlib.contextmanager
def served(app: ASGIApp, port: int = 0) -> Iterator[httpx.Client]:
    server = web_server(app)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(20)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
