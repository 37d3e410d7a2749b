"""Shapes of usage that tools write, spans, logs, exports of other platforms: what is within what, what is no call.
Not here: what providers answer (test_adapters), recorded files (test_recorded_calls)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from data_platform.domains.metering.adapters import adapter_module
from data_platform_tests.support.usage_payloads import Body, read, reason, tokens


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
    trace = {"id": "t", "observations": [observation, observation]}
    assert list(page.entries(trace)) == list(page.entries([trace])) == [observation] * 2
    assert list(page.entries({"trace": {"id": "t"}, "observations": [observation]})) == [observation]


def test_an_event_of_opentelemetry_tells_of_a_call_as_its_span_does() -> None:
    module = adapter_module("otel")
    assert module is not None
    exported = otlp(
        gen_ai__operation__name="chat",
        gen_ai__provider__name="openai",
        gen_ai__request__model="gpt-5",
        gen_ai__usage__input_tokens=8,
        gen_ai__usage__output_tokens=2,
    )
    [of_resource] = exported["resourceSpans"]
    [span] = of_resource["scopeSpans"][0]["spans"]
    record = {name: span[name] for name in ("attributes", "traceId", "spanId")}
    record |= {"timeUnixNano": "1700000000123456789", "eventName": "gen_ai.client.inference.operation.details"}
    words = record | {"eventName": "gen_ai.user.message", "attributes": []}
    logs = {"resourceLogs": [of_resource | {"scopeLogs": [{"logRecords": [record, words]}], "scopeSpans": None}]}
    told, said = module.entries(logs)
    [spanned] = module.entries(exported)
    event, report = read("otel", told), read("otel", spanned)
    assert dict(event.tokens) == dict(report.tokens)
    assert (event.report_id, event.started_at, event.tenant_id) == (report.report_id, report.started_at, "acme")
    assert reason("otel", said) == "no_model_call"


def test_an_export_is_read_as_a_payload_if_it_is_of_one_call() -> None:
    one = otlp(gen_ai__usage__input_tokens=8, gen_ai__request__model="gpt-5")
    assert tokens("otel", one) == {"input": 8}
    assert reason("otel", {"resourceSpans": one["resourceSpans"] * 2}) == "several_calls"
    assert reason("otel", {"resourceSpans": []}) == "no_model_call"


def test_an_operation_of_nobody_known_is_no_silent_loss() -> None:
    named = {"gen_ai.operation.name": "dream", "gen_ai.request.model": "gpt-5"}
    assert reason("otel", {"attributes": named | {"gen_ai.usage.input_tokens": 8}}) == "unknown_operation"
    assert reason("otel", {"attributes": named}) == "no_model_call"


def test_where_an_application_runs_is_not_where_its_model_does() -> None:
    attributes = {"gen_ai.usage.input_tokens": 8, "gen_ai.request.model": "gpt-5", "cloud.region": "eu-west-1"}
    assert read("otel", {"attributes": attributes}).region is None


def test_a_total_that_an_older_instrumentation_tells_is_held_against_the_classes() -> None:
    """Some count the cache beside the input: the total is what tells."""
    attributes = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read_input_tokens": 40}
    assert read("otel", {"attributes": attributes | {"llm.usage.total_tokens": 140}}).total == 140


@pytest.mark.parametrize("as_text", [False, True])
def test_rows_of_litellms_database_know_what_was_cached(as_text: bool) -> None:
    metadata: Any = {
        "status": "success",
        "additional_usage_values": {
            "cache_read_input_tokens": 64,
            "cache_creation_input_tokens": 6,
            "prompt_tokens_details": {"cached_tokens": 64, "cache_creation_token_details": None},
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    }
    row = {
        "request_id": "chatcmpl-1", "call_type": "acompletion", "spend": 0.1, "model": "claude-sonnet-4-6",
        "custom_llm_provider": "anthropic", "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "startTime": "2025-11-14T00:00:00Z", "endTime": "2025-11-14T00:00:01.5Z", "cache_hit": "False", "user": "u",
        "team_id": "support", "organization_id": "acme", "session_id": "s", "end_user": "",
        "metadata": json.dumps(metadata) if as_text else metadata,
    }  # fmt: skip
    report = read("litellm", row)
    assert tokens("litellm", row) == {"input": 30, "cache_read": 64, "cache_write": 6, "output": 16, "reasoning": 4}
    assert (report.request_id, report.tenant_id, report.project_id, report.user_id, report.status) == (
        "chatcmpl-1", "acme", "support", "u", "ok",
    )  # fmt: skip
    assert reason("litellm", row | {"cache_hit": "True"}) == "answered_from_cache"
    assert reason("litellm", row | {"metadata": "{"}) == "unreadable_payload"


def test_langfuse_takes_predictions_out_of_the_answer_that_they_are_billed_as() -> None:
    """As its server writes them for OpenAI: every detail is taken out of the whole."""
    details = {"input": 9, "output": 10, "total": 39, "output_reasoning_tokens": 0}
    details |= {"output_accepted_prediction_tokens": 8, "output_rejected_prediction_tokens": 12}
    observation = {"id": "o", "type": "GENERATION", "usageDetails": details}
    assert tokens("langfuse", observation) == {"input": 9, "output": 30}
    nested = details | {"output": 30}
    assert tokens("langfuse", observation | {"usageDetails": nested}) == {"input": 9, "output": 30}


def test_langfuse_exports_of_files_and_of_its_first_version() -> None:
    row = {
        "id": "o", "trace_id": "t", "project_id": "p", "type": "GENERATION", "start_time": "2025-01-01 00:00:00.250000",
        "end_time": "2025-01-01 00:00:01.000000", "provided_model_name": "gpt-5", "user_id": "u",
        "usage_details": json.dumps({"input": 5, "output": 1, "total": 6}), "metadata": '{"tenant_id": "acme"}',
    }  # fmt: skip
    report = read("langfuse", row)
    assert tokens("langfuse", row) == {"input": 5, "output": 1}
    assert (report.model, report.tenant_id, report.project_id, report.user_id, report.trace_id, report.duration_ms) == (
        "gpt-5", "acme", "p", "u", "t", 750,
    )  # fmt: skip
    assert report.started_at == dt.datetime(2025, 1, 1, 0, 0, 0, 250_000, tzinfo=dt.UTC)
    first = {"type": "GENERATION", "model": "gpt-4", "promptTokens": 5, "completionTokens": 1, "totalTokens": 6}
    assert tokens("langfuse", first) == {"input": 5, "output": 1}
