"""What Amazon Bedrock answers: converse and invoke, whole or as an event stream, and agents that trace what they call;
and what it logs of its invocations, with the model.
What the answer of `invoke` looks like is the model's maker's affair; where Bedrock counted itself, its count holds,
because Bedrock bills (of two recorded streams of Claude with tools its count is smaller than Anthropic's).
Its input excludes what was read from and written to the cache. The model is not in the answer: the line says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from data_platform.domains.metering.adapters import anthropic, openai
from data_platform.domains.metering.answers import answers
from data_platform.domains.metering.usage_report import (
    HTTP_ERROR,
    INCOMPLETE_USAGE,
    NO_MODEL_CALL,
    NO_USAGE,
    NOT_IN_TOKENS,
    SEVERAL_MODELS,
    Refused,
    UsageReport,
    first_count,
    first_text,
    moment,
    part,
    whole,
    without,
)

PROVIDER = "bedrock"
LOGGED = "ModelInvocationLog"
METRICS = "amazon-bedrock-invocationMetrics"
HEADERS = {
    "x-amzn-bedrock-input-token-count": "inputTokens",
    "x-amzn-bedrock-output-token-count": "outputTokens",
    "x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokens",
    "x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokens",
}
"""Of `invoke`: for the makers whose answers count nothing (Mistral, Cohere), there is no other place."""
TIER, LATENCY = "x-amzn-bedrock-service-tier", "x-amzn-bedrock-performanceconfig-latency"
OPTIMIZED = "optimized"
"""Latency that costs more than the usual price: a tier of ours, which Bedrock says beside its own."""


def read(payload: Mapping[str, Any]) -> UsageReport:
    """A payload may hold, beside the answer, its `headers`. Raises Refused for an answer without usage."""
    if payload.get("schemaType") == LOGGED:
        return _logged(payload)
    bodies = answers(payload)
    named = [body for body in bodies if body.get("id") or part(body, "message")]
    report = UsageReport(
        {},
        provider=PROVIDER,
        service_tier=_tier(_headers(payload), bodies),
        status="ok",
        request_id=first_text(found for body in named for found in (part(body, "message").get("id"), body.get("id"))),
    )
    for counted in (_in_headers(payload), *(_counted_by_bedrock(body) for body in bodies[::-1])):
        if counted:
            return _replaced(report, _tokens(counted, bodies), whole(counted.get("totalTokens")))
    traced = [invocation for body in bodies for invocation in _invocations(body)]
    if traced:
        return _agent(report, traced)
    return _by_maker(report, bodies)


def _logged(entry: Mapping[str, Any]) -> UsageReport:
    """An entry of the log of invocations; a model that was asked for through a profile is named by the profile."""
    counted = {**part(entry, "input"), **part(entry, "output")}
    if not any("TokenCount" in name for name in counted):
        raise Refused(HTTP_ERROR if entry.get("errorCode") else NO_USAGE)
    bodies = answers(part(counted, "outputBodyJson"))
    named = first_text([entry.get("modelId")])
    return UsageReport(
        _tokens(counted, bodies),
        provider=PROVIDER,
        model=named.rpartition("/")[2] if named else None,
        region=first_text([entry.get("inferenceRegion"), entry.get("region")]),
        service_tier=_tier({}, bodies),
        started_at=moment(entry.get("timestamp")),
        status="ok",
        request_id=first_text([entry.get("requestId")]),
    )


def _replaced(
    report: UsageReport, tokens: Mapping[str, int], total: int | None = None, model: str | None = None
) -> UsageReport:
    return replace(report, tokens=tokens, total=total, model=model)


def _headers(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name.lower(): value for name, value in part(payload, "headers").items()}


def _tier(headers: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]]) -> str | None:
    """How the call was served, as the answer says: of a stream its last event does."""
    said = [place for body in bodies for place in (body, part(body, "metadata"))]
    latencies = [headers.get(LATENCY), *(part(one, "performanceConfig").get("latency") for one in said)]
    tiers = [headers.get(TIER), *(part(one, "serviceTier").get("type") for one in said)]
    return OPTIMIZED if OPTIMIZED in latencies else first_text(tiers)


def _in_headers(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    headers = _headers(payload)
    written = {ours: headers[name] for name, ours in HEADERS.items() if name in headers}
    return {name: int(value) if str(value).isdecimal() else value for name, value in written.items()}


def _counted_by_bedrock(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if metrics := part(body, METRICS):
        return metrics
    usage = part(body, "usage") or part(body, "metadata", "usage")
    return usage if "inputTokens" in usage else {}


def _tokens(counted: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]] = ()) -> dict[str, int]:
    """Of what Bedrock counted. Of the cache, and how long that is kept, the maker may say more in `bodies`."""
    maker = _usage_of_claude(bodies)
    asked = first_count(counted, "inputTokens", "inputTokenCount")
    if asked is None:
        raise Refused(INCOMPLETE_USAGE)
    read_again = first_count(
        counted, "cacheReadInputTokens", "cacheReadInputTokenCount", "cacheReadInputTokensCount"
    )  # fmt: skip
    if read_again is None:
        read_again = first_count(maker, "cache_read_input_tokens")
    written = first_count(counted, "cacheWriteInputTokens", "cacheWriteInputTokenCount", "cacheWriteInputTokensCount")
    if written is None:
        written = first_count(maker, "cache_creation_input_tokens")
    for_an_hour = _for_an_hour(counted)
    if for_an_hour is None:
        for_an_hour = first_count(part(maker, "cache_creation"), "ephemeral_1h_input_tokens")
    return {
        "input": asked,
        "cache_read": read_again or 0,
        "cache_write": without(written or 0, for_an_hour or 0),
        "cache_write_1h": for_an_hour or 0,
        "output": first_count(counted, "outputTokens", "outputTokenCount") or 0,
    }


def _for_an_hour(counted: Mapping[str, Any]) -> int | None:
    """What was written to the cache to stay there for an hour, where it is told apart."""
    listed = counted.get("cacheDetails")
    details = [part(one) for one in listed] if isinstance(listed, list) else []
    return sum(whole(one.get("inputTokens")) or 0 for one in details if one.get("ttl") == "1h") if details else None


def _usage_of_claude(bodies: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What its answer says of the cache, whole or in the first event of a stream."""
    stated = (part(body, "message", "usage") or part(body, "usage") for body in bodies)
    return next((usage for usage in stated if "cache_read_input_tokens" in usage), {})


def _by_maker(report: UsageReport, bodies: Sequence[Mapping[str, Any]]) -> UsageReport:
    """The answers of `invoke` as Anthropic, Amazon (Titan), Meta and OpenAI's kind write them."""
    for body in bodies:
        if "retrievalResults" in body:
            raise Refused(NO_MODEL_CALL)
        if "assessments" in body:  # a guardrail, billed by units of text
            raise Refused(NOT_IN_TOKENS)
        if (asked := first_count(body, "inputTextTokenCount")) is not None:
            results = body.get("results") if isinstance(body.get("results"), list) else []
            said = sum(first_count(part(one), "tokenCount") or 0 for one in results or [])
            return _replaced(report, {"input": asked, "output": said})
        if (asked := first_count(body, "prompt_token_count")) is not None:
            return _replaced(report, {"input": asked, "output": first_count(body, "generation_token_count") or 0})
        if "prompt_tokens" in (usage := part(body, "usage")):
            return _replaced(report, *openai.tokens_of(usage))
    if not any("usage" in (part(body, "message") or body) for body in bodies):
        raise Refused(NO_USAGE)
    return _replaced(report, anthropic.report_of(bodies).tokens)


def _invocations(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What an agent asked models, from a traced event: the steps of a trace are named after what they are for."""
    return [step for step in part(body, "trace").values() if isinstance(step, Mapping)]


def _agent(report: UsageReport, steps: Sequence[Mapping[str, Any]]) -> UsageReport:
    """All calls of an agent together. Raises Refused when they went to several models, whose prices differ."""
    counted = [usage for step in steps if (usage := part(step, "modelInvocationOutput", "metadata", "usage"))]
    if not counted:
        raise Refused(NO_USAGE)
    named = (part(step, "modelInvocationInput").get("foundationModel") for step in steps)
    models = {model for model in named if isinstance(model, str)}
    if len(models) > 1:
        raise Refused(SEVERAL_MODELS)
    classes = [_tokens(usage) for usage in counted]
    summed = {name: sum(one[name] for one in classes) for name in classes[0]}
    return _replaced(report, summed, model=next(iter(models), None))
