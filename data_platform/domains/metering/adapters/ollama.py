"""What Ollama answers: chat, generate and embed, whole or as lines of a stream, of which the last one counts.
It runs where it is called: what its tokens cost is what one's own price list says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.domains.metering.answers import answers
from data_platform.domains.metering.usage_report import (
    NO_USAGE,
    Refused,
    UsageReport,
    first_count,
    first_text,
    moment,
    whole,
)


def read(payload: Mapping[str, Any]) -> UsageReport:
    """Raises Refused for a stream that was cut off before its counts came."""
    bodies = answers(payload)
    last = next((body for body in bodies[::-1] if "prompt_eval_count" in body or "eval_count" in body), None)
    if last is None:
        raise Refused(NO_USAGE)
    # A prompt that is still in memory is not evaluated again, and then not counted.
    tokens = {"input": first_count(last, "prompt_eval_count") or 0, "output": first_count(last, "eval_count") or 0}
    nanoseconds = last.get("total_duration")
    return UsageReport(
        tokens,
        provider="ollama",
        model=first_text(body.get("model") for body in bodies),
        started_at=moment(bodies[0].get("created_at")),
        duration_ms=whole(nanoseconds // 1_000_000) if isinstance(nanoseconds, int) else None,
        status="ok",
    )
