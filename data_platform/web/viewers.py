"""Who watches a page that changes: one WebSocket each, and everybody of one key gets the newest message as soon as he
can take it.
Belongs here: connections. Not here: what a message says (live/, costs/), when (watching), who may watch (app).

A viewer who is slow misses messages and delays nobody: what waits for him is one message, the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

MOST_VIEWERS = 200
"""Of one page. All pages' together stay below the number of connections that the server allows: pages are answered
however many watch."""
TAKE_SECONDS = 20.0
"""A viewer who takes nothing of a message for so long is gone."""
TRY_AGAIN_LATER = 1013

Key = TypeVar("Key", bound=Hashable)


class Viewers(Generic[Key]):
    """The viewers of one page, by what they may see. `keys` and `tell` are for any thread, all else is for the server's
    event loop."""

    def __init__(self) -> None:
        self._newest: dict[Key, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[Key, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def begin(self) -> None:
        """Belong to the running event loop."""
        self._loop = asyncio.get_running_loop()

    def keys(self) -> list[Key]:
        """Of which there are viewers."""
        return list(self._waiting)

    def tell(self, key: Key, message: str) -> None:
        """Send a message to everybody of one key."""
        if self._loop:
            with suppress(RuntimeError):  # the loop is closed: the server ends
                self._loop.call_soon_threadsafe(self._wake, key, message)

    def _wake(self, key: Key, message: str) -> None:
        if key not in self._waiting:
            return
        self._newest[key] = message
        for event in self._waiting[key]:
            event.set()

    async def watch(self, socket: WebSocket, key: Key, first: str) -> None:
        """Send one viewer what others were told last, else FIRST, if anything, and then what is new, until he goes."""
        await socket.accept()
        if len(self) >= MOST_VIEWERS:
            await socket.close(TRY_AGAIN_LATER)
            return
        new = asyncio.Event()
        if first:
            self._newest.setdefault(key, first)
        if key in self._newest:
            new.set()
        self._waiting.setdefault(key, set()).add(new)
        sending = asyncio.create_task(self._send(socket, key, new))
        try:
            with suppress(WebSocketDisconnect, RuntimeError):
                while True:  # viewers have nothing to say; this is how their going is noticed
                    await socket.receive_text()
        finally:
            sending.cancel()
            self._waiting[key].discard(new)
            if not self._waiting[key]:
                del self._waiting[key]
                self._newest.pop(key, None)

    async def _send(self, socket: WebSocket, key: Key, new: asyncio.Event) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await new.wait()
                new.clear()
                try:
                    await asyncio.wait_for(socket.send_text(self._newest[key]), TAKE_SECONDS)
                except TimeoutError:
                    await socket.close()
                    return
