"""One process that answers: its socket, its address, what keeps its answers quick.
Not here: any application (app), what one connection may cost (connections)."""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
from collections.abc import Callable

from starlette.types import ASGIApp

from data_platform.core.errors import PlatformError
from data_platform.web.connections import web_server


def run(app: ASGIApp, host: str, port: int, started: Callable[[str], None]) -> None:
    """Answer requests until interrupted; `started` is called with the address. Raises PlatformError when the port is
    taken or the application does not start."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # now: whoever reads the address may come before uvicorn is ready
    except OSError as error:
        listening.close()
        raise PlatformError(f"Cannot listen on {host}:{port} ({error.strerror}).", "Choose another --port.") from None
    shown = f"[{host}]" if ":" in host else host
    started(f"http://{shown}:{listening.getsockname()[1]}")
    be_quick()
    try:
        with contextlib.suppress(KeyboardInterrupt):  # ended in order, uvicorn raises anew the signal that asked for it
            web_server(app).run(sockets=[listening])
    finally:
        listening.close()
        gc.unfreeze()  # else libraries that count what is left at the end take all of it for leaks, and print it


def be_quick() -> None:
    """Keep answers from waiting for this process's own other work: the page's facts, and the garbage collector."""
    # A thread that computes holds the interpreter for 5 ms at a time by default: as long as an answer may take.
    sys.setswitchinterval(0.0001)
    # A full collection walks everything that was ever imported, some 0.3 s with Dagster; none of it is garbage.
    gc.collect()
    gc.freeze()
