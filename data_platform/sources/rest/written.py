"""JSON as it was written: an object of an API reaches its table with every number as the API spelt it.
Belongs here: taking a body apart without re-spelling it. Not here: what a member means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from data_platform.sources.files.json_rows import SCAN, STRING

LINE_BREAKS = re.compile(r"[ \t]*[\r\n][ \t\r\n]*")
"""With what indents the next line. Always between two parts: within a string a line break is written \\n."""
BLANKS = re.compile(r"[ \t]*")


@dataclass(frozen=True)
class Written:
    """A JSON value: its text, on one line, and what Python makes of it, where numbers are text."""

    text: str
    value: Any

    def member(self, name: str) -> Written | None:
        """Of an object; None where it has no such member, or this is no object."""
        if not isinstance(self.value, dict) or name not in self.value:
            return None
        at = _next(self.text, 1)
        while True:
            found, end = STRING(self.text, at + 1)
            at = _next(self.text, _next(self.text, end) + 1)
            value, end = SCAN(self.text, at)
            if found == name:
                return Written(self.text[at:end], value)
            at = _next(self.text, _next(self.text, end) + 1)

    def elements(self) -> Iterator[Written]:
        """Of an array, in order. Raises ValueError where this is none."""
        if not isinstance(self.value, list):
            raise ValueError("it is no array")
        at = 1
        for _ in self.value:
            at = _next(self.text, at)
            value, end = SCAN(self.text, at)
            yield Written(self.text[at:end], value)
            at = _next(self.text, end) + 1

    def field(self, *path: str) -> Any:
        """What lies at a path of members, None where there is nothing."""
        value = self.value
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def with_member(self, name: str, text: str) -> Written:
        """An object and one member more, given as JSON."""
        between = "," if self.value else ""
        added = f"{self.text[:-1]}{between}{json.dumps(name)}:{text}}}"
        return Written(added, {**self.value, name: json.loads(text)})


def written(body: bytes) -> Written:
    """A whole body. Raises ValueError where it is no JSON, for example because it was cut short."""
    try:
        text = LINE_BREAKS.sub(" ", body.decode()).strip(" \t")
        value, end = SCAN(text, 0)
    except (ValueError, StopIteration, IndexError, RecursionError):
        raise ValueError("it is no JSON") from None
    if end != len(text):
        raise ValueError("something follows the JSON")
    return Written(text, value)


def _next(text: str, at: int) -> int:
    """Where the next part begins."""
    blanks = BLANKS.match(text, at)
    return blanks.end() if blanks else at
