"""What an adapter makes of a report of usage, the reasons for which it makes nothing, and how it reads numbers.
Not here: any provider's shape (adapters), rows of tables (transforms)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from data_platform.core.moments import read_moment
from data_platform.domains.metering.contracts.usage import MOST_TOKENS

# Why a report is no billed call.
UNKNOWN_FORMAT = "unknown_format"
MISSING_FORMAT = "missing_format"  # a payload, and nobody says what shape it has
MISSING_PAYLOAD = "missing_payload"
MISSING_MODEL = "missing_model"
CONFLICTING_ID = "conflicting_usage_id"  # two calls of a tenant under one usage_id: it is given once
NO_USAGE = "no_usage"  # it answers a call, but does not say how many tokens that took
INCOMPLETE_USAGE = "incomplete_usage"  # it says so of a part only
UNREADABLE = "unreadable_payload"
NO_MODEL_CALL = "no_model_call"
SPAN_AROUND_CALLS = "span_around_calls"  # its tokens are told again by the calls within
ANSWERED_FROM_CACHE = "answered_from_cache"  # by a gateway's own cache: no provider bills for it
HTTP_ERROR = "http_error"
UNKNOWN_ENDPOINT = "unknown_endpoint"
SEVERAL_MODELS = "several_models"  # one sum of tokens of models with different prices
SEVERAL_CALLS = "several_calls"  # each is billed, and one report stands for one of them
UNKNOWN_OPERATION = "unknown_operation"  # it has tokens, and nobody knows whether they are told again
UNKNOWN_CLASS = "unknown_token_class"
NOT_IN_TOKENS = "not_counted_in_tokens"
FRACTIONAL = "fractional_tokens"
NEGATIVE = "negative_tokens"
TOO_MANY = "too_many_tokens"
DO_NOT_ADD_UP = "tokens_do_not_add_up"


class Refused(Exception):
    """A payload that is no billed call."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class UsageReport:
    """A call as reported: its tokens in disjoint classes, and what else the payload says. None: it does not say."""

    tokens: Mapping[str, int]
    """Class → tokens. Classes that are missing are zero."""
    total: int | None = None
    """What the provider says it bills for in all."""
    provider: str | None = None
    model: str | None = None
    region: str | None = None
    service_tier: str | None = None
    started_at: dt.datetime | None = None
    duration_ms: int | None = None
    status: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    tenant_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    feature: str | None = None
    report_id: str | None = field(default=None)
    """Id of the report itself, of a span for example."""


def whole(value: Any) -> int | None:
    """A count of tokens. 12 and 12.0 are whole; raises Refused for what is no number, not whole, negative or an
    overflow of whoever counted."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(UNREADABLE)
    if isinstance(value, float) and not value.is_integer():
        raise Refused(FRACTIONAL)
    if value < 0:
        raise Refused(NEGATIVE)
    if value > MOST_TOKENS:
        raise Refused(TOO_MANY)
    return int(value)


def without(counted: int, *within: int) -> int:
    """What is left of a count when what it includes is taken out. Raises Refused when that is more than the whole."""
    rest = counted - sum(within)
    if rest < 0:
        raise Refused(DO_NOT_ADD_UP)
    return rest


def first_count(counts: Mapping[str, Any], *names: str) -> int | None:
    """The first of these counts that is stated."""
    return next((whole(counts[name]) for name in names if counts.get(name) is not None), None)


def part(value: Any, *path: str) -> Mapping[str, Any]:
    """The object at a path; an empty one where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def parsed(value: Any) -> Mapping[str, Any]:
    """An object, or the text of one, as databases and files of columns hold it. Raises ValueError for other text."""
    return part(json.loads(value) if isinstance(value, str) and value.strip() else value)


def text(value: Any) -> str | None:
    """A text that is not empty; None for everything else. Half a surrogate, which JSON can spell, becomes `?`."""
    return value.encode(errors="replace").decode() if isinstance(value, str) and value.strip() else None


def first_text(values: Iterable[Any]) -> str | None:
    return next((value for value in map(text, values) if value), None)


def moment(value: Any) -> dt.datetime | None:
    """A time as tools write them: ISO 8601, or seconds since 1970. None for what is neither."""
    try:
        if isinstance(value, str) and value.strip():
            return read_moment(_six_decimals(value.strip()))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return dt.datetime.fromtimestamp(value, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _six_decimals(written: str) -> str:
    """Nanoseconds, which Go and Java write, are cut to what Python reads."""
    before, point, after = written.partition(".")
    digits = after[: len(after) - len(after.lstrip("0123456789"))]
    return f"{before}{point}{digits[:6].ljust(6, '0')}{after[len(digits) :]}" if digits else written


def milliseconds(begin: dt.datetime | None, end: dt.datetime | None) -> int | None:
    """From one moment to another, if both are known and in order."""
    if begin is None or end is None or end < begin:
        return None
    return round((end - begin).total_seconds() * 1000)
