"""Messages of common analytics SDKs (`track`, `identify`, `page`; one body holds a `batch` of them) as events.
Not here: which field comes from where (options), what an event must hold (events)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from data_platform.core.http.problems import Problem
from data_platform.sources.http.bodies import Event, NoEvent, events_in
from data_platform.sources.http.options import BatchOptions


def messages_in(body: bytes, media_type: bytes, options: BatchOptions) -> Iterator[Event]:
    """The events of a body `{"batch": [...]}`. Raises Problem like `events_in`, and 422 for a body without one."""
    found = list(events_in(body, media_type))
    whole = found[0][1] if len(found) == 1 else None
    messages = whole.get("batch") if isinstance(whole, dict) else None
    if not isinstance(messages, list):
        raise Problem(422, "malformed-request", "The body has no `batch`.", 'Send {"batch": [...]}.')
    return (_event(message, options) for message in messages)


def _event(message: Any, options: BatchOptions) -> Event:
    if not isinstance(message, dict):
        return "", NoEvent("not_an_object")
    if str(message.get("type")) not in options.types:
        return "", NoEvent("unknown_type")
    found = {field: _first(message, places) for field, places in options.fields.items()}
    event = {field: value for field, value in found.items() if value is not None}
    try:
        return json.dumps(event, separators=(",", ":"), allow_nan=False), event
    except (ValueError, RecursionError):  # 1e999 is JSON, and no number of anybody's
        return "", NoEvent("invalid_json")


def _first(message: Mapping[str, Any], places: tuple[str, ...]) -> Any:
    for place in places:
        value: Any = message
        for name in place.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None
