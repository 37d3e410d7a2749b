"""Spans of OpenTelemetry's conventions for generative AI, by their new names and by those they had before.
Input includes what was read from and written to the cache, output includes reasoning: where a span's parts are more
than its whole, its instrumentation does otherwise, and it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.spans import span_of, spans_in
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

CALLS = ("chat", "text_completion", "generate_content", "embeddings", "completion")
"""Operations that call a model. Agents, tools and workflows are around them, and tell their tokens again."""
USAGE = "gen_ai.usage."


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for spans that are no call of a model, and for calls without usage."""
    span = span_of(payload)
    found = span.attributes
    operation = found.get("gen_ai.operation.name")
    if operation is not None and operation not in CALLS:
        raise Refused(NO_MODEL_CALL)
    asked = first_count(found, USAGE + "input_tokens", USAGE + "prompt_tokens")
    answered = first_count(found, USAGE + "output_tokens", USAGE + "completion_tokens")
    if asked is None and answered is None:
        told = operation or span.texts("gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model")
        raise Refused(NO_USAGE if told else NO_MODEL_CALL)
    if asked is None:
        raise Refused(INCOMPLETE_USAGE)
    cached = first_count(found, USAGE + "cache_read.input_tokens", USAGE + "cache_read_input_tokens") or 0
    written = first_count(found, USAGE + "cache_creation.input_tokens", USAGE + "cache_creation_input_tokens") or 0
    reasoning = first_count(found, USAGE + "reasoning.output_tokens", USAGE + "reasoning_tokens") or 0
    provider = span.texts("gen_ai.provider.name", "gen_ai.system")
    return UsageReport(
        {
            "input": without(asked, cached, written),
            "cache_read": cached,
            "cache_write": written,
            "output": without(answered or 0, reasoning),
            "reasoning": reasoning,
        },
        first_count(found, USAGE + "total_tokens"),
        provider=provider_called(provider) if provider else None,
        model=span.texts("gen_ai.response.model", "gen_ai.request.model"),
        region=span.texts("cloud.region"),
        service_tier=span.texts(
            "openai.response.service_tier", "gen_ai.openai.response.service_tier", "openai.request.service_tier"
        ),
        started_at=span.begin,
        duration_ms=milliseconds(span.begin, span.end),
        status=span.status,
        request_id=span.texts("gen_ai.response.id"),
        trace_id=span.trace_id,
        tenant_id=span.texts("tenant.id"),
        user_id=span.texts("enduser.id", "user.id"),
        feature=span.texts("feature"),
        report_id=span.span_id,
    )
