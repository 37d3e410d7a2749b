"""A whole HTTP exchange as recorders and gateways keep it: `host`, `path`, `status`, `request`, `response`,
`response_encoding` (json, text or base64), `date`. Who answered, and which model, is read from the address.
Not here: what the answer says (the other adapters)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from data_platform.domains.metering.adapters import adapter_of
from data_platform.domains.metering.answers import BASE64, EVENTS, STREAM
from data_platform.domains.metering.usage_report import (
    HTTP_ERROR,
    UNKNOWN_ENDPOINT,
    UNREADABLE,
    Refused,
    UsageReport,
    first_text,
    moment,
    part,
    text,
)

HOSTS: tuple[tuple[str, str, str | None], ...] = (
    ("openai.com", "openai", "openai"),
    ("openai.azure.com", "openai", "azure"),
    ("anthropic.com", "anthropic", None),
    ("googleapis.com", "gemini", None),
    ("amazonaws.com", "bedrock", None),
    ("cohere.com", "cohere", None),
    ("mistral.ai", "openai", "mistral"),
    ("groq.com", "openai", "groq"),
    ("together.ai", "openai", "together"),
    ("together.xyz", "openai", "together"),
    ("x.ai", "openai", "xai"),
    ("deepseek.com", "openai", "deepseek"),
    ("openrouter.ai", "openai", "openrouter"),
    ("portkey.ai", "openai", "portkey"),
)
"""End of the host → the shape it answers in, and the provider where the shape does not say."""
OLLAMA = ("/api/chat", "/api/generate", "/api/embed")
IN_PATH = re.compile(r"/models?/([^/:]+(?::\d+|%3A\d+)?)")
"""Gemini's `/models/NAME:generateContent`, Bedrock's `/model/NAME%3A0/invoke`."""
REGION = re.compile(r"^bedrock[a-z-]*\.([a-z0-9-]+)\.amazonaws\.com$|^([a-z]+-[a-z]+\d+)-aiplatform\.googleapis\.com$")


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for calls that failed, for answers without usage, and for addresses of nobody known."""
    host, path = str(payload.get("host") or "").lower(), str(payload.get("path") or "")
    form, provider = _who(host, path)
    status = payload.get("status")
    if isinstance(status, int) and status >= 400:
        raise Refused(HTTP_ERROR)
    adapter = adapter_of(form)
    assert adapter is not None, form
    report = adapter(_answer(payload))
    asked = first_text([part(payload, "request").get("model")])
    at_address = unquote(found[1]) if (found := IN_PATH.search(path)) else None
    # Bedrock's models have names of their own, by which they are billed; the answer has the maker's.
    model = (at_address or report.model) if form == "bedrock" else (report.model or at_address)
    region = REGION.match(host)
    return replace(
        report,
        provider=provider or report.provider,
        model=model or asked,
        region=next(filter(None, region.groups()), None) if region else None,
        started_at=_answered_at(payload) or report.started_at,
    )


def _who(host: str, path: str) -> tuple[str, str | None]:
    for end, form, provider in HOSTS:
        if host == end or host.endswith(f".{end}"):
            return form, provider
    if path.startswith(OLLAMA):
        return "ollama", None
    raise Refused(UNKNOWN_ENDPOINT)


def _answer(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response as the other adapters take it."""
    response, headers = payload.get("response"), part(payload, "response_headers")
    beside = {"headers": headers} if headers else {}
    if isinstance(response, Mapping):
        return {**response, **beside}
    if isinstance(response, list):
        return {EVENTS: response, **beside}
    if isinstance(response, str):
        return {BASE64 if payload.get("response_encoding") == "base64" else STREAM: response, **beside}
    raise Refused(UNREADABLE)


def _answered_at(payload: Mapping[str, Any]) -> dt.datetime | None:
    """A `date` as HTTP writes it, or as ISO 8601 does."""
    written = text(payload.get("date"))
    if written is None:
        return None
    try:
        return parsedate_to_datetime(written).astimezone(dt.UTC)
    except ValueError:
        return moment(written)
