"""What Google's Gemini answers, directly and through Vertex AI: contents, whole, as a stream, or as a line of what a
batch wrote, and interactions. The prompt includes what was cached; thoughts and the results of tools are counted beside
answer and prompt. Of a stream the last usage that counts the prompt holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from data_platform.domains.metering.answers import answers
from data_platform.domains.metering.usage_report import (
    HTTP_ERROR,
    INCOMPLETE_USAGE,
    NO_MODEL_CALL,
    NO_USAGE,
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

PROVIDER = "google"
AUDIO, PICTURES = ("AUDIO", "4"), ("IMAGE", "VIDEO", "2", "3")
"""Modalities by name, and by the number that the client library for Vertex writes."""
TRAFFIC = {"PROVISIONED_THROUGHPUT": "provisioned", "ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for an answer without usage (embeddings), or without the prompt's, and for a live session of
    several turns: each is billed."""
    events = answers(payload)
    batched = [part(event, "response") for event in events if part(event, "response", "usageMetadata")]
    bodies = batched or [part(event, "interaction") or event for event in events]
    if any(part(body, "usage") for body in bodies):
        return _interaction(bodies)
    stated = [usage for body in bodies if (usage := part(body, "usageMetadata"))]
    if not stated:
        raise Refused(HTTP_ERROR if any(part(body, "error") for body in bodies) else NO_USAGE)
    counted = [usage for usage in stated if usage.get("promptTokenCount") is not None]
    if not counted:  # a cache that was made says how large it is: it is billed by the hour
        made = any("expireTime" in body for body in bodies)
        raise Refused(NO_MODEL_CALL if made else INCOMPLETE_USAGE)
    if sum("responseTokenCount" in usage for usage in counted) > 1:
        raise Refused(SEVERAL_CALLS)
    usage, newest = counted[-1], bodies[::-1]
    traffic = TRAFFIC.get(str(usage.get("trafficType"))) or first_text([usage.get("serviceTier")])
    return UsageReport(
        _tokens(usage),
        whole(usage.get("totalTokenCount")),
        provider=PROVIDER,
        model=first_text(body.get("modelVersion") for body in newest),
        service_tier="batch" if batched else traffic,
        started_at=next(filter(None, (moment(body.get("createTime")) for body in bodies)), None),
        status="ok",
        request_id=first_text(body.get("responseId") for body in bodies),
    )


def _tokens(usage: Mapping[str, Any]) -> dict[str, int]:
    prompt = usage.get("promptTokensDetails")
    answer = usage.get("candidatesTokensDetails") or usage.get("responseTokensDetails")
    cached, tools = usage.get("cacheTokensDetails"), usage.get("toolUsePromptTokensDetails")
    read_again = first_count(usage, "cachedContentTokenCount") or 0
    of_tools = first_count(usage, "toolUsePromptTokenCount") or 0
    asked = (first_count(usage, "promptTokenCount") or 0) + of_tools
    answered = first_count(usage, "candidatesTokenCount", "responseTokenCount") or 0
    sound = without(_of(prompt, AUDIO) + _of(tools, AUDIO), _of(cached, AUDIO))
    pictures = without(_of(prompt, PICTURES) + _of(tools, PICTURES), _of(cached, PICTURES))
    said, drawn = _of(answer, AUDIO), _of(answer, PICTURES)
    return {
        "input": without(asked, read_again, sound, pictures),
        "cache_read": read_again,
        "audio_input": sound,
        "image_input": pictures,
        "output": without(answered, said, drawn),
        "reasoning": first_count(usage, "thoughtsTokenCount") or 0,
        "audio_output": said,
        "image_output": drawn,
    }


def _of(details: Any, modalities: Iterable[str], count: str = "tokenCount") -> int:
    """Tokens of some modalities, of a list of counts by modality."""
    listed = [part(one) for one in details] if isinstance(details, list) else []
    return sum(whole(one.get(count)) or 0 for one in listed if str(one.get("modality")).upper() in modalities)


def _interaction(bodies: list[Mapping[str, Any]]) -> UsageReport:
    usage = next(usage for body in bodies[::-1] if (usage := part(body, "usage")))
    asked = first_count(usage, "total_input_tokens")
    if asked is None:
        raise Refused(INCOMPLETE_USAGE)
    inputs, outputs = usage.get("input_tokens_by_modality"), usage.get("output_tokens_by_modality")
    cached = usage.get("cached_tokens_by_modality")
    read_again = first_count(usage, "total_cached_tokens") or 0
    of_tools = first_count(usage, "total_tool_use_tokens") or 0
    sound = without(_of(inputs, AUDIO, "tokens"), _of(cached, AUDIO, "tokens"))
    pictures = without(_of(inputs, PICTURES, "tokens"), _of(cached, PICTURES, "tokens"))
    said, drawn = _of(outputs, AUDIO, "tokens"), _of(outputs, PICTURES, "tokens")
    tokens = {
        "input": without(asked + of_tools, read_again, sound, pictures),
        "cache_read": read_again,
        "audio_input": sound,
        "image_input": pictures,
        "output": without(first_count(usage, "total_output_tokens") or 0, said, drawn),
        "reasoning": first_count(usage, "total_thought_tokens") or 0,
        "audio_output": said,
        "image_output": drawn,
    }
    return UsageReport(
        tokens,
        whole(usage.get("total_tokens")),
        provider=PROVIDER,
        model=first_text(named for body in bodies for named in (body.get("model"), body.get("agent"))),
        service_tier=first_text(body.get("service_tier") for body in bodies),
        started_at=next(filter(None, (moment(body.get("created")) for body in bodies)), None),
        status="ok",
        request_id=first_text(body.get("id") for body in bodies),
    )
