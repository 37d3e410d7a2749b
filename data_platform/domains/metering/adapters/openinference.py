"""Spans of OpenInference (Arize Phoenix): those of kind LLM and EMBEDDING call a model, the others are around them.
The prompt includes what was cached and sound, the completion includes reasoning and sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.spans import spans_in, the_span_in
from data_platform.domains.metering.usage_report import (
    INCOMPLETE_USAGE,
    NO_MODEL_CALL,
    NO_USAGE,
    Refused,
    UsageReport,
    first_count,
    milliseconds,
    without,
)

entries = spans_in
"""The spans of a file."""

CALLS = ("LLM", "EMBEDDING")
COUNT = "llm.token_count."


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for spans that are no call of a model, and for calls without usage."""
    span = the_span_in(payload)
    found = span.attributes
    if str(found.get("openinference.span.kind")).upper() not in CALLS:
        raise Refused(NO_MODEL_CALL)
    asked = first_count(found, COUNT + "prompt")
    answered = first_count(found, COUNT + "completion")
    if asked is None:
        raise Refused(NO_USAGE if answered is None else INCOMPLETE_USAGE)
    cached = first_count(found, COUNT + "prompt_details.cache_read") or 0
    written = first_count(found, COUNT + "prompt_details.cache_write") or 0
    sound = first_count(found, COUNT + "prompt_details.audio") or 0
    reasoning = first_count(found, COUNT + "completion_details.reasoning") or 0
    said = first_count(found, COUNT + "completion_details.audio") or 0
    provider = span.texts("llm.provider", "llm.system")
    return UsageReport(
        {
            "input": without(asked, cached, written, sound),
            "cache_read": cached,
            "cache_write": written,
            "audio_input": sound,
            "output": without(answered or 0, reasoning, said),
            "reasoning": reasoning,
            "audio_output": said,
        },
        first_count(found, COUNT + "total"),
        provider=provider_called(provider) if provider else None,
        model=span.texts("llm.response.model_name", "llm.model_name", "embedding.model_name", "llm.request.model_name"),
        started_at=span.begin,
        duration_ms=milliseconds(span.begin, span.end),
        status=span.status,
        trace_id=span.trace_id,
        user_id=span.texts("user.id"),
        report_id=span.span_id,
    )
