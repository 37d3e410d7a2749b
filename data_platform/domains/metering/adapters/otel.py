"""Spans of OpenTelemetry's conventions for generative AI, and the event that tells of a call, by their new names and by
those they had before.
Input includes what was read from and written to the cache, output includes reasoning: where a span's parts are more
than its whole, its instrumentation does otherwise, and it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.spans import spans_in, the_span_in
from data_platform.domains.metering.usage_report import (
    INCOMPLETE_USAGE,
    NO_MODEL_CALL,
    NO_USAGE,
    UNKNOWN_OPERATION,
    Refused,
    UsageReport,
    first_count,
    milliseconds,
    without,
)

entries = spans_in
"""The spans of a file."""

CALLS = ("chat", "text_completion", "generate_content", "embeddings", "completion")
"""Operations that call a model."""
AROUND = (
    "create_agent", "invoke_agent", "invoke_workflow", "execute_tool", "retrieval", "plan", "search_memory",
    "update_memory", "create_memory", "delete_memory", "upsert_memory", "create_memory_store", "delete_memory_store",
)  # fmt: skip
"""Operations around them, which tell their tokens again."""
WORDS = (
    "gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message", "gen_ai.choice",
    "gen_ai.evaluation.result",
)  # fmt: skip
"""Events that hold what was said in a call; its tokens are told by `gen_ai.client.inference.operation.details`."""
USAGE = "gen_ai.usage."


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for spans that are no call of a model, and for calls without usage."""
    span = the_span_in(payload)
    found = span.attributes
    operation = found.get("gen_ai.operation.name")
    if operation in AROUND or span.name in WORDS:
        raise Refused(NO_MODEL_CALL)
    asked = first_count(found, USAGE + "input_tokens", USAGE + "prompt_tokens")
    answered = first_count(found, USAGE + "output_tokens", USAGE + "completion_tokens")
    if asked is None and answered is None:
        named = span.texts("gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model")
        is_call = operation in CALLS if operation is not None else named is not None
        raise Refused(NO_USAGE if is_call else NO_MODEL_CALL)
    if operation is not None and operation not in CALLS:
        raise Refused(UNKNOWN_OPERATION)
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
        first_count(found, USAGE + "total_tokens", "llm.usage.total_tokens"),
        provider=provider_called(provider) if provider else None,
        model=span.texts("gen_ai.response.model", "gen_ai.request.model"),
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
