"""The webhooks that the sources file configures, for the server that has a place for them.
Belongs here: which there are, at which paths, their segments. Not here: verifying (webhook), a server (web)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from data_platform.sources.connectors import Section, Ways, checked, known_source, require_library
from data_platform.sources.positions import held, positions
from data_platform.sources.rest.connector import Options, known_api
from data_platform.sources.segments import write_segment

log = logging.getLogger(__name__)


@contextlib.contextmanager
def webhooks(configured: Iterable[Section], ways: Ways) -> Iterator[dict[str, ASGIApp]]:
    """Path (`/webhooks/NAME`) → application of every `[rest.NAME]` with a `webhook_key`, for as long as this lasts.

    Each writes segments of a stream of its own; one that another process serves is left to it. Raises PlatformError
    for a section or a key that is wrong.
    """
    found: dict[str, ASGIApp] = {}
    with contextlib.ExitStack() as streams:
        for section in configured:
            if section.kind != "rest":
                continue
            options = checked(Options, section.title, section.options)
            declared = known_api(section.title, options).webhook
            if not options.webhook_key or declared is None:
                continue
            require_library("cryptography", "rest")
            from data_platform.sources.rest.webhook import webhook

            known_source(section.title, declared.source, ways.sources)
            stream = f"rest:{section.name}/{declared.name}"
            writer = StreamWriter(ways, declared.source, stream)
            application = webhook(declared, options.webhook_key, writer.write)
            if streams.enter_context(held(ways.folder(declared.source), stream)):
                found[f"/webhooks/{section.name}"] = application
            else:
                log.warning("The webhook of [%s] is served by another process.", section.title)
        yield found


def beside(app: ASGIApp, hooks: Mapping[str, ASGIApp]) -> ASGIApp:
    """An application, and webhooks at their paths."""
    if not hooks:
        return app

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await hooks.get(scope.get("path", ""), app)(scope, receive, send)

    return answer


class StreamWriter:
    """Each delivery as a segment. Positions are numbers of lines. Its stream is held by whoever makes it."""

    def __init__(self, ways: Ways, source: str, stream: str) -> None:
        self._ways = ways
        self._folder = ways.folder(source)
        self._stream = stream
        self._position: int | None = None
        self._turn = asyncio.Lock()

    async def write(self, lines: Sequence[bytes]) -> None:
        async with self._turn:
            await asyncio.to_thread(self._write, lines)

    def _write(self, lines: Sequence[bytes]) -> None:
        begin = self._position if self._position is not None else self._stands_at()
        self._position = None  # should the write fail, it may have happened all the same
        end = begin + len(lines)
        write_segment(self._folder, self._stream, begin, end, b"".join(lines), runs=((1, begin),))
        self._position = end

    def _stands_at(self) -> int:
        found = positions(self._ways.lake, self._folder).get(self._stream)
        return found.end if found else 0
