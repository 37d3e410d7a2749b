"""What Amazon Bedrock answers: converse and invoke, whole or as an event stream, and agents that trace what they call.
What the answer of `invoke` looks like is the model's maker's affair; where Bedrock counted itself, its count holds,
because Bedrock bills (of two recorded streams of Claude with tools its count is smaller than Anthropic's).
Its input excludes what was read from and written to the cache. The model is not in the answer: the line says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_platform.domains.metering.adapters import anthropic, openai
from data_platform.domains.metering.answers import answers
from data_platform.domains.metering.usage_report import (
    INCOMPLETE_USAGE,
    NO_MODEL_CALL,
    NO_USAGE,
    NOT_IN_TOKENS,
    SEVERAL_MODELS,
    Refused,
    UsageReport,
    first_count,
    first_text,
    part,
    whole,
)

PROVIDER = "bedrock"
METRICS = "amazon-bedrock-invocationMetrics"
HEADERS = {"x-amzn-bedrock-input-token-count": "inputTokens", "x-amzn-bedrock-output-token-count": "outputTokens"}
"""Of `invoke`: for the makers whose answers count nothing (Mistral, Cohere), there is no other place."""


def read(payload: Mapping[str, Any]) -> UsageReport:
    """A payload may hold, beside the answer, its `headers`. Raises Refused for an answer without usage."""
    bodies = answers(payload)
    named = [body for body in bodies if body.get("id") or part(body, "message")]
    report = UsageReport(
        {},
        provider=PROVIDER,
        status="ok",
        request_id=first_text(found for body in named for found in (part(body, "message").get("id"), body.get("id"))),
    )
    for counted in (_in_headers(payload), *(_counted_by_bedrock(body) for body in bodies[::-1])):
        if counted:
            return _replaced(report, _tokens(counted), whole(counted.get("totalTokens")))
    traced = [invocation for body in bodies for invocation in _invocations(body)]
    if traced:
        return _agent(report, traced)
    return _by_maker(report, bodies)


def _replaced(
    report: UsageReport, tokens: Mapping[str, int], total: int | None = None, model: str | None = None
) -> UsageReport:
    return UsageReport(tokens, total, report.provider, model, status=report.status, request_id=report.request_id)


def _in_headers(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    headers = {name.lower(): value for name, value in part(payload, "headers").items()}
    written = {ours: headers[name] for name, ours in HEADERS.items() if name in headers}
    return {name: int(value) if str(value).isdecimal() else value for name, value in written.items()}


def _counted_by_bedrock(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if metrics := part(body, METRICS):
        return metrics
    usage = part(body, "usage") or part(body, "metadata", "usage")
    return usage if "inputTokens" in usage else {}


def _tokens(counted: Mapping[str, Any]) -> dict[str, int]:
    asked = first_count(counted, "inputTokens", "inputTokenCount")
    if asked is None:
        raise Refused(INCOMPLETE_USAGE)
    read_again = first_count(
        counted, "cacheReadInputTokens", "cacheReadInputTokenCount", "cacheReadInputTokensCount"
    )  # fmt: skip
    written = first_count(counted, "cacheWriteInputTokens", "cacheWriteInputTokenCount", "cacheWriteInputTokensCount")
    return {
        "input": asked,
        "cache_read": read_again or 0,
        "cache_write": written or 0,
        "output": first_count(counted, "outputTokens", "outputTokenCount") or 0,
    }


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
