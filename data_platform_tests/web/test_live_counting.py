"""Windows counted live against the same windows computed from the tables' transforms, over random streams.
Not here: files and segments (sources/test_tail), a whole home (domains/gameplay/test_live_equals_batch), the page."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from data_platform.domains.gameplay.contracts.windows import FIVE_MINUTES, EventWindows, RawLiveWindows
from data_platform.domains.gameplay.live_view import LIVE
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.domains.gameplay.transforms.clean_events import clean_events
from data_platform.domains.gameplay.transforms.event_windows import event_windows
from data_platform.domains.gameplay.transforms.live_comparison import live_comparison
from data_platform.sources.compressed_lines import LineChunk
from data_platform.sources.line_parser import LineParser, Received
from data_platform.web.live.counting import EVERYTHING, Line, WindowCounts
from data_platform.web.live.known_ids import NOWHERE, KnownIds
from data_platform.web.live.recent import Recent
from data_platform_tests.support.homes import Row, event

DAY = dt.date(2024, 2, 28)
NOON = dt.datetime(2024, 2, 28, 12, tzinfo=dt.UTC)
LATER = dt.datetime(2024, 3, 9, tzinfo=dt.UTC)
MINUTE = 60_000_000
PARSER = LineParser(PLAYER_EVENTS, dt.date(2024, 1, 1), dt.timedelta(minutes=10))


def at(minutes: float) -> str:
    return (NOON + dt.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def raw(rows: Iterable[Row]) -> pl.DataFrame:
    """Rows of the raw table, as ingestion makes them of these events."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    return PARSER.parse(LineChunk(1, text.encode()), Received("f", "d", LATER)).rows


def recorded(lines: Iterable[Line]) -> pl.LazyFrame:
    """Lines of windows as raw/live_windows holds them."""
    fill = dict.fromkeys(RawLiveWindows.columns)
    rows = []
    for line in lines:
        start = dt.datetime.fromtimestamp(line.window * 300, dt.UTC)
        told = {"window_start": start, "window_date": start.date(), "event_type": line.place[0], "place": line.place[1]}
        numbers = {"events": line.events, "actors": line.actors, "sessions": line.sessions}
        rows.append(fill | told | numbers | {"late_events": line.late, "moved_events": line.moved})
    return pl.LazyFrame(rows, schema=RawLiveWindows.schema())


def watched(batches: Iterable[list[Row]]) -> list[Line]:
    """What the live view records of a stream that comes in these batches, until all is closed."""
    counts = WindowCounts(FIVE_MINUTES)
    lines: list[Line] = []
    for batch in batches:
        counts.count(LIVE.facts(raw(batch)), int(LATER.timestamp()) * 1_000_000)
        lines += counts.close()
    return lines + counts.close(max([*counts.open, 0]) + 1) + list(counts.notes_told())


def compared(batches: list[list[Row]]) -> list[dict[str, Any]]:
    rows = [row for batch in batches for row in batch]
    windows = event_windows(clean_events(raw(rows)).clean.lazy())
    days = [DAY, DAY + dt.timedelta(1)]
    return live_comparison(recorded(watched(batches)), windows, days, LATER.date()).collect().to_dicts()


events = st.builds(
    lambda minute, microsecond, number, session, campaign, kind: event(
        event_id=f"e-{number}",
        player_id=f"p-{number % 3}",
        session_id=session,
        campaign_id=campaign,
        event_type=kind,
        timestamp=(NOON + dt.timedelta(minutes=minute, microseconds=microsecond)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    ),
    st.integers(0, 60),
    st.sampled_from([0, 1, 999_999]),
    st.integers(0, 12),
    st.sampled_from(["s-1", "s-2", "", None]),
    st.sampled_from(["c-1", None, " "]),
    st.sampled_from(["login", "login", "combat_start", None]),
)


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(st.lists(st.lists(events, max_size=12), min_size=1, max_size=5))
def test_live_windows_are_those_of_the_tables_but_for_noted_late_events(batches: list[list[Row]]) -> None:
    """Ids repeat with other times, types, players and campaigns, late and early: the worst that a stream can be."""
    found = compared(batches)
    assert [row["example"] for row in found] == [None] * len(found)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=30), st.randoms())
def test_nothing_is_late_while_windows_are_open(rows: list[Row], chance: Any) -> None:
    """In one batch nothing is late: live and tables are equal to the last event, without any note."""
    lines = watched([chance.sample(rows, len(rows))])
    live = recorded(line for line in lines if line.place != EVERYTHING)
    table = event_windows(clean_events(raw(rows)).clean.lazy()).collect()
    if any(line.late or line.moved for line in lines):
        # Two rows of one id at one moment: which of them is the event cannot be told, and is noted.
        moments = [(row["event_id"], row["timestamp"]) for row in rows if row["event_type"]]
        assert len(set(moments)) < len(moments)
        return
    of_live = live.select(
        "window_start", "event_type", pl.col("place").alias("campaign_id"), "events", "actors", "sessions"
    )
    of_table = table.select("window_start", "event_type", "campaign_id", "events", "players", "sessions")
    assert sorted(map(repr, of_live.collect().rows())) == sorted(map(repr, of_table.rows()))


def test_a_lost_event_is_a_difference() -> None:
    rows = [event(event_id=f"e-{n}", timestamp=at(n)) for n in range(10)]
    windows = event_windows(clean_events(raw(rows)).clean.lazy())
    live = recorded(watched([rows[:7] + rows[8:]]))
    found = live_comparison(live, windows, [DAY], LATER.date()).collect().sort("window_start")
    assert found["differences"].to_list() == [0, 1]
    assert found["example"].to_list() == [None, "combat_start in c-1: 4 live, 5 in the tables"]


def test_a_window_that_saw_nothing_is_compared_too() -> None:
    rows = [event(event_id=f"e-{n}", timestamp=at(5 * n)) for n in range(8)]
    windows = event_windows(clean_events(raw(rows)).clean.lazy())
    live = recorded(watched([rows[:3] + rows[4:]]))
    found = live_comparison(live, windows, [DAY], LATER.date()).collect().sort("window_start")
    assert found.filter(pl.col("differences") > 0)["live_events"].to_list() == [0]


def test_tables_that_are_not_so_far_are_not_compared() -> None:
    """The window from 12:00 closes at 12:16: at 12:15:59 the tables may miss some of it, a minute later they do not."""
    rows = [event(event_id="e-1", timestamp=at(1))]
    live = recorded(watched([rows]))
    for newest, windows in ((15.99, 0), (16, 1)):
        clean = clean_events(raw([*rows, event(event_id="e-2", timestamp=at(newest))])).clean.lazy()
        assert live_comparison(live, event_windows(clean), [DAY], DAY).collect().height == windows
    assert live_comparison(live, EventWindows.empty().lazy(), [DAY], LATER.date()).collect().height == 1


def test_an_event_from_the_future_closes_nothing() -> None:
    counts = WindowCounts(FIVE_MINUTES)
    now = int(NOON.timestamp()) * 1_000_000
    counts.count(LIVE.facts(raw([event(timestamp=at(0)), event(event_id="e-2", timestamp=at(60))])), now)
    assert counts.newest == now
    assert counts.close() == []


def test_memory_is_bounded_by_closing_the_oldest_window() -> None:
    counts = WindowCounts(FIVE_MINUTES, most_events=3)
    rows = [event(event_id=f"e-{n}", timestamp=at(n)) for n in range(8)]
    counts.count(LIVE.facts(raw(rows)), int(LATER.timestamp()) * 1_000_000)
    closed = counts.close()
    assert [line.events for line in closed if line.place == EVERYTHING] == [5]
    assert len(counts.open) == 1


def test_a_long_silence_is_not_recorded_window_by_window() -> None:
    lines = watched([[event(event_id="e-1", timestamp=at(0))], [event(event_id="e-2", timestamp=at(60 * 24 * 9))]])
    assert len([line for line in lines if line.place == EVERYTHING]) < 10


def test_the_oldest_ids_are_forgotten_first() -> None:
    known = KnownIds(most=100)
    for window in range(10):
        known.add(window, dict.fromkeys(range(window * 20, window * 20 + 20), window + 100))
    found = known.look_up(np.arange(200, dtype=np.uint64))
    assert found[-60:] == [(window, window + 100) for window in (7, 8, 9) for _ in range(20)]
    assert found[0] == (NOWHERE, 0)
    known.add_late(5, 3, 7)
    known.add_late(199, 2, 8)
    assert (known.came_late(5), known.came_late(199), known.came_late(6)) == ((3, 7), (2, 8), None)
    known.add(11, {1000: 9})
    assert known.look_up(np.array([5, 199, 1000], np.uint64)) == [(3, 7), (2, 8), (11, 9)]


def test_copies_that_come_late_together_are_noted_once() -> None:
    first = [event(event_id="e-1", timestamp=at(0)), event(event_id="e-2", timestamp=at(30))]
    late = [event(event_id="e-3", timestamp=at(1))] * 3
    notes = [line for line in watched([first, late]) if line.late]
    assert [(line.late, line.moved) for line in notes] == [(1, 0)]


def test_recent_numbers_by_hand() -> None:
    recent = Recent()
    rows = [
        event(event_id="1", player_id="a", timestamp=at(0), event_type="level_up"),
        event(event_id="2", player_id="a", timestamp=at(6)),
        event(event_id="3", player_id="b", timestamp=at(6), campaign_id=None),
        event(event_id="4", player_id="c", timestamp=at(6.5)),
    ]
    second = int(NOON.timestamp()) + 390
    recent.add(LIVE.facts(raw(rows)), second * 1_000_000)
    assert recent.per_second(second)[-31:] == [2, *[0] * 29, 1]
    assert recent.active(second) == 3
    assert recent.leaders() == [("a", 13.0), ("b", 3.0), ("c", 3.0)]
    assert recent.places(second) == [("c-1", 2, 2)]
    recent.forget(second + 9 * 60)
    assert recent.leaders() == [("a", 3.0), ("b", 3.0), ("c", 3.0)]
    assert recent.active(second + 269) == 3
    assert recent.active(second + 270) == 1
    assert recent.active(second + 9 * 60) == 0


STAYS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 899), st.integers(0, 60)), min_size=1, max_size=60)


@given(STAYS, st.integers(0, 30))
@example([("a", 0, 0), ("a", 290, 60), ("a", 330, 0)], 0)  # comes late, and joins two stays
@example([("a", 4, 0), ("a", 5, 0), ("b", 310, 0)], 0)
def test_steps_of_the_chart_are_what_a_recount_says(seen: list[tuple[str, int, int]], later: int) -> None:
    """Events of three players in a quarter of an hour, each up to a minute late; a table of all of them is asked."""
    arriving = sorted(seen, key=lambda one: one[1] + one[2])
    start = int(NOON.timestamp())
    recent, newest = Recent(), 0
    for actor, at_second, _ in arriving:
        newest = max(newest, start + at_second)
        fact = {"at": (start + at_second) * 1_000_000, "place": None, "actor": actor, "points": 1.0}
        recent.add(pl.DataFrame([fact], schema_overrides={"place": pl.String}), newest * 1_000_000)
    second = newest + later
    recent.forget(second)
    steps = recent.steps(second)
    assert [at for at, _, _ in steps] == list(range(second // 5 * 5 - 300, second // 5 * 5, 5))
    events = [(actor, start + at_second) for actor, at_second, _ in seen]
    for at, rate, active in steps:
        assert rate * 5 == sum(at <= moment < at + 5 for _, moment in events)
        assert active == len({actor for actor, moment in events if at + 4 - 300 < moment <= at + 4})
    assert recent.active(second) == len({actor for actor, moment in events if second - 300 < moment <= second})


@pytest.mark.parametrize("minutes", [0, 4.99, 5])
def test_copies_of_one_event_count_once(minutes: float) -> None:
    """The earliest of them, whichever comes first."""
    copies = [event(timestamp=at(minutes)), event(timestamp=at(0))]
    for order in (copies, copies[::-1]):
        totals = [line for line in watched([[one] for one in order]) if line.place == EVERYTHING and line.is_count]
        assert [line.events for line in totals if line.events] == [1]
        assert min(line.window for line in totals) * 300 == NOON.timestamp()
