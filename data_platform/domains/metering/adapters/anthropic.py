"""What Anthropic answers: messages, whole, as a stream, or as a line of what a batch wrote, and the older completions,
which count no tokens. Its input excludes what was read from and written to the cache; thinking costs what the rest of
the output does and stays there. Where a conversation was compacted on the way, only the iterations tell all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_platform.domains.metering.answers import answers
from data_platform.domains.metering.usage_report import (
    DO_NOT_ADD_UP,
    HTTP_ERROR,
    INCOMPLETE_USAGE,
    NO_USAGE,
    SEVERAL_MODELS,
    Refused,
    UsageReport,
    first_count,
    first_text,
    part,
)

ANYWHERE = ("", "global", "not_available")
"""What `inference_geo` says of calls that cost the usual price."""


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Of a stream, what the message began with and what it ended with count together: the end may leave out the prompt.
    Raises Refused for an answer without usage."""
    return report_of(answers(payload))


def report_of(events: Sequence[Mapping[str, Any]]) -> UsageReport:
    """The same, of the objects of an answer."""
    messages = [part(event, "message") or part(event, "result", "message") or event for event in events]
    usage: dict[str, Any] = {}
    for message in messages:
        usage |= {name: value for name, value in part(message, "usage").items() if value is not None}
    if not usage:
        failed = any(event.get("type") == "error" or part(event, "result").get("type") == "errored" for event in events)
        raise Refused(HTTP_ERROR if failed else NO_USAGE)
    kinds = {event.get("type") for event in events}
    if "message_start" in kinds and "message_delta" not in kinds:  # cut off: the begin counts one token of the answer
        raise Refused(INCOMPLETE_USAGE)
    model = first_text(message.get("model") for message in messages)
    geo = first_text([usage.get("inference_geo")])
    return UsageReport(
        _of_iterations(usage, model) or tokens_of(usage),
        provider="anthropic",
        model=model,
        region=None if geo in ANYWHERE else geo,
        service_tier="fast" if usage.get("speed") == "fast" else first_text([usage.get("service_tier")]),
        status="ok",
        request_id=first_text(message.get("id") for message in messages),
    )


def _of_iterations(usage: Mapping[str, Any], model: str | None) -> dict[str, int]:
    """Their sum, where one of them is no message: then what stands beside them is of messages alone. Raises Refused
    where another model was asked on the way."""
    listed = usage.get("iterations")
    iterations = [part(one) for one in listed] if isinstance(listed, list) else []
    if all(one.get("type") in (None, "message") for one in iterations):
        return {}
    if any(model and one.get("model") not in (None, model) for one in iterations):
        raise Refused(SEVERAL_MODELS)
    counted = [tokens_of(one) for one in iterations]
    return {name: sum(one[name] for one in counted) for name in counted[0]}


def tokens_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Class → tokens. Raises Refused where the two kinds of cache writes are not all that was written."""
    asked, answered = first_count(usage, "input_tokens"), first_count(usage, "output_tokens")
    if asked is None or answered is None:
        raise Refused(INCOMPLETE_USAGE)
    written = first_count(usage, "cache_creation_input_tokens")
    kinds = part(usage, "cache_creation")
    for_an_hour = first_count(kinds, "ephemeral_1h_input_tokens") or 0
    for_minutes = first_count(kinds, "ephemeral_5m_input_tokens")
    if for_minutes is None:
        for_minutes = max((written or 0) - for_an_hour, 0)
    if written is not None and written != for_minutes + for_an_hour:
        raise Refused(DO_NOT_ADD_UP)
    return {
        "input": asked,
        "cache_read": first_count(usage, "cache_read_input_tokens") or 0,
        "cache_write": for_minutes,
        "cache_write_1h": for_an_hour,
        "output": answered,
    }
