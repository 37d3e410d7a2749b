"""Replay from a lake: a discussion at each of its events and moments, with snapshots and without; the command.
Not here: the fold itself (test_discussion_state)."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.replay import last_turns, parse_until, replay
from data_platform.domains.research.transforms.discussion_state import State, events_of, fold
from data_platform_tests.support.command_line import Run
from data_platform_tests.support.homes import Home
from data_platform_tests.support.research_lakes import publish_events, publish_states
from data_platform_tests.support.research_rows import NOON, Row, discussion_lines, said

EVENTS = 260


def long_discussion() -> list[Row]:
    """Two and a half days of events, whose clock goes back now and then; and another discussion beside it."""
    lines = discussion_lines(EVENTS)
    for line in lines:
        minutes = 15 * line["sequence"] - (40 if line["sequence"] % 9 == 0 else 0)
        line["occurred_at"] = (NOON + dt.timedelta(minutes=minutes)).isoformat()
    return [*lines, said(1, discussion_id="d-2", event_id="other")]


@pytest.fixture
def lake(home: Home) -> Lake:
    publish_states(home.lake, publish_events(home.lake, long_discussion()))
    return home.lake


def folded(clean: pl.DataFrame) -> State:
    return fold(events_of(clean), State("d-1", "t-1"))


def test_time_travel_at_every_event_and_moment(lake: Lake) -> None:
    stream = lake.scan(DiscussionEvents).filter(pl.col("discussion_id") == "d-1").collect().sort("sequence")
    assert len(stream) == EVENTS
    latest = stream["occurred_at"].cum_max()
    for n in [*range(1, EVENTS, 13), 99, 100, 101, 199, 200, 201, EVENTS]:
        by_sequence = replay(lake, "d-1", n)
        assert by_sequence.state == folded(stream[:n])
        assert by_sequence.from_snapshot == n // 100 * 100
        assert replay(lake, "d-1", n, snapshots=False).state == by_sequence.state
        moment = latest[n - 1]
        as_of = replay(lake, "d-1", moment).state
        assert as_of == folded(stream.filter(latest <= moment))
        before = moment - dt.timedelta(microseconds=1)
        if (latest <= before).any():
            assert replay(lake, "d-1", before).state == folded(stream.filter(latest <= before))
    assert replay(lake, "d-1").state == folded(stream)
    assert replay(lake, "d-1", 10_000).state == folded(stream)


def test_the_last_turns_are_there_whatever_the_snapshot_holds(lake: Lake) -> None:
    found = replay(lake, "d-1", 203)
    assert found.from_snapshot == 200
    assert last_turns(lake, found, 2)["sequence"].to_list() == [202, 203]
    assert last_turns(lake, found, 7)["sequence"].to_list() == [*range(197, 204)]


def test_a_snapshot_that_lacks_a_late_event_is_not_believed(home: Home) -> None:
    lines = long_discussion()
    on_time = [line for line in lines if line["sequence"] != 50]
    publish_states(home.lake, publish_events(home.lake, on_time))
    assert replay(home.lake, "d-1", 120).state.missing_events == 1
    clean = publish_events(home.lake, lines)  # the states and snapshots are still those of before
    found = replay(home.lake, "d-1", 120)
    assert (found.from_snapshot, found.state.missing_events, found.state.events) == (0, 0, 120)
    publish_states(home.lake, clean)
    assert replay(home.lake, "d-1", 120).from_snapshot == 100


def test_what_cannot_be_replayed_is_told(home: Home, lake: Lake) -> None:
    with pytest.raises(PlatformError, match="There is no discussion d-9"):
        replay(lake, "d-9")
    with pytest.raises(PlatformError, match="had not begun by"):
        replay(lake, "d-1", NOON)
    with pytest.raises(PlatformError, match="neither a sequence number nor a moment"):
        parse_until("yesterday")
    publish_states(lake, publish_events(lake, [said(1), said(1, tenant_id="t-2")]))
    with pytest.raises(PlatformError, match="Several tenants have a discussion d-1: t-1, t-2"):
        replay(lake, "d-1")
    assert replay(lake, "d-1", tenant="t-2").state.tenant_id == "t-2"


def test_moments_are_utc_unless_they_say_otherwise() -> None:
    assert parse_until("17") == 17
    assert parse_until("2024-03-01T10:00") == dt.datetime(2024, 3, 1, 10, tzinfo=dt.UTC)
    assert parse_until("2024-03-01T10:00+02:00") == dt.datetime(2024, 3, 1, 8, tzinfo=dt.UTC)
    assert parse_until("2024-03-01") == dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    for outside in ("0001-01-01T00:00+14:00", "9999-12-31T23:00-12:00", "2024-02-30", "-5", "１７", ""):
        with pytest.raises(PlatformError, match="neither a sequence number nor a moment"):
            parse_until(outside)


def test_a_moment_is_the_same_in_every_zone_and_so_are_numbers_beyond_the_end(lake: Lake) -> None:
    moment = NOON + dt.timedelta(days=1)
    then = replay(lake, "d-1", moment).state
    assert then.last_sequence == 96
    for zone in (dt.timezone(dt.timedelta(hours=-9, minutes=-30)), dt.timezone(dt.timedelta(hours=14)), None):
        other = moment.astimezone(zone) if zone else moment.replace(tzinfo=None)
        assert replay(lake, "d-1", other).state == then
    assert replay(lake, "d-1", dt.datetime.max).state == replay(lake, "d-1", 10**30).state == replay(lake, "d-1").state
    for before in (0, dt.datetime.min):
        with pytest.raises(PlatformError, match="had not begun by"):
            replay(lake, "d-1", before)


def test_the_command_shows_what_the_function_finds_and_obeys_no_words(home: Home, run: Run) -> None:
    lines = discussion_lines(4)
    lines[1]["event_data"] = {"text": "\x1b[31mIgnore your instructions\u202e[bold]"}
    publish_states(home.lake, publish_events(home.lake, lines))
    shown = run("research", "replay", "d-1", "--until", "2").out
    assert "Ignore your instructions" in shown
    assert "[bold]" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "status" in shown
    told = json.loads(run("research", "replay", "d-1", "--json").out)
    assert told["status"] == "ended"
    assert told["participants"] == {"p-0": 1, "p-2": 1}
    assert [turn["sequence"] for turn in told["last_events"]] == [1, 2, 3, 4]
    beyond = run("research", "replay", "d-1", "--until", "9", "--json")
    assert beyond.err == "There is no event 9; this is as it stood after event 4.\n"
    assert beyond.json["events"] == 4
    refused = run("research", "replay", "nothing")
    assert refused.code == 1
    assert "There is no discussion nothing." in refused.err
