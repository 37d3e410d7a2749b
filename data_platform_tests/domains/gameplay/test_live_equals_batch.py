"""Live equals batch: a dirty simulated day watched while it arrives, and the tables computed of it afterwards.
Not here: random streams without files (web/test_live_counting), the page."""

from __future__ import annotations

import datetime as dt
import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from data_platform.domains.gameplay.contracts.windows import EventWindows, LiveComparison, RawLiveWindows
from data_platform.domains.gameplay.live_view import LIVE
from data_platform.simulation.run import simulate
from data_platform.sources import tail
from data_platform.sources.segments import write_segment
from data_platform.web.live.feed import Feed
from data_platform_tests.support.homes import FIRST_DAY, Home

TABLES = ["clean/player_events", "gameplay/event_windows", "gameplay/live_comparison"]
LINES = 150
"""Of a segment."""


@pytest.fixture(scope="module")
def dirty_lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What a game sends in two days, as it arrives: 5 % of it copies, conflicts, broken or up to a day late."""
    landing = tmp_path_factory.mktemp("game")
    simulate(350, 2, 3, FIRST_DAY, landing, dirty=True)
    return [line for path in sorted((landing / "player_events").iterdir()) for line in _lines(path)]


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as file:
        yield from file


def arrive(home: Home, lines: list[bytes], chance: random.Random) -> Iterator[Path]:
    """Segments of three streams, whose lines are a little out of order, as they are written."""
    ends = dict.fromkeys(("http:a", "http:b", "kafka:events/0"), 0)
    for first in range(0, len(lines), LINES):
        some = lines[first : first + LINES]
        chance.shuffle(some)
        stream = chance.choice(list(ends))
        begin, ends[stream] = ends[stream], ends[stream] + len(some)
        yield write_segment(home.landing / "player_events", stream, begin, ends[stream], b"".join(some))


def watch(home: Home, lines: list[bytes], lost: int | None = None) -> pl.DataFrame:
    """The comparison after all lines arrived, were watched and taken in; the view never sees segment number `lost`."""
    chance = random.Random(7)
    with Feed(LIVE, home.landing, home.lake) as feed:
        for number, path in enumerate(arrive(home, lines, chance)):
            if number == lost:
                hidden = path.rename(path.with_name("moved.ndjson.zst"))
                continue
            if chance.random() < 0.05:
                home.ingest()  # some are put away before the view looked
            if chance.random() < 0.5:
                feed.step()
        feed.close_all()
        assert feed.message()["segments"] == number + (1 if lost is None else 0)
        assert feed.message()["missing"] == (0 if lost is None else 1)
    if lost is not None:
        assert hidden.exists()
    home.ingest()
    home.build(TABLES, first=FIRST_DAY, last=FIRST_DAY + dt.timedelta(1))
    return home.rows(LiveComparison).sort("window_start")


def test_a_dirty_day_live_is_the_day_of_the_tables(home: Home, dirty_lines: list[bytes]) -> None:
    found = watch(home, dirty_lines)
    windows, live = home.rows(EventWindows), home.rows(RawLiveWindows)
    assert found.filter(pl.col("differences") > 0).is_empty(), found["example"].drop_nulls().to_list()
    # All windows were compared, and nothing hides behind notes: what came too late is known to the event.
    assert set(windows["window_start"]) == set(found.filter(pl.col("table_events") > 0)["window_start"])
    assert len(found) > 500
    live_events, late, table = (found[name].sum() for name in ("live_events", "late_events", "table_events"))
    assert table == windows["events"].sum()
    assert 0 < late < 0.1 * table
    doubts = live["moved_events"].sum()  # a copy of a closed window that says something else: either may count
    assert live_events + late - doubts == table
    assert doubts < 0.001 * table
    verdicts = home.verdicts(LiveComparison, "live_equals_batch")
    assert {verdict.passed for verdict in verdicts.values()} == {True}


def test_a_segment_that_the_view_did_not_see_is_told(
    home: Home, dirty_lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "GAP_SECONDS", 0)
    found = watch(home, dirty_lines[: 20 * LINES], lost=10)
    assert 0 < found["differences"].sum() <= LINES
    verdicts = home.verdicts(LiveComparison, "live_equals_batch")
    assert False in {verdict.passed for verdict in verdicts.values()}
