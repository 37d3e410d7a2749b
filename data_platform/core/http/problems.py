"""What goes wrong, as the JSON problem documents of RFC 9457, and answers in general.
Not here: when anything is wrong."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Send

JSON = "application/json"
PROBLEM = "application/problem+json"
LONGEST_QUOTE = 80
"""Characters of what a client sent that an answer repeats."""


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    body: bytes
    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Send) -> None:
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *((name.encode(), value.encode()) for name, value in self.headers.items()),
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Problem(Exception):
    """A request that is not answered as asked: `name` is its kind, `detail` what is wrong, `remedy` what to do."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.headers = status, dict(headers or {})
        named = {"type": f"urn:data-platform:problem:{name}", "title": name.replace("-", " ").capitalize()}
        self.document = named | {"status": status, "detail": detail} | ({"remedy": remedy} if remedy else {}) | more

    def answer(self) -> Answer:
        return Answer(json.dumps(self.document).encode(), self.status, PROBLEM, self.headers)


def unknown(status: int, what: str, given: str, known: Iterable[str]) -> Problem:
    """A name that does not exist, with the existing ones that look like it."""
    names = sorted(known)
    near = difflib.get_close_matches(given[:LONGEST_QUOTE], names, n=3, cutoff=0.5)
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"There is: {', '.join(names) or 'none'}."
    kind = f"unknown-{what.replace(' ', '-')}"
    return Problem(status, kind, f"There is no {what} {quoted(given)}.", remedy, near_misses=near)


def quoted(text: str) -> str:
    """What a client sent, cut and escaped so that it can be shown anywhere."""
    cut = text[:LONGEST_QUOTE] + ("…" if len(text) > LONGEST_QUOTE else "")
    return json.dumps(cut.encode(errors="replace").decode())
