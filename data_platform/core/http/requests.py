"""Reading a request with bounds. Not here: what any API asks of its requests."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from data_platform.core.http.problems import Problem

BODY_SECONDS = 30.0


class Disconnected(Exception):
    """The client went away before it had sent its request."""


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that name (lower case); empty without one."""
    return next((value for key, value in scope["headers"] if key == name), b"")


async def read_bytes(scope: Scope, receive: Receive, most_bytes: int) -> bytes:
    """The request's body. Raises Problem for too many bytes (413) or too slow a client (408), and Disconnected."""
    length = header(scope, b"content-length")
    if length.isdigit() and int(length) > most_bytes:
        raise too_large(most_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                part = message.get("body", b"")
                size += len(part)
                if size > most_bytes:
                    raise too_large(most_bytes)
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Problem(408, "too-slow", f"The body did not arrive within {BODY_SECONDS:.0f} s.") from None


async def read_body(scope: Scope, receive: Receive, media_type: str, most_bytes: int) -> bytes:
    """The request's body. Raises Problem: another media type (415), too many bytes (413), too slow a client (408)."""
    stated = header(scope, b"content-type").decode("latin-1")
    if stated.partition(";")[0].strip().lower() != media_type:
        raise Problem(
            415, "unsupported-media-type", f"The body must be {media_type}.", f"Send Content-Type: {media_type}."
        )
    if header(scope, b"content-encoding") not in (b"", b"identity"):
        raise Problem(415, "unsupported-encoding", "The body must not be compressed.")
    return await read_bytes(scope, receive, most_bytes)


def too_large(most_bytes: int) -> Problem:
    return Problem(413, "too-large", f"The body has more than {most_bytes:,} bytes.", "Send it in parts.")
