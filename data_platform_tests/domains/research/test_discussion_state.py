"""The fold of a discussion: from anywhere it is the fold from the start, and the table of states is the same fold.
Not here: reading events from the lake (test_replay)."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.contract.frames import require_schema
from data_platform.domains.research.contracts.discussions import Discussions, DiscussionSnapshots
from data_platform.domains.research.transforms import discussions as tables
from data_platform.domains.research.transforms.discussion_state import Event, State, events_of, fold
from data_platform_tests.support.research_rows import NOON, Row, clean_frame, streams

START = State("d-1", "t-1")


def naive(rows: list[Row]) -> Row:
    """What a discussion is after these rows, said the long way; shares no code with the fold."""
    latest = [max(row["occurred_at"] for row in rows[: n + 1]) for n in range(len(rows))]
    ends = [n for n, row in enumerate(rows) if row["event_type"] == "discussion_ended"]
    starts = [row for row in rows if row["event_type"] == "discussion_started"]
    groups = [row["event_data"].split('"')[3] for row in starts if "focus_group_id" in row["event_data"]]
    spoke = Counter(row["persona_id"] for row in rows if row["event_type"] == "response")
    return {
        "project_id": rows[0]["project_id"],
        "focus_group_id": groups[0] if groups else None,
        "status": "ended" if ends else "open",
        "started_at": starts[0]["occurred_at"] if starts else None,
        "ended_at": rows[ends[0]]["occurred_at"] if ends else None,
        "events": len(rows),
        "responses": sum(spoke.values()),
        "followups": sum(row["event_type"] == "followup" for row in rows),
        "starts": len(starts),
        "events_after_end": len(rows) - 1 - ends[0] if ends else 0,
        "clock_went_back": sum(row["occurred_at"] < at for row, at in zip(rows, latest, strict=True)),
        "missing_events": rows[-1]["sequence"] - len(rows),
        "last_sequence": rows[-1]["sequence"],
        "last_event_id": rows[-1]["event_id"],
        "last_event_type": rows[-1]["event_type"],
        "last_event_at": latest[-1],
        "participant_ids": sorted(spoke),
        "spoke": dict(spoke),
        "questions": sorted({row["question_id"] for row in rows} - {None}),
    }


@settings(max_examples=1000, deadline=None)
@given(streams(), st.data())
def test_the_fold_from_any_snapshot_is_the_fold_from_the_start(rows: list[Row], data: st.DataObject) -> None:
    events = [Event(*[row.get(name) for name in Event._fields]) for row in rows]
    whole = fold(events, START)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=3)))
    state, begin = START, 0
    for cut in [*cuts, len(events)]:
        state, begin = State.from_json(fold(events[begin:cut], state).to_json()), cut
    assert state == whole
    assert state.to_json() == whole.to_json()


@settings(max_examples=150, deadline=None)
@given(st.lists(streams(), min_size=1, max_size=8), st.randoms())
def test_the_table_of_states_is_the_fold_and_both_are_what_was_said(several: list[list[Row]], random: object) -> None:
    named = [[row | {"discussion_id": f"d-{n}"} for row in rows] for n, rows in enumerate(several)]
    shuffled = [row for rows in named for row in rows]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    table = tables.discussion_states(clean_frame(shuffled).lazy()).collect()
    require_schema(Discussions, table)
    found = {row["discussion_id"]: row for row in table.to_dicts()}
    assert found.keys() == {rows[0]["discussion_id"] for rows in named}
    for rows in named:
        expected, row = naive(rows), found[rows[0]["discussion_id"]]
        state = fold(events_of(clean_frame(rows)), State(row["discussion_id"], "t-1"))
        spoke, questions = expected.pop("spoke"), expected.pop("questions")
        assert {name: row[name] for name in expected} == expected
        assert row["questions"] == len(questions)
        assert row["participants"] == len(spoke)
        assert row["turns"] == expected["responses"] + expected["followups"]
        people = expected.pop("participant_ids")
        assert {name: getattr(state, name) for name in expected} == expected
        assert (dict(state.responses_by_persona), state.questions) == (spoke, tuple(questions))
        assert sorted(state.responses_by_persona) == people


def test_an_event_out_of_order_is_refused() -> None:
    event = Event(3, "e-3", "response", NOON, "project-1", "p-1", None, None)
    with pytest.raises(ValueError, match="event 3 of d-1 comes after 3"):
        fold([event, event], START)


@settings(max_examples=100, deadline=None)
@given(streams())
def test_erasing_what_a_person_said_changes_no_state(rows: list[Row]) -> None:
    erased = [row | {"user_id": None, "text": None} for row in rows]
    assert fold(events_of(clean_frame(erased)), START) == fold(events_of(clean_frame(rows)), START)


def many_events(count: int, days: int = 3) -> list[Row]:
    """A discussion over some days, its clock going back now and then."""
    step = dt.timedelta(days=days) / count
    kinds = ["response", "response", "followup"]
    rows = []
    for n in range(1, count + 1):
        at = NOON + step * n - dt.timedelta(seconds=40 * (n % 7 == 0))
        rows.append(
            {"event_date": at.date(), "discussion_id": "d-1", "sequence": n, "event_id": f"e-{n}", "event_version": 2,
             "event_type": kinds[n % 3], "occurred_at": at, "project_id": "project-1", "persona_id": f"p-{n % 5}",
             "question_id": f"q{n % 4}", "event_data": "{}", "tenant_id": "t-1"}
        )  # fmt: skip
    return rows


def test_snapshots_are_the_fold_up_to_them_and_each_day_has_its_own() -> None:
    rows = many_events(1_050)
    frame = clean_frame(rows)
    days = sorted({row["event_date"] for row in rows})
    at_once = tables.discussion_snapshots(frame.lazy(), days)
    require_schema(DiscussionSnapshots, at_once)
    by_day = [
        tables.discussion_snapshots(frame.filter(pl.col("event_date") <= day).lazy(), [day]) for day in reversed(days)
    ]
    assert at_once.equals(pl.concat(by_day).sort(DiscussionSnapshots.primary_key))
    assert at_once["sequence"].to_list() == [n * tables.SNAPSHOT_EVERY for n in range(1, 11)]
    for sequence, text, reached_at in at_once.select("sequence", "state", "reached_at").iter_rows():
        state = fold(events_of(clean_frame(rows[:sequence])), START)
        assert State.from_json(text) == state
        assert reached_at == max(row["occurred_at"] for row in rows[:sequence])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=30), st.sets(st.integers(0, 29), max_size=4))
def test_snapshots_of_a_day_hang_on_no_day_after_it(days_of: list[int], missing: set[int]) -> None:
    """A clock that goes back over midnight: an event of a later day stands before one of an earlier."""
    rows = many_events(len(days_of))
    for row, ahead in zip(rows, days_of, strict=True):
        row["occurred_at"] = NOON + dt.timedelta(days=ahead, seconds=row["sequence"])
        row["event_date"] = row["occurred_at"].date()
    frame = clean_frame([row for n, row in enumerate(rows) if n not in missing])
    days = [NOON.date() + dt.timedelta(n) for n in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "SNAPSHOT_EVERY", 5)
        at_once = tables.discussion_snapshots(frame.lazy(), days)
        known = [frame.filter(pl.col("event_date") <= day) for day in days]
        by_day = [tables.discussion_snapshots(rows.lazy(), [day]) for rows, day in zip(known, days, strict=True)]
    assert at_once.equals(pl.concat(by_day).sort(DiscussionSnapshots.primary_key))
    for day, sequence, text in at_once.select("snapshot_date", "sequence", "state").iter_rows():
        then = frame.filter(pl.col("event_date") <= day, pl.col("sequence") <= sequence)
        assert State.from_json(text) == fold(events_of(then), START)
