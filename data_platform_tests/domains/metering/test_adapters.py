"""What providers answer, by small bodies of our own: what is within what, what is beside it, what is refused.
Not here: recorded bodies (test_recorded_calls), what tools write (test_tool_adapters)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.domains.metering.adapters import adapter_of, formats
from data_platform.domains.metering.token_classes import TOKEN_CLASSES
from data_platform.domains.metering.usage_report import Refused
from data_platform_tests.support.usage_payloads import Body, read, reason, sse, tokens

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
    assert reason("anthropic", sse(begun)) == "incomplete_usage", "cut off"
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


def test_cohere_and_ollama() -> None:
    cohere = {"usage": {"billed_units": {"input_tokens": 5, "output_tokens": 2}, "tokens": {"input_tokens": 71}}}
    assert tokens("cohere", cohere) == {"input": 5, "output": 2}
    assert reason("cohere", {"meta": {"billed_units": {"search_units": 1}}}) == "not_counted_in_tokens"
    assert tokens("cohere", {"meta": {"billed_units": {"image_tokens": 9}}}) == {"image_input": 9}
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


# ----------------------------------------------------------------------------- what they bill, deep in their bodies
def test_pictures_that_were_cached_are_billed_as_cached() -> None:
    """Realtime sessions and images: counted as both, like sound."""
    usage = {
        "input_tokens": 100, "output_tokens": 0, "total_tokens": 100,
        "input_token_details": {"text_tokens": 30, "audio_tokens": 10, "image_tokens": 60, "cached_tokens": 80,
                                "cached_tokens_details": {"text_tokens": 25, "audio_tokens": 5, "image_tokens": 50}},
    }  # fmt: skip
    expected = {"input": 5, "cache_read": 80, "audio_input": 5, "image_input": 10}
    assert tokens("openai", {"model": "m", "usage": usage}) == expected


def test_predicted_tokens_are_part_of_the_answer_whether_they_were_accepted_or_not() -> None:
    details = {"accepted_prediction_tokens": 8, "rejected_prediction_tokens": 12, "reasoning_tokens": 0}
    usage = {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39, "completion_tokens_details": details}
    usage["prompt_tokens_details"] = None
    assert tokens("openai", {"model": "m", "usage": usage}) == {"input": 9, "output": 30}


def test_lines_that_batches_wrote_cost_what_batches_cost() -> None:
    openai = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": CHAT}, "error": None}
    report = read("openai", openai)
    assert (sum(report.tokens.values()), report.request_id, report.service_tier) == (150, "chatcmpl-1", "batch")
    refused = {"status_code": 400, "body": {"error": {"message": "no"}}}
    assert reason("openai", openai | {"response": refused}) == "http_error"
    assert reason("openai", openai | {"response": None, "error": {"code": "batch_expired"}}) == "http_error"
    batched = MESSAGE | {"usage": MESSAGE["usage"] | {"service_tier": "batch"}}
    anthropic = {"custom_id": "a", "result": {"type": "succeeded", "message": batched}}
    assert tokens("anthropic", anthropic) == tokens("anthropic", MESSAGE)
    assert (read("anthropic", anthropic).service_tier, read("anthropic", anthropic).request_id) == ("batch", "msg_1")
    assert reason("anthropic", {"result": {"type": "expired"}}) == "no_usage"
    assert reason("anthropic", {"result": {"type": "errored", "error": {"type": "error"}}}) == "http_error"
    answer = {"usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 2, "totalTokenCount": 10}}
    assert tokens("gemini", {"key": "a", "response": answer}) == {"input": 8, "output": 2}
    assert read("gemini", {"key": "a", "response": answer}).service_tier == "batch"


def test_a_session_of_several_answers_is_no_single_call() -> None:
    def answered(name: str, asked: int) -> Body:
        usage = {"input_tokens": asked, "output_tokens": 1, "total_tokens": asked + 1}
        return {"type": "response.done", "response": {"id": name, "usage": usage}}

    assert reason("openai", sse(answered("resp_1", 5), answered("resp_2", 9))) == "several_calls"
    assert tokens("openai", sse(answered("resp_1", 5), answered("resp_1", 9))) == {"input": 9, "output": 1}
    turn = {"usageMetadata": {"promptTokenCount": 8, "responseTokenCount": 2, "totalTokenCount": 10}}
    assert reason("gemini", {"events": [turn, turn]}) == "several_calls"
    said = [{"modality": "AUDIO", "tokenCount": 2}]
    spoken = {"usageMetadata": turn["usageMetadata"] | {"responseTokensDetails": said}}
    assert tokens("gemini", {"events": [spoken]}) == {"input": 8, "audio_output": 2}


def test_sound_by_the_minute_is_not_counted_in_tokens() -> None:
    usage = {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12, "prompt_audio_seconds": 3}
    assert reason("openai", {"usage": usage}) == "not_counted_in_tokens"
    assert tokens("openai", {"usage": usage | {"prompt_audio_seconds": {}}}) == {"input": 8, "output": 4}


def test_a_conversation_that_was_compacted_is_billed_with_all_its_iterations() -> None:
    def with_iterations(*iterations: Body) -> Body:
        return MESSAGE | {"usage": {"input_tokens": 23, "output_tokens": 1, "iterations": list(iterations)}}

    compaction = {"type": "compaction", "input_tokens": 180, "output_tokens": 3}
    message = {"type": "message", "input_tokens": 23, "output_tokens": 1, "cache_read_input_tokens": 7}
    assert tokens("anthropic", with_iterations(compaction, message)) == {"input": 203, "cache_read": 7, "output": 4}
    assert tokens("anthropic", with_iterations(message)) == {"input": 23, "output": 1}
    advised = {"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 9, "output_tokens": 2}
    assert reason("anthropic", with_iterations(message, advised)) == "several_models"
    ended = {"type": "message_delta", "usage": {"output_tokens": 1, "iterations": [compaction, message]}}
    stream = sse({"type": "message_start", "message": with_iterations()}, ended)
    assert tokens("anthropic", stream) == {"input": 203, "cache_read": 7, "output": 4}


@pytest.mark.parametrize(
    ("said", "tier", "region"),
    [
        ({"speed": "fast"}, "fast", None),
        ({"speed": "standard", "service_tier": "priority"}, "priority", None),
        ({"inference_geo": "us"}, "standard", "us"),
        ({"inference_geo": "global"}, "standard", None),
        ({"inference_geo": "not_available"}, "standard", None),
        ({"server_tool_use": {"web_search_requests": 0}}, "standard", None),
    ],
)
def test_what_makes_a_message_of_anthropic_cost_more_is_told(said: Body, tier: str, region: str | None) -> None:
    report = read("anthropic", MESSAGE | {"usage": MESSAGE["usage"] | said})
    assert (report.service_tier, report.region) == (tier, region)


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
