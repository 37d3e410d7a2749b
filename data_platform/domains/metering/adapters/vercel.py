"""Spans of the Vercel AI SDK. Each call is told twice: by the function that was called (`ai.generateText`) and, within,
by each request that it made of a model (`ai.generateText.doGenerate`), which is the one that is billed.
Input includes what was cached, output includes reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.spans import spans_in, the_span_in
from data_platform.domains.metering.usage_report import (
    NO_MODEL_CALL,
    NO_USAGE,
    SPAN_AROUND_CALLS,
    Refused,
    UsageReport,
    first_count,
    milliseconds,
    without,
)

entries = spans_in
"""The spans of a file."""

USAGE = "ai.usage."
METADATA = "ai.telemetry.metadata."


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for spans around calls, for those of tools, and for calls without usage."""
    span = the_span_in(payload)
    found = span.attributes
    operation = span.texts("ai.operationId") or span.name or ""
    if not operation.startswith("ai.") or operation == "ai.toolCall":
        raise Refused(NO_MODEL_CALL)
    if ".do" not in operation:
        raise Refused(SPAN_AROUND_CALLS)
    asked = first_count(found, USAGE + "inputTokens", USAGE + "promptTokens", USAGE + "tokens")
    if asked is None:
        raise Refused(NO_USAGE)
    answered = first_count(found, USAGE + "outputTokens", USAGE + "completionTokens") or 0
    cached = first_count(found, USAGE + "cachedInputTokens", USAGE + "inputTokenDetails.cacheReadTokens") or 0
    written = first_count(found, USAGE + "inputTokenDetails.cacheWriteTokens") or 0
    reasoning = first_count(found, USAGE + "reasoningTokens", USAGE + "outputTokenDetails.reasoningTokens") or 0
    provider = span.texts("ai.model.provider", "gen_ai.system")
    return UsageReport(
        {
            "input": without(asked, cached, written),
            "cache_read": cached,
            "cache_write": written,
            "output": without(answered, reasoning),
            "reasoning": reasoning,
        },
        first_count(found, USAGE + "totalTokens"),
        provider=provider_called(provider) if provider else None,
        model=span.texts("ai.response.model", "gen_ai.response.model", "ai.model.id"),
        started_at=span.begin,
        duration_ms=milliseconds(span.begin, span.end),
        status=span.status,
        request_id=span.texts("ai.response.id", "gen_ai.response.id"),
        trace_id=span.trace_id,
        tenant_id=span.texts(METADATA + "tenantId"),
        user_id=span.texts(METADATA + "userId"),
        feature=span.texts("ai.telemetry.functionId"),
        report_id=span.span_id,
    )
