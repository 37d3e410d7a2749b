"""Observations of Langfuse as its API and its exports (in snake case, objects also as text) write them: generations and
embeddings call models, spans and events are around them. Its `usageDetails` are free keys, of which Langfuse's own are
disjoint; where a total says that the others are within input and output, they are. Keys of nobody known are refused
rather than dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from data_platform.domains.metering.usage_report import (
    NO_MODEL_CALL,
    NO_USAGE,
    NOT_IN_TOKENS,
    UNKNOWN_CLASS,
    Refused,
    UsageReport,
    first_text,
    milliseconds,
    moment,
    parsed,
    whole,
    without,
)

CALLS = ("GENERATION", "EMBEDDING")
CLASSES: Mapping[str, str] = {
    "input": "input",
    "promptTokens": "input",
    "prompt_tokens": "input",
    "input_tokens": "input",
    "input_text_tokens": "input",
    "input_cached_tokens": "cache_read",
    "input_cache_read": "cache_read",
    "cache_read_input_tokens": "cache_read",
    "input_cached_text_tokens": "cache_read",
    "cache_creation_input_tokens": "cache_write",
    "input_cache_creation": "cache_write",
    "input_cache_creation_5m": "cache_write",
    "input_cache_creation_1h": "cache_write_1h",
    "input_audio_tokens": "audio_input",
    "input_audio": "audio_input",
    "input_image_tokens": "image_input",
    "output": "output",
    "completionTokens": "output",
    "completion_tokens": "output",
    "output_tokens": "output",
    "output_text_tokens": "output",
    "output_reasoning_tokens": "reasoning",
    "output_reasoning": "reasoning",
    "reasoning_tokens": "reasoning",
    "output_audio_tokens": "audio_output",
    "output_audio": "audio_output",
    "output_image_tokens": "image_output",
    "output_accepted_prediction_tokens": "output",
    "output_rejected_prediction_tokens": "output",
}
TOTALS = ("total", "totalTokens", "total_tokens")
OUTPUT_PARTS = ("reasoning", "audio_output", "image_output")
PREDICTED = ("output_accepted_prediction_tokens", "output_rejected_prediction_tokens")
"""Both are billed as the answer, from which Langfuse takes them out like every other part of it."""


def entries(document: Any) -> Iterator[Mapping[str, Any]]:
    """The observations of a file: a list, a page of the API, or those within traces."""
    listed = document.get("data", document) if isinstance(document, Mapping) else document
    for one in listed if isinstance(listed, list) else [listed]:
        within = one.get("observations") if isinstance(one, Mapping) else None
        found = within if isinstance(within, list) else [one]
        yield from (observation for observation in found if isinstance(observation, Mapping))


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for observations that are no call, for calls without usage, and for usage in characters."""
    if str(payload.get("type")).upper() not in CALLS:
        raise Refused(NO_MODEL_CALL)
    usage = parsed(payload.get("usage"))
    if usage.get("unit") not in (None, "TOKENS"):
        raise Refused(NOT_IN_TOKENS)
    older = {name: value for name, value in (usage or payload).items() if name in CLASSES or name in TOTALS}
    tokens, total = _tokens(parsed(_said(payload, "usageDetails")) or older)
    metadata = parsed(payload.get("metadata"))
    begin, end = moment(_said(payload, "startTime")), moment(_said(payload, "endTime"))
    return UsageReport(
        tokens,
        total,
        provider=first_text([metadata.get("provider"), metadata.get("ls_provider")]),
        model=first_text([payload.get("model"), _said(payload, "providedModelName")]),
        started_at=begin,
        duration_ms=milliseconds(begin, end),
        status="error" if payload.get("level") == "ERROR" else "ok",
        trace_id=first_text([_said(payload, "traceId")]),
        tenant_id=first_text([metadata.get("tenant_id")]),
        project_id=first_text([_said(payload, "projectId")]),
        user_id=first_text([_said(payload, "userId")]),
        feature=first_text([payload.get("name")]),
        report_id=first_text([payload.get("id")]),
    )


def _said(payload: Mapping[str, Any], name: str) -> Any:
    """A field by the name that the API gives it, or in snake case, as exports to files do."""
    return payload.get(name, payload.get(re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)))


def _tokens(usage: Mapping[str, Any]) -> tuple[dict[str, int], int | None]:
    counts = {name: count for name, value in usage.items() if (count := whole(value)) is not None}
    total = next((counts.pop(name) for name in TOTALS if name in counts), None)
    if not counts:
        raise Refused(NO_USAGE)
    if any(count and name not in CLASSES for name, count in counts.items()):
        raise Refused(UNKNOWN_CLASS)
    tokens: dict[str, int] = {}
    for name, count in counts.items():
        if name in CLASSES:
            tokens[CLASSES[name]] = tokens.get(CLASSES[name], 0) + count
    asked = tokens.get("input", 0)
    answered = tokens.get("output", 0) - sum(counts.get(name, 0) for name in PREDICTED)
    if total is not None and total == asked + answered != sum(tokens.values()):
        of_output = sum(tokens.get(name, 0) for name in OUTPUT_PARTS)
        of_input = sum(tokens.values()) - asked - tokens.get("output", 0) - of_output
        tokens |= {"input": without(asked, of_input), "output": without(answered, of_output)}
    return tokens, total
