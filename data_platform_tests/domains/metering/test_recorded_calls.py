"""Recorded calls of eight providers and recorded spans: each is read or refused with a reason, and its tokens are those
that a walk through the body finds which knows no adapter. Skipped where the recordings are absent."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from data_platform.domains.metering.adapters import adapter_module, adapter_of
from data_platform.domains.metering.usage_report import Refused, UsageReport
from data_platform_tests.support.shared_data import SHARED_DATA

RECORDED = SHARED_DATA / "llm_calls"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="needs the recorded calls")

OUTCOMES = {
    "read": 409,
    "no_usage": 34,  # streams that were not asked to count, answers of Bedrock whose counts are in headers, embeddings
    "http_error": 17,
    "unknown_endpoint": 4,  # of a management protocol
    "not_counted_in_tokens": 4,  # a search, guardrails
    "no_model_call": 3,  # caches that were made, a retrieval
    "incomplete_usage": 2,  # no prompt
    "unreadable_payload": 1,  # compressed with Brotli
    "several_models": 1,  # an agent that asked two
    "tokens_do_not_add_up": 1,  # made up by its authors: 3 of reasoning and 4 of sound in an answer of 4
}
TOTAL_TOKENS = 155_493

# How the providers call what they count. Whole, and what is beside it: caches of Anthropic and Bedrock, thoughts.
STATED_TOTALS = ("total_tokens", "totalTokens", "totalTokenCount")
BESIDE_EACH_OTHER = (
    "prompt_tokens", "input_tokens", "inputTokens", "inputTokenCount", "inputTextTokenCount", "prompt_token_count",
    "prompt_eval_count", "completion_tokens", "output_tokens", "outputTokens", "outputTokenCount", "tokenCount",
    "generation_token_count", "eval_count", "cache_read_input_tokens", "cache_creation_input_tokens",
    "cacheReadInputTokenCount", "cacheWriteInputTokenCount",
)  # fmt: skip


def calls() -> list[dict[str, Any]]:
    files = sorted(RECORDED.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def outcome(form: str, payload: dict[str, Any]) -> UsageReport | str:
    read = adapter_of(form)
    assert read is not None
    try:
        return read(payload)
    except Refused as refusal:
        return refusal.reason


# ---------------------------------------------------------------------------------- a walk that knows no adapter
def objects(call: dict[str, Any]) -> list[Any]:
    """Every JSON object that a regular expression finds in the body, whatever it was wrapped in."""
    body = call["response"]
    if call["response_encoding"] == "json":
        return [body]
    text = body
    if call["response_encoding"] == "base64":
        text = base64.b64decode(body).decode("latin-1")
        wrapped = re.findall(r'"bytes":"([A-Za-z0-9+/=]+)"', text)
        text = "\n".join([text, *(base64.b64decode(one).decode() for one in wrapped)])
    return list(found(text))


def found(text: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            one, at = decoder.raw_decode(text, at)
            yield one
        except ValueError:
            at += 1


def counts(value: Any, path: str = "") -> Iterator[tuple[str, str, int]]:
    """(path of the object, name, count) of every number below."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, int) and not isinstance(inner, bool):
                yield path, name, inner
            yield from counts(inner, f"{path}/{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from counts(inner, f"{path}/[]")


def walked(call: dict[str, Any]) -> int:
    """All tokens of a call: the last total that it states, else the sum of what stands beside each other, where what
    comes later in a stream is newer. Agents state one usage a step, and all of them count."""
    listed = [
        one for body in objects(call) for one in counts(body) if "Details" not in one[0] and "details" not in one[0]
    ]
    if "/agents/" in call["path"]:
        return sum(count for path, name, count in listed if path.endswith("/usage") and name in BESIDE_EACH_OTHER)
    metrics = [one for one in listed if "invocationMetrics" in one[0]]
    totals = [count for _, name, count in listed if name in STATED_TOTALS]
    if totals and not metrics:
        return totals[-1]
    newest = {name: count for _, name, count in metrics or listed if name in BESIDE_EACH_OTHER}
    return sum(newest.values())


def test_every_call_is_read_or_refused_with_a_reason() -> None:
    outcomes = [outcome("recorded_call", call) for call in calls()]
    assert len(outcomes) == 476
    assert Counter("read" if isinstance(one, UsageReport) else one for one in outcomes) == OUTCOMES


def test_tokens_are_those_that_stand_in_the_bodies() -> None:
    read = [(call, report) for call in calls() if isinstance(report := outcome("recorded_call", call), UsageReport)]
    differing = {
        call["id"]: (sum(report.tokens.values()), walked(call))
        for call, report in read
        if sum(report.tokens.values()) != walked(call)
    }
    assert not differing
    assert sum(sum(report.tokens.values()) for _, report in read) == TOTAL_TOKENS


def test_classes_sum_to_what_the_provider_states() -> None:
    reports = [report for call in calls() if isinstance(report := outcome("recorded_call", call), UsageReport)]
    stated = [report for report in reports if report.total is not None]
    assert len(stated) > 300
    assert all(report.total == sum(report.tokens.values()) for report in stated)
    assert all(report.model for report in reports if report.provider != "bedrock")


def test_no_body_makes_a_mess_when_it_is_cut_off() -> None:
    """Refused or read, and nothing else: what a killed proxy leaves of a stream."""
    for call in calls()[::3]:
        if isinstance(call["response"], str):
            for share in (0.3, 0.9):
                outcome("recorded_call", call | {"response": call["response"][: int(len(call["response"]) * share)]})


SPANS = {
    "openinference-genai/openinference_client_span_input_output_only.json": ("openinference", 1, 149),
    "openinference-genai/openinference_client_span_tool_calls.json": ("openinference", 1, 149),
    "openinference-genai/otel_genai_client_span_tool_calls.json": ("otel", 1, 149),
    "openinference-genai/otel_genai_deprecated_client_span_tool_calls.json": ("otel", 1, 149),
    "openinference-genai/otel_genai_tool_execution_span.json": ("otel", 0, 0),
    "openinference-vercel/ai-embed-doEmbed.json": ("vercel", 1, 10),
    "openinference-vercel/ai-embed.json": ("vercel", 0, 0),
    "openinference-vercel/ai-generateObject-doGenerate.json": ("vercel", 1, 219),
    "openinference-vercel/ai-generateObject.json": ("vercel", 0, 0),
    "openinference-vercel/ai-generateText-doGenerate.json": ("vercel", 2, 93),
    "openinference-vercel/ai-generateText.json": ("vercel", 0, 0),
    "openinference-vercel/ai-streamText-doStream.json": ("vercel", 1, 127),
    "openinference-vercel/ai-streamText.json": ("vercel", 0, 0),
    "openinference-vercel/all-spans.json": ("vercel", 5, 449),
    "openinference-vercel/capture-results.json": ("vercel", 0, 0),
    "openinference-vercel/spans-by-operation.json": ("vercel", 5, 449),
}
"""File → its format, the calls in it, their tokens (added by hand)."""


def test_every_file_of_spans_is_known() -> None:
    found = {str(file.relative_to(RECORDED / "spans")) for file in (RECORDED / "spans").glob("*/*.json")}
    assert found == SPANS.keys()


@pytest.mark.parametrize("file", SPANS)
def test_spans_are_read_or_refused_with_a_reason(file: str) -> None:
    form, expected_calls, expected_tokens = SPANS[file]
    module = adapter_module(form)
    assert module is not None
    outcomes = [outcome(form, span) for span in module.entries(json.loads((RECORDED / "spans" / file).read_text()))]
    read = [one for one in outcomes if isinstance(one, UsageReport)]
    assert outcomes
    assert (len(read), sum(sum(one.tokens.values()) for one in read)) == (expected_calls, expected_tokens)
    assert {one for one in outcomes if isinstance(one, str)} <= {"no_model_call", "span_around_calls"}
    assert all(one.provider == "openai" and one.model for one in read)
