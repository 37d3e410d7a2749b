"""What LiteLLM logs of a call (`StandardLoggingPayload`), or keeps of it in its database (rows of `LiteLLM_SpendLogs`).
It counts as OpenAI does, whoever answered: the prompt includes what was cached. Calls that its own cache answered were
billed by nobody. Its cost is a float and is not read: prices are ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.domains.metering.adapters import openai
from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.usage_report import (
    ANSWERED_FROM_CACHE,
    NO_USAGE,
    Refused,
    UsageReport,
    first_text,
    milliseconds,
    moment,
    parsed,
    part,
)


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for what its cache answered and for calls without usage."""
    if payload.get("cache_hit") in (True, "True", "true"):
        raise Refused(ANSWERED_FROM_CACHE)
    metadata = parsed(payload.get("metadata"))
    # The counts of a call stand beside it; what they are made of stands in the usage of its answer.
    usage = {
        **part(payload, "response", "usage"),
        **part(metadata, "usage_object"),
        **part(metadata, "additional_usage_values"),
        **{name: payload[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens") if name in payload},
    }
    if not usage:
        raise Refused(NO_USAGE)
    tokens, total = openai.tokens_of(usage)
    begin, end = moment(payload.get("startTime")), moment(payload.get("endTime"))
    organisation = first_text([metadata.get("user_api_key_org_id"), payload.get("organization_id")])
    team = first_text([metadata.get("user_api_key_team_id"), payload.get("team_id")])
    provider = first_text([payload.get("custom_llm_provider")])
    status = first_text([payload.get("status"), metadata.get("status")])
    return UsageReport(
        tokens,
        total,
        provider=provider_called(provider) if provider else None,
        model=first_text([payload.get("model"), payload.get("model_group")]),
        service_tier=first_text([part(payload, "response").get("service_tier")]),
        started_at=begin,
        duration_ms=milliseconds(begin, end),
        status="ok" if status in (None, "success") else status,
        request_id=first_text([part(payload, "response").get("id"), payload.get("id"), payload.get("request_id")]),
        trace_id=first_text([payload.get("trace_id"), payload.get("session_id")]),
        tenant_id=first_text([organisation, team]),
        project_id=first_text([team]) if organisation else None,
        user_id=first_text([payload.get("end_user"), metadata.get("user_api_key_user_id"), payload.get("user")]),
        report_id=first_text([payload.get("litellm_call_id"), payload.get("id"), payload.get("request_id")]),
    )
