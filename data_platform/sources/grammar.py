"""How a value must be written in a line: the text is matched before anything is cast, because casts take more than one
means (`24-1-5`, `epoch`, +99:99) and round what does not fit. Regular expressions of DuckDB (RE2), for whole texts.
Not here: what a contract asks of a value."""

from __future__ import annotations

import json
from collections.abc import Sequence

MOMENT = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|UTC)|[+-](0\d|1[0-4])(:?[0-5]\d)?)?)?"
"""ISO 8601 with a year of four digits; without an offset it is UTC. What is finer than a microsecond is cut off."""

FIRST_MOMENT, AFTER_LAST_MOMENT = "0001-01-01 00:00:00+00", "10000-01-01 00:00:00+00"
"""An offset may lead out of the years that every reader of the tables can hold."""

PLAIN_MOMENT = "2___-__-__T__:__:__%Z"
"""LIKE pattern of moments that the cast and `MOMENT` read alike, if they have no blank, no `.Z` and at most 30
characters. A quarter of the time of the expression: 22 ns a value against 95."""

WHOLE, WHOLE_AS_FLOAT = r"-?\d+", r"-?\d+\.0"
"""A whole number as DuckDB's parser hands it on. It writes every other number anew as the nearest double, also 6.0 and
1e3: those are looked at as they are written, by `wrongly_whole`."""
LARGEST_EXACT_FLOAT = 2**53

POSITION = r'\d{1,38}|"\d{1,38}"'
"""A position in a log (a version, a system change number, a log sequence number), as a JSON number or as text."""
POSTGRES_POSITION = r'"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}"'
"""PostgreSQL's spelling of its 64-bit log sequence numbers: two halves in hexadecimal, `16/B374D848`."""


def wrongly_whole(line: str, names: Sequence[str]) -> str | None:
    """The first of the fields whose number in the line is no whole one as written: 6 and 6.0 are, 6.5, 1e3 and
    6.0000000000000000001 are not, though a double might be."""
    pairs: list[tuple[str, object]] = json.loads(line, parse_int=str, parse_float=str, object_pairs_hook=list)
    for name, text in pairs:
        if name in names and isinstance(text, str) and not _is_whole(text):
            return name
    return None


def _is_whole(text: str) -> bool:
    digits, _, fraction = text.removeprefix("-").partition(".")
    return digits.isdigit() and not fraction.strip("0")
