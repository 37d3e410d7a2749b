"""The collector as a raw ASGI application: which address is answered by what, within which bounds.
Belongs here: the way of a request from its token to its answer. Not here: files (journal), waiting (intake), what an
event must hold (events).

Raw, because a framework around this one hot path costs two fifths of its requests per second."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, Self

from starlette.types import Receive, Scope, Send

from data_platform.core.errors import PlatformError
from data_platform.core.hosts import host_name, is_this_machine
from data_platform.core.http.problems import Answer, Problem, unknown
from data_platform.core.http.requests import Disconnected, too_large
from data_platform.core.http.tokens import Tokens
from data_platform.sources.http.batch import messages_in
from data_platform.sources.http.bodies import MOST_BYTES, events_in, unpacked
from data_platform.sources.http.events import Judged, Rules
from data_platform.sources.http.intake import Behind, Intake
from data_platform.sources.http.options import Options
from data_platform.sources.http.producers import Producer, as_bearer
from data_platform.sources.landing_source import LandingSource

logger = logging.getLogger(__name__)
Headers = Mapping[bytes, bytes]
EVENTS, BATCH, HEALTH = b"/v1/events", b"/v1/batch", b"/healthz"
SOURCE = b"source="
MOST_HELD = 64_000_000
"""Bytes of large bodies in this process, beyond the first `LARGE` of each, until they are answered. Who brings more is
told to come again: memory does not grow with the clients, and slow ones hold up no small request."""
LARGE = 32_000
"""Bytes of a body that is read in another thread: 5 MB take 60 ms, for which nobody else would be answered."""


class Collector:
    """Takes events by POST and answers 202 when they are on the disk. It begins and ends with the server's lifespan."""

    def __init__(
        self, intake: Intake, tokens: Tokens[Producer], sources: Mapping[str, LandingSource], options: Options
    ) -> None:
        self._intake, self._tokens, self._options = intake, tokens, options
        self._rules = {name: Rules(source) for name, source in sources.items()}
        self._room = _Room(MOST_HELD)
        self._one_large = asyncio.Semaphore(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            answer = await self._answer(scope, receive)
        except Disconnected:
            return
        await answer.send(send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._intake.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            return await self._taken(scope, receive)
        except Problem as problem:
            return problem.answer()
        except Behind:
            told = "Events come faster than they can be stored."
            return Problem(429, "behind", told, "Retry after 1 s.", {"retry-after": "1"}).answer()
        except (OSError, PlatformError) as error:
            logger.debug("A request was not stored: %s", error)
            told = "Events cannot be stored at the moment."
            return Problem(503, "unavailable", told, "Send them again later.", {"retry-after": "5"}).answer()
        except Disconnected:
            raise
        except Exception:
            logger.exception("A request to the collector failed.")
            return Problem(500, "internal-error", "This is a defect of the server; its log has the details.").answer()

    async def _taken(self, scope: Scope, receive: Receive) -> Answer:
        path, headers = scope["raw_path"], dict(scope["headers"])
        if path == HEALTH:
            return Answer(b'{"status": "ok"}')
        producer = self._admitted(headers)
        if path not in (EVENTS, BATCH):
            raise Problem(404, "no-such-address", "There is nothing at this address.", "POST to /v1/events.")
        if scope["method"] != "POST":
            raise Problem(405, "method-not-allowed", "Only POST works here.", headers={"allow": "POST"})
        source = self._source(scope)
        if producer:
            producer.require(source)
        if source not in self._rules:
            raise unknown(404, "source", source, self._rules)
        with _Held(self._room) as held:
            body = await _read(headers, receive, held)
            judged = await self._judged(path, headers, body, source, producer.tenant if producer else None)
            held.grow(len(body) + len(judged.lines))
            if judged.events:
                intake = await self._intake.of(source)
                await intake.put(judged.lines, judged.events)
        return _told(judged)

    def _admitted(self, headers: Headers) -> Producer | None:
        """Whoever posts; None is this machine, where there are no tokens. Nothing of the body is read before."""
        here = is_this_machine(host_name(headers.get(b"host", b"").decode("latin-1")))
        bucket = self._tokens.bucket(as_bearer(headers.get(b"authorization", b"")), here)
        if bucket is None:
            return None
        bucket.take()
        return bucket.token

    def _source(self, scope: Scope) -> str:
        query: bytes = scope["query_string"]
        if not query:
            return self._options.source
        if not query.startswith(SOURCE):
            raise Problem(422, "unknown-parameter", "The only parameter is `source`.")
        return query[len(SOURCE) :].decode("latin-1")

    async def _judged(self, path: bytes, headers: Headers, body: bytes, source: str, tenant: str | None) -> Judged:
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        encoding = headers.get(b"content-encoding", b"").strip().lower()

        def judge() -> Judged:
            text = unpacked(body, encoding)
            if path == BATCH:
                events = messages_in(text, media_type, self._options.batch)
            else:
                events = events_in(text, media_type, careful=tenant is not None)
            return self._rules[source].judge(events, tenant)

        if len(body) < LARGE and not encoding:
            return judge()
        async with self._one_large:
            return await asyncio.to_thread(judge)


class _Room:
    """Of the memory for bodies: bytes that are left."""

    def __init__(self, size: int) -> None:
        self.left = size


class _Held:
    """What one request holds of it, given back when the block ends."""

    __slots__ = ("_mine", "_room")

    def __init__(self, room: _Room) -> None:
        self._room, self._mine = room, 0

    def grow(self, size: int) -> None:
        """To so many bytes in all. Raises Behind where there is no room."""
        more = size - LARGE - self._mine
        if more > 0:
            if more > self._room.left:
                raise Behind
            self._room.left -= more
            self._mine += more

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._room.left += self._mine


async def _read(headers: Headers, receive: Receive, held: _Held) -> bytes:
    """The body. How slow it may come is bounded by the connection (web/connections)."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > MOST_BYTES:
        raise too_large(MOST_BYTES)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > MOST_BYTES:
            raise too_large(MOST_BYTES)
        held.grow(size)
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _told(judged: Judged) -> Answer:
    """202 when anything was taken, else 422: then sending the same again has no use."""
    if not judged.rejected and judged.events:
        return Answer(b'{"accepted": %d, "rejected": []}' % judged.events, 202)
    rejected: list[dict[str, Any]] = [{"index": index, "reason": reason} for index, reason in judged.rejected]
    said = json.dumps({"accepted": judged.events, "rejected": rejected}).encode()
    return Answer(said, 202 if judged.events else 422)
