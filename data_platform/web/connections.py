"""What one connection may cost: bytes of headers, seconds, a place among all connections.
Belongs here: the protocol class of the web server.
Not here: who may read what (app), bounds of bodies (core/http/requests)."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024
"""Address, headers and trailers of one request: uvicorn's limit with h11; its httptools protocol knows none."""
CHUNK_FRAMING = 16
"""Bytes around a chunk of a chunked body that do not count as header."""
HEAD_SECONDS = 10.0
"""From connecting, or from the first byte of a further request, to the end of its headers."""
REQUEST_SECONDS = 60.0
"""From the end of the headers to the end of the body. Bodies that are read have stricter bounds of their own."""
ANSWER_SECONDS = 60.0
"""A client that takes nothing of its answer for so long does not want it."""
MOST_CONNECTIONS = 512
"""Half the files a process may open by default. Past that the longest-waiting idle connection makes room."""

MOST_VIEWER_BYTES = 1024
"""Of a message that a viewer sends over a WebSocket: there is nothing to say there."""


def web_server(app: ASGIApp) -> uvicorn.Server:
    """A server of the application on bounded connections. Uvicorn's access log would print query strings, and with
    them tokens."""
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MOST_VIEWER_BYTES,
        # Packing each message for each of 100 viewers would cost more than sending it.
        ws_per_message_deflate=False,
    )
    return uvicorn.Server(config)


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's connection, closed when a client sends endless headers, sends or reads too slowly, or only waits while
    others want in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._opened_at = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """No request is being answered here."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            # WebSockets are no requests that wait; their number has a bound of its own (live/viewers).
            waiting = [one for one in self.connections if isinstance(one, BoundedConnection) and one.idle]
            longest = min(waiting, key=lambda one: one._opened_at)
            longest.transport.abort()
            self.connections.discard(longest)
        self._allow(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._allow(None)
        self._cancel_answer_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # All that came counts, and what turned out to be body is taken off again: also a header that never ends,
        # which the parser holds without a word.
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._allow(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._allow(REQUEST_SECONDS)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = max(0, self._head_bytes - len(body) - CHUNK_FRAMING)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        self._allow(None)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._allow(None)
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer_timer = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_answer_timer()

    def _allow(self, seconds: float | None) -> None:
        """The client has so long for its next step; None: it has done its part."""
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._too_slow) if seconds is not None else None

    def _cancel_answer_timer(self) -> None:
        if self._answer_timer:
            self._answer_timer.cancel()

    def _too_slow(self) -> None:
        if self.idle:
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.abort()

    def _refuse(self, status: bytes) -> None:
        if self.idle:
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
