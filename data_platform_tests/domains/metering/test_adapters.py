"""Each shape that usage comes in, by small bodies of our own: what is within what, what is beside it, what is refused.
Not here: recorded bodies (test_recorded_calls)."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.domains.metering.adapters import adapter_module, adapter_of, formats
from data_platform.domains.metering.token_classes import TOKEN_CLASSES
from data_platform.domains.metering.transforms.read_payloads import report_in
from data_platform.domains.metering.usage_report import Refused, UsageReport

Body = dict[str, Any]


def read(form: str, payload: Body) -> UsageReport:
    return report_in(form, json.dumps(payload))


def tokens(form: str, payload: Body) -> Body:
    """The classes that are not zero."""
    return {name: count for name, count in read(form, payload).tokens.items() if count}


def reason(form: str, payload: Body) -> str:
    with pytest.raises(Refused) as refused:
        read(form, payload)
    return refused.value.reason


def sse(*events: Body, end: str = "\n\n") -> Body:
    return {
        "stream": "".join(f"event: x{end[:1]}data: {json.dumps(event)}{end}" for event in events) + "data: [DONE]\n\n"
    }


def event_stream(*events: Body) -> Body:
    """As AWS frames them."""
    content = b""
    for event in events:
        payload = json.dumps(event).encode()
        prelude = struct.pack(">II", 16 + len(payload), 0)
        message = prelude + struct.pack(">I", zlib.crc32(prelude)) + payload
        content += message + struct.pack(">I", zlib.crc32(message))
    return {"base64": base64.b64encode(content).decode()}


def chunk(event: Body) -> Body:
    return {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}


HEADERS = {"X-Amzn-Bedrock-Input-Token-Count": "6", "x-amzn-bedrock-output-token-count": "4"}
CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-5-2025",
    "created": 1_700_000_000,
    "service_tier": "flex",
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5},
    },
}
MESSAGE = {
    "id": "msg_1",
    "model": "claude-sonnet-4-6",
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 70,
        "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 7,
        "service_tier": "standard",
    },
}


# -------------------------------------------------------------------------------------------------------- providers
def test_openai_has_cached_and_reasoning_within() -> None:
    report = read("openai", CHAT)
    assert {name: count for name, count in report.tokens.items() if count} == {
        "input": 30, "cache_read": 60, "audio_input": 10, "output": 15, "reasoning": 30, "audio_output": 5,
    }  # fmt: skip
    assert (report.total, report.model, report.request_id, report.service_tier, report.provider) == (
        150, "gpt-5-2025", "chatcmpl-1", "flex", "openai",
    )  # fmt: skip
    assert report.started_at == dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)


def test_openai_responses_as_a_stream() -> None:
    usage = {
        "input_tokens": 40,
        "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 12},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 49,
    }
    begun = {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5", "usage": None}}
    done = {"type": "response.completed", "response": {"id": "resp_1", "model": "gpt-5", "usage": usage}}
    stream = sse(begun, done)
    assert tokens("openai", stream) == {"input": 20, "cache_read": 8, "cache_write": 12, "output": 5, "reasoning": 4}
    assert read("openai", stream).request_id == "resp_1"


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"])
def test_a_stream_says_it_at_its_end_or_not_at_all(end: str) -> None:
    chunks = [{"id": "c", "model": "m", "choices": [], "usage": None}] * 3
    assert tokens("openai", sse(*chunks, CHAT, end=end)) == tokens("openai", CHAT)
    assert reason("openai", sse(*chunks, end=end)) == "no_usage"
    assert reason("openai", {"stream": ""}) == "no_usage"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "total_tokens": 5}, {"input": 5}),  # embeddings
        ({"prompt_tokens": 5, "completion_tokens": 1, "cached_tokens": 2}, {"input": 3, "cache_read": 2, "output": 1}),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, {"input": 5, "cache_read": 4}),  # DeepSeek
        (
            {"input_tokens": 30, "output_tokens": 80, "input_tokens_details": {"image_tokens": 20, "text_tokens": 10},
             "output_tokens_details": {"image_tokens": 80}},
            {"input": 10, "image_input": 20, "image_output": 80},
        ),
        (  # xAI: reasoning beside the answer
            {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 20,
             "completion_tokens_details": {"reasoning_tokens": 7}},
            {"input": 10, "output": 3, "reasoning": 7},
        ),
        (  # realtime: cached sound is billed as cached
            {"input_tokens": 50, "input_token_details": {"cached_tokens": 30, "audio_tokens": 40,
             "cached_tokens_details": {"audio_tokens": 25}}, "output_tokens": 0},
            {"input": 5, "cache_read": 30, "audio_input": 15},
        ),
    ],
)  # fmt: skip
def test_kin_of_openai(usage: Body, expected: Body) -> None:
    assert tokens("openai", {"model": "m", "usage": usage}) == expected


def test_groq_tells_a_stream_s_usage_elsewhere() -> None:
    assert tokens("openai", sse({"x_groq": {"usage": {"prompt_tokens": 12, "completion_tokens": 26}}})) == {
        "input": 12,
        "output": 26,
    }


def test_anthropic_has_caches_beside() -> None:
    expected = {"input": 10, "cache_read": 1000, "cache_write": 50, "cache_write_1h": 20, "output": 7}
    assert tokens("anthropic", MESSAGE) == expected
    begun = {"type": "message_start", "message": MESSAGE | {"usage": MESSAGE["usage"] | {"output_tokens": 1}}}
    done = {"type": "message_delta", "usage": {"output_tokens": 7}}
    assert tokens("anthropic", sse(begun, done, {"type": "message_stop"})) == expected
    assert read("anthropic", sse(begun, done)).request_id == "msg_1"
    older = {"usage": {"input_tokens": 1, "cache_creation_input_tokens": 3, "output_tokens": 2}}
    assert tokens("anthropic", older) == {"input": 1, "cache_write": 3, "output": 2}


def test_gemini_has_thoughts_and_tools_beside_and_caches_within() -> None:
    usage = {
        "promptTokenCount": 300,
        "cachedContentTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 15,
        "toolUsePromptTokenCount": 5,
        "totalTokenCount": 340,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 30},
            {"modality": "AUDIO", "tokenCount": 120},
            {"modality": 2, "tokenCount": 150},
        ],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 100}],
        "trafficType": "ON_DEMAND_PRIORITY",
    }
    body = {"modelVersion": "gemini-2.5-flash", "responseId": "r", "usageMetadata": usage}
    report = read("gemini", body)
    assert tokens("gemini", body) == {
        "input": 35, "cache_read": 100, "audio_input": 20, "image_input": 150, "output": 20, "reasoning": 15,
    }  # fmt: skip
    assert (report.total, sum(report.tokens.values()), report.service_tier) == (340, 340, "priority")
    earlier = {"usageMetadata": {"promptTokenCount": 290, "totalTokenCount": 290}}
    after = {"usageMetadata": {"trafficType": "ON_DEMAND"}}
    assert tokens("gemini", sse(earlier, body, after)) == tokens("gemini", body)
    assert tokens("gemini", {"events": [earlier, body]}) == tokens("gemini", body)
    assert reason("gemini", {"usageMetadata": {"candidatesTokenCount": 4}}) == "incomplete_usage"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 18, "cacheReadInputTokens": 10}},
         {"input": 5, "cache_read": 10, "output": 3}),
        (event_stream({"contentBlockDelta": {}}, {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 3}}}),
         {"input": 5, "output": 3}),
        (event_stream(chunk({"type": "message_delta", "usage": {"output_tokens": 133}}),
                      chunk({"amazon-bedrock-invocationMetrics": {"inputTokenCount": 9, "outputTokenCount": 97}})),
         {"input": 9, "output": 97}),
        ({"type": "message", "usage": {"input_tokens": 4, "output_tokens": 2}}, {"input": 4, "output": 2}),
        ({"inputTextTokenCount": 5, "results": [{"tokenCount": 10}, {"tokenCount": 1}]}, {"input": 5, "output": 11}),
        ({"prompt_token_count": 5, "generation_token_count": 10}, {"input": 5, "output": 10}),
        ({"outputs": [], "headers": HEADERS},
         {"input": 6, "output": 4}),
    ],
)  # fmt: skip
def test_bedrock_by_api_and_maker(payload: Body, expected: Body) -> None:
    assert tokens("bedrock", payload) == expected


def test_agents_of_bedrock_count_every_step_of_one_model() -> None:
    def step(model: str, asked: int) -> list[Body]:
        counted = {"modelInvocationOutput": {"metadata": {"usage": {"inputTokens": asked, "outputTokens": 1}}}}
        traces = ({"modelInvocationInput": {"foundationModel": model}}, counted)
        return [{"trace": {"orchestrationTrace": trace}} for trace in traces]

    assert tokens("bedrock", event_stream(*step("nova", 5), *step("nova", 6))) == {"input": 11, "output": 2}
    assert reason("bedrock", event_stream(*step("nova", 5), *step("claude", 6))) == "several_models"


def test_a_damaged_event_stream_is_unreadable() -> None:
    whole = base64.b64decode(event_stream({"metadata": {"usage": {"inputTokens": 5, "outputTokens": 3}}})["base64"])
    for damaged in (whole[:-1], whole.replace(b'"inputTokens": 5', b'"inputTokens": 6'), whole + b"more"):
        assert reason("bedrock", {"base64": base64.b64encode(damaged).decode()}) == "unreadable_payload"


def test_cohere_and_ollama() -> None:
    cohere = {"usage": {"billed_units": {"input_tokens": 5, "output_tokens": 2}, "tokens": {"input_tokens": 71}}}
    assert tokens("cohere", cohere) == {"input": 5, "output": 2}
    assert reason("cohere", {"meta": {"billed_units": {"search_units": 1}}}) == "not_counted_in_tokens"
    lines = '{"model":"qwen","message":{}}\n{"model":"qwen","done":true,"prompt_eval_count":21,"eval_count":3}\n'
    assert tokens("ollama", {"stream": lines}) == {"input": 21, "output": 3}


def test_a_recorded_call_says_who_answered_by_its_address() -> None:
    call = {
        "host": "bedrock-runtime.eu-west-1.amazonaws.com",
        "path": "/model/anthropic.claude-v2%3A1/invoke",
        "status": 200,
        "date": "Fri, 10 Oct 2025 15:56:44 GMT",
        "response": {"model": "claude-2.1", "usage": {"input_tokens": 4, "output_tokens": 2}},
    }
    report = read("recorded_call", call)
    assert (report.provider, report.model, report.region) == ("bedrock", "anthropic.claude-v2:1", "eu-west-1")
    assert report.started_at == dt.datetime(2025, 10, 10, 15, 56, 44, tzinfo=dt.UTC)
    assert reason("recorded_call", call | {"status": 429}) == "http_error"
    assert reason("recorded_call", call | {"host": "openai.com.example.org"}) == "unknown_endpoint"
    together = {"host": "api.together.ai", "path": "/v1/chat", "status": 200, "request": {"model": "asked"}}
    answer = read("recorded_call", together | {"response": {"usage": {"prompt_tokens": 1}}})
    assert (answer.provider, answer.model) == ("together", "asked")


# ------------------------------------------------------------------------------------------------------- other tools
def otlp(**attributes: Any) -> Body:
    def typed(value: Any) -> Body:
        return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}

    listed = [{"key": name.replace("__", "."), "value": typed(value)} for name, value in attributes.items()]
    span = {
        "name": "chat gpt-5",
        "traceId": "t",
        "spanId": "s",
        "startTimeUnixNano": "1700000000123456789",
        "endTimeUnixNano": "1700000001623456789",
        "attributes": listed,
        "status": {"code": 2},
    }
    resource = {"attributes": [{"key": "tenant.id", "value": {"stringValue": "acme"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}


def test_opentelemetry_by_new_names_and_old() -> None:
    module = adapter_module("otel")
    assert module is not None
    [span] = module.entries(
        otlp(
            gen_ai__operation__name="chat",
            gen_ai__provider__name="gcp.vertex_ai",
            gen_ai__response__model="gemini-2.5-pro",
            gen_ai__usage__input_tokens=100,
            gen_ai__usage__cache_read__input_tokens=40,
            gen_ai__usage__cache_creation__input_tokens=10,
            gen_ai__usage__output_tokens=30,
            gen_ai__usage__reasoning__output_tokens=20,
        )
    )
    report = read("otel", span)
    assert dict(report.tokens) == {"input": 50, "cache_read": 40, "cache_write": 10, "output": 10, "reasoning": 20}
    assert (report.provider, report.tenant_id, report.status, report.duration_ms) == ("google", "acme", "error", 1500)
    assert (report.trace_id, report.report_id) == ("t", "s")
    assert report.started_at == dt.datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=dt.UTC)
    [older] = module.entries(
        otlp(gen_ai__system="az.ai.openai", gen_ai__request__model="gpt-4", gen_ai__usage__prompt_tokens=8)
    )
    assert (dict(read("otel", older).tokens)["input"], read("otel", older).provider) == (8, "azure")
    [tool] = module.entries(otlp(gen_ai__operation__name="invoke_agent", gen_ai__usage__input_tokens=8))
    assert reason("otel", tool) == "no_model_call"
    [beside] = module.entries(otlp(gen_ai__usage__input_tokens=8, gen_ai__usage__cache_read__input_tokens=9))
    assert reason("otel", beside) == "tokens_do_not_add_up"


def test_openinference() -> None:
    attributes = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-5",
        "llm.provider": "azure",
        "llm.token_count.prompt": 100,
        "llm.token_count.prompt_details.cache_read": 30,
        "llm.token_count.completion": 50,
        "llm.token_count.completion_details.reasoning": 45,
        "llm.token_count.total": 150,
    }
    assert tokens("openinference", {"attributes": attributes}) == {
        "input": 70, "cache_read": 30, "output": 5, "reasoning": 45,
    }  # fmt: skip
    assert reason("openinference", {"attributes": attributes | {"openinference.span.kind": "AGENT"}}) == "no_model_call"


def test_vercel_counts_the_inner_span() -> None:
    attributes = {"ai.usage.inputTokens": 9, "ai.usage.outputTokens": 4, "ai.usage.cachedInputTokens": 2}
    outer = {"name": "ai.streamText", "attributes": attributes}
    assert reason("vercel", outer) == "span_around_calls"
    assert tokens("vercel", outer | {"name": "ai.streamText.doStream"}) == {"input": 7, "cache_read": 2, "output": 4}


def test_litellm() -> None:
    logged = {
        "id": "call-1",
        "trace_id": "t",
        "custom_llm_provider": "vertex_ai",
        "model": "gemini-2.5-pro",
        "status": "failure",
        "startTime": 1_700_000_000.25,
        "endTime": 1_700_000_001.5,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "response_cost": 0.1,
        "end_user": "u",
        "cache_hit": None,
        "metadata": {
            "user_api_key_team_id": "acme",
            "usage_object": {"prompt_tokens_details": {"cached_tokens": 64, "cache_creation_tokens": 6}},
        },
    }
    report = read("litellm", logged)
    assert tokens("litellm", logged) == {"input": 30, "cache_read": 64, "cache_write": 6, "output": 20}
    assert (report.provider, report.tenant_id, report.user_id, report.status, report.duration_ms) == (
        "google", "acme", "u", "failure", 1250,
    )  # fmt: skip
    assert reason("litellm", logged | {"cache_hit": True}) == "answered_from_cache"


def test_langfuse_keys_are_disjoint_unless_the_total_says_otherwise() -> None:
    details = {"input": 70, "input_cached_tokens": 30, "output": 5, "output_reasoning_tokens": 45, "total": 150}
    observation = {"id": "o", "type": "GENERATION", "startTime": "2025-01-01T00:00:00Z", "usageDetails": details}
    expected = {"input": 70, "cache_read": 30, "output": 5, "reasoning": 45}
    assert tokens("langfuse", observation) == expected
    nested = details | {"input": 100, "output": 50}
    assert tokens("langfuse", observation | {"usageDetails": nested}) == expected
    assert reason("langfuse", observation | {"usageDetails": {"input": 1, "pages": 3}}) == "unknown_token_class"
    assert reason("langfuse", observation | {"type": "SPAN"}) == "no_model_call"
    older = {"usageDetails": None, "usage": {"input": 5, "output": 1, "total": 6, "unit": "TOKENS"}}
    assert tokens("langfuse", observation | older) == {"input": 5, "output": 1}
    characters = {"usageDetails": None, "usage": {"input": 5, "unit": "CHARACTERS"}}
    assert reason("langfuse", observation | characters) == "not_counted_in_tokens"
    page = adapter_module("langfuse")
    assert page is not None
    assert list(page.entries({"data": [observation], "meta": {}})) == [observation]


# ------------------------------------------------------------------------------------------------------ what is wrong
@pytest.mark.parametrize(
    ("usage", "why"),
    [
        ({"prompt_tokens": -1}, "negative_tokens"),
        ({"prompt_tokens": 1.5}, "fractional_tokens"),
        ({"prompt_tokens": 10**13}, "too_many_tokens"),
        ({"prompt_tokens": True}, "unreadable_payload"),
        ({"prompt_tokens": "9"}, "unreadable_payload"),
        ({"completion_tokens": 9}, "incomplete_usage"),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 10}}, "tokens_do_not_add_up"),
        ({"type": "duration", "seconds": 9}, "not_counted_in_tokens"),
    ],
)
def test_impossible_numbers_have_a_reason_each(usage: Body, why: str) -> None:
    assert reason("openai", {"usage": usage}) == why


def test_what_is_in_the_adapters_folder_is_a_format() -> None:
    assert len(formats()) == 12
    assert all(adapter_of(form) is not None for form in formats())
    assert adapter_of("token_classes") is None


GOOD = [("openai", CHAT), ("anthropic", MESSAGE), ("gemini", {"usageMetadata": {"promptTokenCount": 3}})]
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["usage", "input_tokens"]), inner),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(formats()), st.sampled_from(GOOD), st.data())
def test_any_payload_is_read_or_refused(form: str, good: tuple[str, Body], data: st.DataObject) -> None:
    payload = json.loads(json.dumps(good[1]))
    holders = [payload, *(value for value in payload.values() if isinstance(value, dict))]
    holder = data.draw(st.sampled_from(holders))
    name = data.draw(st.sampled_from([*holder, "response", "stream", "events", "data", "attributes", "metadata"]))
    holder[name] = data.draw(odd)
    with contextlib.suppress(Refused):
        report = read(form, payload)
        assert all(isinstance(count, int) and count >= 0 for count in report.tokens.values())
        assert report.tokens.keys() <= TOKEN_CLASSES.keys()
