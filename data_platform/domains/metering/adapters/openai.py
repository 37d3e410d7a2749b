"""What OpenAI answers, and all who answer like it (Mistral, Together, Groq, xAI, DeepSeek, Azure, gateways): chat,
responses, completions, embeddings, transcriptions, images, whole, as a stream, or as a line of what a batch wrote. Of a
stream the last usage counts.
Not here: who of them it was, which the line says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.domains.metering.answers import answers
from data_platform.domains.metering.usage_report import (
    HTTP_ERROR,
    INCOMPLETE_USAGE,
    NO_USAGE,
    NOT_IN_TOKENS,
    SEVERAL_CALLS,
    Refused,
    UsageReport,
    first_count,
    first_text,
    moment,
    part,
    whole,
    without,
)

PROVIDER = "openai"
"""Unless the line, or the address, says another."""
CACHED = ("cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
"""What Together, Mistral, DeepSeek and LiteLLM call it, beside the details or without them."""
WRITTEN = ("cache_write_tokens", "cache_creation_tokens")


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for an answer that does not say what it used (streams do only if asked to), and for a session that
    answered several times: each answer is billed."""
    events = answers(payload)
    batched = [part(event, "response", "body") for event in events if part(event, "response", "body")]
    bodies = batched or [part(event, "response") or event for event in events]
    stated = [(body.get("id"), usage) for body in bodies if (usage := _usage(body))]
    if not stated:
        failed = any(part(body, "error") for body in (*events, *bodies))
        raise Refused(HTTP_ERROR if failed else NO_USAGE)
    if len({name for name, _ in stated if isinstance(name, str) and name}) > 1:
        raise Refused(SEVERAL_CALLS)
    tokens, total = tokens_of(stated[-1][1])
    newest = bodies[::-1]
    failed = any(body.get("status") == "failed" for body in bodies)
    return UsageReport(
        tokens,
        total,
        provider=PROVIDER,
        model=first_text(body.get("model") for body in newest),
        service_tier="batch" if batched else first_text(body.get("service_tier") for body in newest),
        started_at=next(filter(None, (moment(b.get("created") or b.get("created_at")) for b in bodies)), None),
        status="failed" if failed else "ok",
        request_id=first_text(body.get("id") for body in bodies),
    )


def _usage(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Groq tells the usage of a stream in a field of its own."""
    return part(body, "usage") or part(body, "x_groq", "usage")


def tokens_of(usage: Mapping[str, Any]) -> tuple[dict[str, int], int | None]:
    """(class → tokens, stated total) of a usage whose input includes what was cached, sound and pictures, and whose
    output includes reasoning.

    xAI counts reasoning beside the output; its total says so. Raises Refused for a part that is larger than its whole.
    """
    if usage.get("type") == "duration" or _is_above_zero(usage.get("prompt_audio_seconds")):  # sound by the minute
        raise Refused(NOT_IN_TOKENS)
    asked = first_count(usage, "prompt_tokens", "input_tokens")
    answered = first_count(usage, "completion_tokens", "output_tokens")
    if asked is None:
        raise Refused(INCOMPLETE_USAGE)
    total = whole(usage.get("total_tokens"))
    tokens = _of_input(asked, usage) | _of_output(answered or 0, asked, total, usage)
    return tokens, total


def _of_input(asked: int, usage: Mapping[str, Any]) -> dict[str, int]:
    details = _details(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    cached = first_count(details, "cached_tokens") or first_count(usage, *CACHED) or 0
    written = first_count(details, *WRITTEN) or first_count(usage, "cache_creation_input_tokens") or 0
    for_an_hour = first_count(part(details, "cache_creation_token_details"), "ephemeral_1h_input_tokens") or 0
    # Sound and pictures that were read from the cache are counted as both; they are billed as cached.
    of_cached = part(details, "cached_tokens_details")
    sound, pictures = (
        without(first_count(details, name) or 0, first_count(of_cached, name) or 0)
        for name in ("audio_tokens", "image_tokens")
    )
    return {
        "input": without(asked, cached, written, sound, pictures),
        "cache_read": cached,
        "cache_write": without(written, for_an_hour),
        "cache_write_1h": for_an_hour,
        "audio_input": sound,
        "image_input": pictures,
    }


def _of_output(answered: int, asked: int, total: int | None, usage: Mapping[str, Any]) -> dict[str, int]:
    details = _details(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
    reasoning = first_count(details, "reasoning_tokens") or 0
    sound = first_count(details, "audio_tokens") or 0
    pictures = first_count(details, "image_tokens") or 0
    if reasoning and total == asked + answered + reasoning:
        answered += reasoning
    return {
        "output": without(answered, reasoning, sound, pictures),
        "reasoning": reasoning,
        "audio_output": sound,
        "image_output": pictures,
    }


def _is_above_zero(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((found for name in names if (found := part(usage, name))), {})
