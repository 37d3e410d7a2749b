"""The events in a request's body: unpacked with a bound, each with the very text that was sent.
Belongs here: gzip, arrays, lines of JSON. Not here: what an event must hold (events), other shapes (batch)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from json.decoder import WHITESPACE  # type: ignore[attr-defined]
from typing import Any, NoReturn

from data_platform.core.http.problems import Problem
from data_platform.core.http.requests import too_large

MOST_BYTES = 5_000_000
"""Of a body, as sent and unpacked."""
JSON_TYPES = (b"application/json",)
LINE_TYPES = (b"application/x-ndjson", b"application/ndjson", b"application/jsonl")
GZIP = 16 + zlib.MAX_WBITS


class NoEvent:
    """In place of what a text means, when it means nothing: why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


Event = tuple[str, Any]
"""(text on one line, what it means as JSON, or a NoEvent)."""


def unpacked(body: bytes, encoding: bytes) -> bytes:
    """A body without its `content-encoding`. Raises Problem: another encoding (415), no gzip (400), too large (413)."""
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise Problem(415, "unsupported-encoding", "The body may be compressed with gzip alone.")
    parts: list[bytes] = []
    left = MOST_BYTES
    rest = body
    try:
        while rest:
            member = zlib.decompressobj(GZIP)
            parts.append(member.decompress(rest, left + 1))  # a bomb is unpacked this far and no further
            left -= len(parts[-1])
            if left < 0:
                raise too_large(MOST_BYTES)
            if not member.eof:
                raise Problem(400, "malformed-gzip", "The gzip stream is cut short.")
            rest = member.unused_data
    except zlib.error:
        raise Problem(400, "malformed-gzip", "The body is not gzip.") from None
    return b"".join(parts)


def events_in(body: bytes, media_type: bytes, *, careful: bool = False) -> Iterator[Event]:
    """Every event: one object, those of an array, or one a line. `careful` refuses objects that name a field twice,
    which readers take differently. Raises Problem for another media type (415) and for a body that is no JSON (400):
    of an array nothing is known behind the place where it breaks."""
    decoder = CAREFUL if careful else PLAIN
    if media_type in LINE_TYPES:
        return _lines(body, decoder)
    if media_type not in JSON_TYPES:
        raise Problem(415, "unsupported-media-type", "Send application/json or application/x-ndjson.")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Problem(400, "malformed-json", "The body is not UTF-8.") from None
    return _values(text, decoder)


def _lines(body: bytes, decoder: json.JSONDecoder) -> Iterator[Event]:
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            text = line.decode().strip()
            yield text.replace("\r", " "), decoder.decode(text)
        except UnicodeDecodeError:
            yield "", NoEvent("invalid_utf8")
        except RepeatedField:
            yield "", NoEvent("repeated_field")
        except (ValueError, RecursionError):
            yield "", NoEvent("invalid_json")


def _values(text: str, decoder: json.JSONDecoder) -> Iterator[Event]:
    at: int = WHITESPACE.match(text, 0).end()
    try:
        if text[at : at + 1] != "[":
            yield _on_one_line(text.strip()), decoder.decode(text)
            return
        at = WHITESPACE.match(text, at + 1).end()
        if text[at : at + 1] == "]":
            _require_end(text, at + 1)
            return
        while True:
            value, end = decoder.raw_decode(text, at)
            yield _on_one_line(text[at:end]), value
            at = WHITESPACE.match(text, end).end()
            separator, at = text[at : at + 1], WHITESPACE.match(text, at + 1).end()
            if separator == "]":
                _require_end(text, at)
                return
            if separator != ",":
                raise json.JSONDecodeError("a comma is missing", text, end)
    except RepeatedField:
        raise Problem(400, "repeated-field", "An object names a field twice.") from None
    except json.JSONDecodeError as error:
        raise Problem(400, "malformed-json", f"The body is not JSON: {error.msg}, at character {error.pos}.") from None
    except (ValueError, RecursionError):
        raise Problem(400, "malformed-json", "The body is not JSON that can be read.") from None


def _require_end(text: str, at: int) -> None:
    end: int = WHITESPACE.match(text, at).end()
    if end != len(text):
        raise json.JSONDecodeError("something follows the array", text, end)


def _on_one_line(text: str) -> str:
    """Breaks stand between the parts of a value alone: inside of texts they are escaped."""
    return text.replace("\n", " ").replace("\r", " ") if "\n" in text or "\r" in text else text


class RepeatedField(ValueError):
    """An object names a field twice."""


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise RepeatedField
    return made


PLAIN = json.JSONDecoder(parse_constant=_no_number)
CAREFUL = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_each_once)
