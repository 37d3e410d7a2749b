"""Who watches a live page: one WebSocket each, and everybody gets the newest message as soon as he can take it.
Belongs here: connections. Not here: what a message says, who may watch (app).

A viewer who is slow misses messages and delays nobody: what waits for him is one message, the newest."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

MOST_VIEWERS = 400
"""Below the number of connections that the server allows: pages are answered however many watch."""
TAKE_SECONDS = 20.0
"""A viewer who takes nothing of a message for so long is gone."""
TRY_AGAIN_LATER = 1013


class Viewers:
    """The viewers of one page. All but `tell` is for the server's event loop."""

    def __init__(self) -> None:
        self.newest = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self) -> None:
        """Belong to the running event loop."""
        self._loop = asyncio.get_running_loop()

    def tell(self, message: str) -> None:
        """Send everybody a message; from any thread."""
        self.newest = message
        if self._loop and self._waiting:
            with suppress(RuntimeError):  # the loop is closed: the server ends
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    async def watch(self, socket: WebSocket) -> None:
        """Send one viewer what there is, and then whatever is new, until he goes."""
        await socket.accept()
        if len(self) >= MOST_VIEWERS:
            await socket.close(TRY_AGAIN_LATER)
            return
        new = asyncio.Event()
        new.set()
        self._waiting.add(new)
        sending = asyncio.create_task(self._send(socket, new))
        try:
            with suppress(WebSocketDisconnect, RuntimeError):
                while True:  # viewers have nothing to say; this is how their going is noticed
                    await socket.receive_text()
        finally:
            self._waiting.discard(new)
            sending.cancel()

    async def _send(self, socket: WebSocket, new: asyncio.Event) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await new.wait()
                new.clear()
                try:
                    await asyncio.wait_for(socket.send_text(self.newest), TAKE_SECONDS)
                except TimeoutError:
                    await socket.close()
                    return
