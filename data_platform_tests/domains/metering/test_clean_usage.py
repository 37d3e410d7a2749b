"""Cleaning of usage, against a plain-Python oracle that knows nothing of Polars."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.contract.frames import require_schema
from data_platform.domains.metering.contracts.usage import LlmUsage, LlmUsageRejected
from data_platform.domains.metering.transforms.clean_usage import CleanedUsage, clean_usage, days_around
from data_platform.domains.metering.transforms.usage_parts import in_parts
from data_platform_tests.support.usage_rows import Row, raw_frame, raw_row

DAYS = [dt.date(2024, 2, day) for day in (27, 28, 29)]
CLASSES = (
    "input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "image_input", "output", "reasoning",
    "audio_output", "image_output",
)  # fmt: skip
CHAT = {"model": "gpt-5", "id": "req-b", "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}
PAYLOADS = [
    ("openai", json.dumps(CHAT)),
    ("openai", json.dumps(CHAT | {"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}})),
    ("openai", '{"choices":[]}'),
    ("semaphore", '{"flags":3}'),
    ("openai", None),
    (None, '{"flags":3}'),
]

moments = st.builds(
    lambda day, hour: dt.datetime.combine(day, dt.time(hour), dt.UTC), st.sampled_from(DAYS), st.sampled_from([0, 23])
)
counts = st.sampled_from([None, 0, 1, 5, 5, -1, 10**12, 10**12 + 1, 2**63 - 1])
rows = st.builds(
    lambda **fields: raw_row(**{name: value for name, value in fields.items() if name != "shape"} | fields["shape"]),
    usage_id=st.sampled_from(["u-1", "u-2", "req-a"]),
    tenant_id=st.sampled_from(["acme", "acme", "ümlaut", None, " "]),
    request_id=st.sampled_from(["req-a", "req-b", None, ""]),
    provider=st.sampled_from(["openai", "OpenAI ", "vertex_ai", "openai.responses", None, ""]),
    model=st.sampled_from(["gpt-5", "gpt-5", None, " "]),
    service_tier=st.sampled_from([None, "default", "Batch"]),
    status=st.sampled_from([None, "ok", "timeout"]),
    started_at=moments,
    input_tokens=counts,
    output_tokens=counts,
    cache_read_tokens=st.sampled_from([None, None, 3]),
    total_tokens=st.sampled_from([None, None, None, 5, 10]),
    shape=st.sampled_from([{}, {}, {}, *({"format": form, "payload": payload} for form, payload in PAYLOADS)]),
)


@st.composite
def dirty(draw: st.DrawFn) -> list[Row]:
    """Reports of few calls on three days, with copies to the letter, in any order."""
    some = draw(st.lists(rows, max_size=14))
    copies = draw(st.lists(st.sampled_from(some), max_size=5)) if some else []
    return draw(st.permutations(some + copies))


def cleaned(reports: list[Row], days: list[dt.date]) -> CleanedUsage:
    raw = raw_frame(reports)
    around = days_around(days)
    return clean_usage(
        raw.filter(pl.col("usage_date").is_in(days)), raw.filter(pl.col("usage_date").is_in(around)).lazy()
    )


# ------------------------------------------------------------------------------------------------------- the oracle
def blank(text: str | None) -> bool:
    return text is None or not text.strip()


def as_call(row: Row) -> tuple[str | None, Row]:
    """(why it is no call, or None; the call) of a report."""
    row = dict(row)
    if row["format"] is not None or row["payload"] is not None:
        if row["format"] is None:
            return "missing_format", row
        if row["payload"] is None:
            return "missing_payload", row
        if row["format"] != "openai":
            return "unknown_format", row
        body = json.loads(row["payload"])
        if "usage" not in body:
            return "no_usage", row
        said = {"request_id": body["id"], "provider": "openai", "model": body["model"], "status": "ok"}
        row |= {name: value for name, value in said.items() if row[name] is None}
        row |= {f"{name}_tokens": 0 for name in CLASSES}
        row["input_tokens"], row["output_tokens"] = body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
        row["total_tokens"] = body["usage"]["total_tokens"]
    tokens = {name: row[f"{name}_tokens"] for name in CLASSES}
    if all(count is None for count in tokens.values()):
        return "no_usage", row
    tokens = {name: count or 0 for name, count in tokens.items()}
    if min(tokens.values()) < 0:
        return "negative_tokens", row
    if max(tokens.values()) > 10**12:
        return "too_many_tokens", row
    if blank(row["model"]):
        return "missing_model", row
    if row["total_tokens"] not in (None, sum(tokens.values())):
        return "tokens_do_not_add_up", row
    provider = (row["provider"] or "").strip().lower().split(".")[0]
    tier = (row["service_tier"] or "").lower()
    call = {name: row[name] for name in LlmUsage.columns if name in row} | {
        "tenant_id": "unattributed" if blank(row["tenant_id"]) else row["tenant_id"],
        "provider": {"vertex_ai": "google", "": "unknown"}.get(provider, provider),
        "service_tier": None if tier in ("", "default") else tier,
        "status": "ok" if blank(row["status"]) else row["status"],
        "total_tokens": sum(tokens.values()),
    }
    return None, call | {f"{name}_tokens": count for name, count in tokens.items()}


def key_of(call: Row) -> tuple[Any, ...]:
    asked = not blank(call["request_id"])
    return call["tenant_id"], asked, call["request_id"] if asked else call["usage_id"]


def place_of(call: Row) -> tuple[Any, ...]:
    """The smallest counts."""
    rest = ((call[name] is None, call[name]) for name in LlmUsage.columns if name not in ("reports", "total_tokens"))
    return -call["total_tokens"], call["status"] != "ok", tuple(rest)


def expected(reports: list[Row], days: list[dt.date]) -> tuple[list[Row], Counter[Any], Counter[dt.date]]:
    """(calls, rejected by day and reason, duplicates by day) of some days."""
    judged = [(row, *as_call(row)) for row in reports]
    good = [(row, call) for row, reason, call in judged if reason is None]
    refused = Counter((row["usage_date"], reason, repr(row)) for row, reason, _ in judged if reason is not None)
    winners, duplicates = [], Counter[dt.date]()
    for number, (row, call) in enumerate(good):
        same = [
            (place_of(other), place, other)
            for place, (_, other) in enumerate(good)
            if key_of(other) == key_of(call) and abs((other["usage_date"] - call["usage_date"]).days) <= 1
        ]
        if min(same, key=lambda one: one[:2])[1] == number:
            winners.append((row, call | {"reports": len(same)}))
        else:
            duplicates[row["usage_date"]] += 1
    calls: list[Row] = []
    for row, call in sorted(winners, key=lambda one: place_of(one[1])):
        named = ("usage_date", "tenant_id", "usage_id")
        if any(all(call[name] == other[name] for name in named) for other in calls):
            refused[row["usage_date"], "conflicting_usage_id", repr(row)] += 1
        else:
            calls.append(call)
    for (day, _, _), copies in refused.items():
        duplicates[day] += copies - 1
    rejected = Counter((day, reason) for day, reason, _ in refused)
    return (
        [call for call in calls if call["usage_date"] in days],
        Counter({one: count for one, count in rejected.items() if one[0] in days}),
        Counter({day: count for day, count in duplicates.items() if day in days}),
    )


@settings(max_examples=150, deadline=None)
@given(dirty(), st.sampled_from([DAYS, DAYS[:1], DAYS[1:2], DAYS[1:], [DAYS[0], DAYS[2]]]))
def test_cleaning_equals_the_oracle(reports: list[Row], days: list[dt.date]) -> None:
    result = cleaned(reports, days)
    calls, rejected, duplicates = expected(reports, days)
    require_schema(LlmUsage, result.clean)
    require_schema(LlmUsageRejected, result.rejected)
    order = LlmUsage.primary_key
    expected_calls = pl.DataFrame([{n: c[n] for n in LlmUsage.columns} for c in calls], schema=LlmUsage.schema())
    assert result.clean.sort(order).equals(expected_calls.sort(order))
    found = result.rejected.group_by("event_date", "reason").agg(pl.len())
    assert {(day, reason): count for day, reason, count in found.iter_rows()} == rejected
    dropped = {day: count for day, count in result.duplicates.iter_rows() if count}
    assert dropped == {day: count for day, count in duplicates.items() if count}
    for rule in LlmUsage.rules():
        assert result.clean.select(rule.holds.fill_null(True).all()).item(), rule.name


@settings(max_examples=40, deadline=None)
@given(dirty())
def test_a_day_is_the_same_whatever_days_are_computed_with_it(reports: list[Row]) -> None:
    together = cleaned(reports, DAYS).clean
    for day in DAYS:
        alone = cleaned(reports, [day]).clean
        assert alone.sort(LlmUsage.primary_key).equals(
            together.filter(pl.col("usage_date") == day).sort(LlmUsage.primary_key)
        )


@settings(max_examples=80, deadline=None)
@given(dirty(), st.sampled_from([DAYS[:1], DAYS[1:], DAYS]), st.integers(2, 4))
def test_in_parts_as_whole(reports: list[Row], days: list[dt.date], parts: int) -> None:
    """Calls with retries, ids that several calls have, payloads that alone know whose call they are of."""
    raw = raw_frame(reports).with_columns(source_line=pl.int_range(pl.len(), dtype=pl.Int64))
    of_days = raw.filter(pl.col("usage_date").is_in(days))
    beside = raw.filter(pl.col("usage_date").is_in(days_around(days))).lazy()
    found = [clean_usage(part, beside) for part in in_parts(of_days.lazy(), parts)]
    whole = clean_usage(of_days, beside)
    for name in ("clean", "rejected"):
        mine = [getattr(one, name) for one in found] or [getattr(whole, name).clear()]
        assert pl.concat(mine).sort(pl.all()).equals(getattr(whole, name).sort(pl.all())), name
    assert sum(one.duplicates["duplicates"].sum() for one in found) == whole.duplicates["duplicates"].sum()


# ------------------------------------------------------------------------------------------------------ by example
def at(day: int, hour: int = 12) -> dt.datetime:
    return dt.datetime(2024, 2, day, hour, tzinfo=dt.UTC)


def test_retries_around_midnight_are_billed_once() -> None:
    first = raw_row(usage_id="u-1", started_at=at(27, 23), output_tokens=0, status="timeout")
    retry = raw_row(usage_id="u-2", started_at=at(28, 0), output_tokens=40)
    result = cleaned([first, retry], DAYS)
    assert result.clean.select("usage_date", "usage_id", "reports").rows() == [(DAYS[1], "u-2", 2)]
    assert dict(result.duplicates.iter_rows()) == {DAYS[0]: 1, DAYS[1]: 0}


def test_failed_calls_keep_what_they_used() -> None:
    result = cleaned([raw_row(started_at=at(27), status="timeout", input_tokens=70, output_tokens=0)], DAYS)
    assert result.clean.select("status", "total_tokens").rows() == [("timeout", 70)]


def test_two_tenants_may_use_one_id() -> None:
    result = cleaned([raw_row(started_at=at(27), tenant_id=one) for one in ("acme", "globex")], DAYS)
    assert len(result.clean) == 2


@pytest.mark.parametrize("payload", ['{"usage":[]}', '{"usage":{"prompt_tokens":"9"}}', '{"id":"\\ud800"}', "{", "[1]"])
def test_a_payload_of_another_shape_holds_nothing_back(payload: str) -> None:
    broken = raw_row(usage_id="u-2", request_id=None, started_at=at(27), format="openai", payload=payload)
    result = cleaned([raw_row(started_at=at(27)), broken], DAYS)
    assert (len(result.clean), len(result.rejected)) == (1, 1)


def test_what_was_rejected_can_be_read_again() -> None:
    payload = '{"usage":{"prompt_tokens":1.50}}'
    broken = raw_row(started_at=at(27), format="openai", payload=payload, tags='{"a":"é"}', input_tokens=...)
    result = cleaned([broken], DAYS)
    said = json.loads(result.rejected["row"][0])
    assert result.rejected["reason"].to_list() == ["fractional_tokens"]
    assert (said["payload"], said["tags"], said["started_at"]) == (
        {"usage": {"prompt_tokens": 1.5}},
        {"a": "é"},
        "2024-02-27T12:00:00.000000Z",
    )
    assert '"payload":' + payload in result.rejected["row"][0], "digits stay as they were written"
