"""What Amazon Bedrock answers and logs: by API, by maker of the model, in streams, headers and traces.
Not here: other providers (test_adapters), recorded bodies (test_recorded_calls)."""

from __future__ import annotations

import base64

import pytest

from data_platform_tests.support.usage_payloads import Body, chunk, event_stream, read, reason, tokens

HEADERS = {"X-Amzn-Bedrock-Input-Token-Count": "6", "x-amzn-bedrock-output-token-count": "4"}
CACHED_HEADERS = HEADERS | {
    "X-Amzn-Bedrock-Cache-Read-Input-Token-Count": "100",
    "X-Amzn-Bedrock-Cache-Write-Input-Token-Count": "20",
}
CLAUDE = {
    "input_tokens": 6, "output_tokens": 4, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
}  # fmt: skip


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


def test_bedrocks_log_of_invocations_names_the_model() -> None:
    entry = {
        "schemaType": "ModelInvocationLog", "timestamp": "2026-10-05T10:00:00Z", "requestId": "r",
        "region": "us-east-1",
        "modelId": "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-6",
        "input": {"inputTokenCount": 6, "cacheReadInputTokenCount": 100, "cacheWriteInputTokenCount": 20},
        "output": {"outputBodyJson": {"usage": CLAUDE}, "outputTokenCount": 4},
    }  # fmt: skip
    report = read("bedrock", entry)
    expected = {"input": 6, "cache_read": 100, "cache_write": 5, "cache_write_1h": 15, "output": 4}
    assert tokens("bedrock", entry) == expected
    assert (report.model, report.region, report.request_id) == ("us.anthropic.claude-sonnet-4-6", "us-east-1", "r")
    assert reason("bedrock", entry | {"input": {}, "output": {}, "errorCode": "ThrottlingException"}) == "http_error"


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


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"outputs": [], "headers": CACHED_HEADERS}, {"input": 6, "cache_read": 100, "cache_write": 20, "output": 4}),
        # What its headers leave out stands in the answer of the model's maker.
        ({"usage": CLAUDE, "headers": HEADERS},
         {"input": 6, "cache_read": 100, "cache_write": 5, "cache_write_1h": 15, "output": 4}),
        ({"usage": CLAUDE, "headers": CACHED_HEADERS},
         {"input": 6, "cache_read": 100, "cache_write": 5, "cache_write_1h": 15, "output": 4}),
        ({"usage": {"inputTokens": 6, "outputTokens": 4, "totalTokens": 30, "cacheWriteInputTokens": 20,
                    "cacheDetails": [{"ttl": "1h", "inputTokens": 15}, {"ttl": "5m", "inputTokens": 5}]}},
         {"input": 6, "cache_write": 5, "cache_write_1h": 15, "output": 4}),
    ],
)  # fmt: skip
def test_bedrock_tells_its_cache_in_three_places(payload: Body, expected: Body) -> None:
    assert tokens("bedrock", payload) == expected


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ({}, None),
        ({"serviceTier": {"type": "flex"}}, "flex"),
        ({"metadata": {"serviceTier": {"type": "priority"}}}, "priority"),
        ({"performanceConfig": {"latency": "optimized"}}, "optimized"),
        ({"performanceConfig": {"latency": "standard"}}, None),
        ({"headers": {"X-Amzn-Bedrock-Service-Tier": "flex"}}, "flex"),
        ({"headers": {"x-amzn-bedrock-performanceconfig-latency": "optimized"}}, "optimized"),
    ],
)
def test_bedrock_says_how_a_call_was_served(said: Body, tier: str | None) -> None:
    assert read("bedrock", {"usage": {"inputTokens": 5, "outputTokens": 3}} | said).service_tier == tier
