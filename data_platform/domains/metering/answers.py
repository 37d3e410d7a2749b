"""What a provider answered → its JSON objects in order, whether it came as one object or as a stream of events.
Belongs here: server-sent events, JSON lines, AWS event streams. Not here: what the objects mean (adapters)."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from data_platform.domains.metering.usage_report import UNREADABLE, Refused

STREAM, BASE64, EVENTS = "stream", "base64", "events"
"""How a payload says that it is not one object: the stream as text, its bytes in Base64, or its objects as a list."""
_PRELUDE, _CHECKSUM = 12, 4
_LINE_END = re.compile(r"\r\n|\n|\r")


def answers(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The JSON objects of an answer, one for a plain body. Raises Refused for a stream that cannot be read."""
    if isinstance(stream := payload.get(STREAM), str):
        return _of_text(stream)
    if isinstance(encoded := payload.get(BASE64), str):
        return _of_bytes(encoded)
    if isinstance(events := payload.get(EVENTS), list):
        return [event for event in events if isinstance(event, Mapping)]
    return [payload]


def _of_text(stream: str) -> list[Mapping[str, Any]]:
    """Server-sent events, JSON lines, or a body that was kept as text."""
    if not stream.strip():
        return []
    if stream.lstrip()[0] in "{[":
        try:
            return _objects(_parsed(stream))
        except Refused:
            return [found for line in _LINE_END.split(stream) if line.strip() for found in _objects(_parsed(line))]
    return [found for event in _server_sent(stream) for found in _objects(_parsed(event))]


def _server_sent(stream: str) -> Iterator[str]:
    """The data of each event: the lines of its `data` fields. An event ends with an empty line."""
    data: list[str] = []
    for line in (*_LINE_END.split(stream), ""):
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            if (event := "\n".join(data).strip()) not in ("", "[DONE]"):
                yield event
            data.clear()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(UNREADABLE) from None


def _objects(found: Any) -> list[Mapping[str, Any]]:
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, Mapping)]


def _of_bytes(encoded: str) -> list[Mapping[str, Any]]:
    try:
        content = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise Refused(UNREADABLE) from None
    if _is_event_stream(content):
        return [found for message in _messages(content) for found in _within_message(message)]
    try:
        return _of_text(content.decode())
    except UnicodeDecodeError:
        raise Refused(UNREADABLE) from None


def _is_event_stream(content: bytes) -> bool:
    return len(content) >= _PRELUDE and struct.unpack(">I", content[8:12])[0] == zlib.crc32(content[:8])


def _messages(content: bytes) -> Iterator[bytes]:
    """The payloads of an AWS event stream (application/vnd.amazon.eventstream): length, length of headers, checksum of
    both, headers, payload, checksum of all. Raises Refused for one that is cut short or damaged."""
    while content:
        if not _is_event_stream(content):
            raise Refused(UNREADABLE)
        length, headers = struct.unpack(">II", content[:8])
        message, content = content[:length], content[length:]
        if len(message) < length or struct.unpack(">I", message[-_CHECKSUM:])[0] != zlib.crc32(message[:-_CHECKSUM]):
            raise Refused(UNREADABLE)
        yield message[_PRELUDE + headers : -_CHECKSUM]


def _within_message(message: bytes) -> list[Mapping[str, Any]]:
    """Bedrock wraps what a model said as Base64 in `bytes`; agents also send plain text, which counts nothing."""
    try:
        found = json.loads(message)
        if isinstance(found, Mapping) and isinstance(wrapped := found.get("bytes"), str):
            found = json.loads(base64.b64decode(wrapped))
    except (ValueError, RecursionError):
        return []
    return _objects(found)
