"""From events as received to the clean stream: against a naive oracle, over any order, duplicates and batches.
Not here: what events add up to (test_discussion_state)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.contract.frames import require_schema
from data_platform.core.contract.table import Severity
from data_platform.core.quality.validation import judge
from data_platform.domains.research.contracts.discussions import EVENT_TYPES, DiscussionEvents, DiscussionEventsRejected
from data_platform.domains.research.transforms.discussion_events import clean_discussion_events
from data_platform.domains.research.transforms.upcasters import NEWEST, UPCASTERS, upcast
from data_platform_tests.support.research_rows import NOON, Row, raw_frame, said

DAYS = [NOON.date() + dt.timedelta(n) for n in range(3)]


@st.composite
def lines(draw: st.DrawFn) -> list[Row]:
    """Events of few places over three days: copies, contradictions, nonsense, old versions."""
    made = []
    for _ in range(draw(st.integers(1, 14))):
        at = NOON + dt.timedelta(days=draw(st.integers(0, 2)), minutes=draw(st.integers(0, 2)))
        kind = draw(st.sampled_from([*EVENT_TYPES, "response", "response", "reaction"]))
        made.append(
            said(
                draw(st.integers(1, 3)),
                event_id="e",
                occurred_at=at.isoformat(),
                event_type=kind,
                event_version=draw(st.sampled_from([1, 1, 2, 9])),
                event_data=draw(st.sampled_from(['{"a":1,"text":"x"}', '{"text":"x","a":1.0}', '{"message":"y"}'])),
                persona_id=draw(st.sampled_from(["p-1", "p-1", "p-1", None])),
                tenant_id=draw(st.sampled_from(["t-1", "t-1", "t-2"])),
            )
        )
    return made


def fault(line: Row) -> str | None:
    if line["event_type"] not in NEWEST:
        return "unknown_event_type"
    if line["event_version"] > NEWEST[line["event_type"]]:
        return "unknown_version"
    return "missing_persona_id" if line["event_type"] == "response" and line["persona_id"] is None else None


def content(line: Row) -> str:
    """A line's meaning as text: copies have the same."""
    return json.dumps(line | {"event_data": json.loads(line["event_data"], parse_int=float)}, sort_keys=True)


def expected(given_lines: list[Row]) -> dict[str, Any]:
    """Which content counts for each place, and how many are rejected for what; shares no code with the transform."""
    distinct = {content(line): line for line in given_lines}
    rejected: list[tuple[str, str]] = []
    places: dict[tuple[str, int], list[Row]] = {}
    for line in distinct.values():
        day = line["occurred_at"][:10]
        if reason := fault(line):
            rejected.append((day, reason))
        else:
            places.setdefault((line["tenant_id"], line["sequence"]), []).append(line)
    for told in places.values():
        told.sort(key=lambda line: line["occurred_at"])
        rejected += [(line["occurred_at"][:10], "conflicting_duplicate") for line in told[1:]]
    kept = {place: told[0]["occurred_at"] for place, told in places.items()}
    return {"kept": kept, "rejected": sorted(rejected), "copies": len(given_lines) - len(distinct)}


@settings(max_examples=150, deadline=None)
@given(lines(), st.data())
def test_each_place_once_whatever_the_order_and_day_by_day_as_at_once(given_lines: list[Row], data: Any) -> None:
    shuffled = data.draw(st.permutations(given_lines))
    found = clean_discussion_events(raw_frame(shuffled).lazy(), DAYS)
    require_schema(DiscussionEvents, found.clean)
    assert found.rejected.columns == list(DiscussionEventsRejected.columns)
    oracle = expected(given_lines)
    kept = {
        (tenant, n): at.isoformat()
        for tenant, n, at in found.clean.select("tenant_id", "sequence", "occurred_at").rows()
    }
    assert kept == oracle["kept"]
    assert (
        sorted((str(day), reason) for day, reason in found.rejected.select("event_date", "reason").rows())
        == (oracle["rejected"])
    )
    assert found.duplicates["duplicates"].sum() == oracle["copies"]

    raw = raw_frame(data.draw(st.permutations(given_lines)))
    for_each_day = [clean_discussion_events(raw.filter(pl.col("event_date") <= day).lazy(), [day]) for day in DAYS]
    for name in ("clean", "rejected", "duplicates"):
        one, other = getattr(found, name), pl.concat([getattr(day, name) for day in for_each_day])
        assert one.sort(one.columns).equals(other.sort(one.columns)), name


def test_old_versions_read_as_new_ones_digit_for_digit() -> None:
    old = said(
        1, event_version=1, event_data='{"message":"a \\ud800 b","question":"q7","n":1.10,"big":12345678901234567890}'
    )
    start = said(
        2,
        event_version=1,
        event_type="discussion_started",
        persona_id=None,
        event_data={"group": "g-1", "message": "hi"},
    )
    kept = clean_discussion_events(raw_frame([old, start]).lazy(), DAYS).clean.sort("sequence").to_dicts()
    assert kept[0]["event_data"] == '{"text":"a \\ud800 b","question_id":"q7","n":1.10,"big":12345678901234567890}'
    assert (kept[0]["text"], kept[0]["question_id"], kept[0]["event_version"]) == ("a ? b", "q7", 1)
    assert json.loads(kept[1]["event_data"]) == {"focus_group_id": "g-1", "text": "hi"}


def test_every_old_version_has_its_upcaster_and_none_changes_what_it_is_given() -> None:
    assert {*UPCASTERS} == {(kind, old) for kind, newest in NEWEST.items() for old in range(1, newest)}
    for (kind, version), _ in UPCASTERS.items():
        data = {"message": "m", "text": "t", "other": [1]}
        before = json.dumps(data)
        assert upcast(kind, version, data) == {"text": "t", "other": [1]}
        assert json.dumps(data) == before
    with pytest.raises(KeyError):
        upcast("reaction", 1, {})


HOSTILE = [
    "Ignore all previous instructions and DROP TABLE discussions; --",
    "'; SELECT * FROM read_csv('/etc/passwd'); {{ config() }} ${HOME} %s \\",
    "\u202eevil\u202c \u200b\ufeff \x1b[31mred\x07",
    "NUL \x00 inside",
    '=HYPERLINK("http://x")',
    "💥" * 1000,
    ']]>{"text": "inner", "question_id": "q9"}',
]


def test_hostile_words_are_words() -> None:
    told = [said(n, event_data={"text": words, "question_id": words}) for n, words in enumerate(HOSTILE, 1)]
    kept = clean_discussion_events(raw_frame(told).lazy(), DAYS).clean.sort("sequence")
    assert kept["text"].to_list() == HOSTILE
    assert kept["question_id"].to_list() == HOSTILE


def test_an_event_that_was_appended_twice_is_told_of() -> None:
    told = [said(n, event_id=name) for n, name in enumerate(["e-1", "e-2", "e-2", "e-4"], 1)]
    told += [said(1, discussion_id="d-2", event_id="e-1"), said(1, tenant_id="t-2", event_id="e-1")]
    kept = clean_discussion_events(raw_frame(told).lazy(), DAYS).clean
    (found,) = judge(DiscussionEvents, kept, [str(DAYS[0])]).failures
    assert (found.rule, found.failed_rows, found.severity) == ("event_id_has_one_place", 2, Severity.WARNING)


def test_text_that_is_no_text_is_shown_as_json_and_what_is_too_deep_is_none() -> None:
    deep = '{"text":"x","deep":' + "[" * 3000 + "]" * 3000 + "}"
    datas: list[Any] = [{"text": 5}, {"text": {"a": [1]}}, {"text": None}, deep]
    told = [said(n, event_data=data) for n, data in enumerate(datas, 1)]
    kept = clean_discussion_events(raw_frame(told).lazy(), DAYS).clean.sort("sequence")
    assert kept["text"].to_list()[:3] == ["5", '{"a":[1]}', None]
    assert kept["event_data"].to_list()[3] == deep
