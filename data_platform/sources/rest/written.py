"""JSON as it was written: an object of an API reaches its table with every number as the API spelt it.
Belongs here: taking a body apart without re-spelling it. Not here: what a member means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from data_platform.sources.files.json_rows import SCAN, TOKEN, written_members


@dataclass(frozen=True)
class Written:
    """A JSON value: its text, without blanks between its parts, and what Python makes of it, where numbers are text."""

    text: str
    value: Any

    def member(self, name: str) -> Written | None:
        """Of an object; None where it has no such member, or this is no object."""
        if isinstance(self.value, dict) and name in self.value:
            for found, _, text, value in written_members(self.text):
                if found == name:
                    return Written(text, value)
        return None

    def elements(self) -> Iterator[Written]:
        """Of an array, in order. Raises ValueError where this is none."""
        if not isinstance(self.value, list):
            raise ValueError("it is no array")
        at = 1
        for _ in self.value:
            value, end = SCAN(self.text, at)
            yield Written(self.text[at:end], value)
            at = end + 1

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
        compact = "".join(TOKEN.findall(body.decode()))
        value, end = SCAN(compact, 0)
    except (ValueError, StopIteration, IndexError, RecursionError):
        raise ValueError("it is no JSON") from None
    if end != len(compact):
        raise ValueError("something follows the JSON")
    return Written(compact, value)
