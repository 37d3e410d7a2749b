"""What Cohere answers: chat, embed, rerank, of both versions of its API. It says what it bills for (`billed_units`)
beside what it counted, which includes tokens of its own prompt; what is billed holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.domains.metering.answers import answers
from data_platform.domains.metering.usage_report import (
    NO_USAGE,
    NOT_IN_TOKENS,
    Refused,
    UsageReport,
    first_count,
    first_text,
    part,
)


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for what is billed by searches, and for an answer without usage."""
    bodies = [part(event, "response") or part(event, "delta") or event for event in answers(payload)]
    billed = [units for body in bodies for place in ("usage", "meta") if (units := part(body, place, "billed_units"))]
    if not billed:
        raise Refused(NO_USAGE)
    units = billed[-1]
    if "input_tokens" not in units and "image_tokens" not in units:
        raise Refused(NOT_IN_TOKENS)
    tokens = {
        "input": first_count(units, "input_tokens") or 0,
        "image_input": first_count(units, "image_tokens") or 0,
        "output": first_count(units, "output_tokens") or 0,
    }
    return UsageReport(
        tokens,
        provider="cohere",
        status="ok",
        request_id=first_text(named for body in bodies for named in (body.get("id"), body.get("response_id"))),
    )
