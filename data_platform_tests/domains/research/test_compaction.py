"""Compaction changes no fold: at every event the merged events give what the originals gave, also when these are gone.
Not here: replay of what is in the lake (test_replay)."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.domains.research.archive import compact, originals
from data_platform.domains.research.contracts.discussions import (
    CompactedDiscussions,
    DiscussionEvents,
    Discussions,
    DiscussionSnapshots,
)
from data_platform.domains.research.replay import last_turns, replay
from data_platform.domains.research.transforms.discussion_state import events_of
from data_platform.domains.research.transforms.merged_events import merged, unmerged
from data_platform_tests.support.command_line import Run
from data_platform_tests.support.homes import Home
from data_platform_tests.support.research_lakes import publish_events, publish_states
from data_platform_tests.support.research_rows import NOON, Row, clean_frame, discussion_lines, said, streams

LATER = NOON.date() + dt.timedelta(30)


@settings(max_examples=150, deadline=None)
@given(streams())
def test_merging_loses_nothing_that_the_fold_looks_at(rows: list[Row]) -> None:
    frame = clean_frame(rows)
    assert events_of(unmerged(merged(frame), "t-1", "d-1")) == events_of(frame)


def publish(lake: Lake, lines: list[Row]) -> None:
    publish_states(lake, publish_events(lake, lines))


def forget(lake: Lake) -> None:
    """Take events, snapshots and states out of the lake, as retention would."""
    for table in (DiscussionEvents, DiscussionSnapshots):
        days = sorted({*lake.scan(table).collect()[str(table.partition)]})
        lake.replace(table, table.empty(), days)
    lake.replace(Discussions, Discussions.empty(), [])


def test_a_discussion_whose_events_are_gone_is_replayed_at_every_event(home: Home, tmp_path: Path) -> None:
    lake = home.lake
    publish(lake, [*discussion_lines(130), said(1, discussion_id="d-open")])
    before = {n: replay(lake, "d-1", n).state for n in range(1, 131)}
    moments = {n: replay(lake, "d-1", NOON + dt.timedelta(minutes=n)).state for n in (1, 64, 130)}
    turns = last_turns(lake, replay(lake, "d-1", 77), 3)
    done = compact(lake, LATER, tmp_path / "cold")
    assert (done.discussions, done.events, len(done.files)) == (1, 130, 1)
    assert originals(lake, "t-1", "d-1").equals(
        lake.scan(DiscussionEvents).filter(discussion_id="d-1").collect().sort("sequence")
    )
    forget(lake)
    assert {n: replay(lake, "d-1", n).state for n in before} == before
    assert {n: replay(lake, "d-1", NOON + dt.timedelta(minutes=n)).state for n in moments} == moments
    assert last_turns(lake, replay(lake, "d-1", 77), 3).equals(turns), "the words come from the archive"
    with pytest.raises(PlatformError, match="There is no discussion d-open"):
        replay(lake, "d-open")


def test_only_what_ended_before_and_has_no_gap_is_compacted_once(home: Home, tmp_path: Path) -> None:
    lake, cold = home.lake, tmp_path / "cold"
    whole = discussion_lines(6)
    gap = [line | {"discussion_id": "d-gap"} for line in whole if line["sequence"] != 3]
    publish(lake, [*whole, *gap])
    assert compact(lake, NOON.date(), cold).discussions == 0, "it ended on that day, and not before"
    assert compact(lake, LATER, cold).discussions == 1
    assert compact(lake, LATER, cold).discussions == 0
    publish(lake, [*whole, *gap, whole[2] | {"discussion_id": "d-gap"}])
    assert compact(lake, LATER, cold).discussions == 1
    late = said(7, occurred_at=(NOON + dt.timedelta(days=2)).isoformat())
    publish(lake, [*whole, *gap, whole[2] | {"discussion_id": "d-gap"}, late])
    assert compact(lake, LATER, cold).events == 7, "an event came late: compacted anew"
    rows = lake.scan(CompactedDiscussions).select("discussion_id", "events").collect().rows()
    assert sorted(rows) == [("d-1", 7), ("d-gap", 6)]
    lake.replace(DiscussionEvents, DiscussionEvents.empty(), [NOON.date() + dt.timedelta(days=2)])
    publish_states(lake, lake.scan(DiscussionEvents).collect())
    assert compact(lake, LATER, cold).discussions == 0, "the lake lost a day, and the archive has it"
    assert replay(lake, "d-1").state.events == 7


KILLED = """
import datetime, os, pathlib, signal, sys
from data_platform.core.lake.store import Lake
from data_platform.domains.research import archive
_, act, times, lake, cold = sys.argv
done, times = getattr(archive, act), iter(range(int(times)))
setattr(archive, act, lambda *given: done(*given) if next(times, None) is not None else os.kill(os.getpid(), 9))
archive.compact(Lake(lake), datetime.date(2030, 1, 1), pathlib.Path(cold))
"""


def test_who_is_killed_in_the_middle_loses_nothing(home: Home, tmp_path: Path) -> None:
    """Two months are compacted; the process dies before the second's file, before its row, before the first's row."""
    lake, cold = home.lake, tmp_path / "cold"
    next_month = [
        line | {"discussion_id": "d-2", "occurred_at": (NOON + dt.timedelta(days=40, minutes=n)).isoformat()}
        for n, line in enumerate(discussion_lines(120))
    ]
    publish(lake, [*discussion_lines(9), *next_month])
    points = [("d-1", n) for n in range(1, 10)] + [("d-2", n) for n in (1, 99, 100, 120)]
    before = {point: replay(lake, *point).state for point in points}
    for act, times, compacted in (("_publish", 0, 0), ("write_durably", 1, 1), ("_publish", 0, 1)):
        ended = subprocess.run([sys.executable, "-c", KILLED, act, str(times), lake.root, str(cold)], check=False)
        assert ended.returncode == -signal.SIGKILL
        named = lake.scan(CompactedDiscussions).collect() if lake.exists(CompactedDiscussions) else []
        assert len(named) == compacted
        assert {point: replay(lake, *point).state for point in points} == before
    assert compact(lake, LATER + dt.timedelta(60), cold).discussions == 1
    assert len({*cold.rglob("*.parquet")}) == 2, "a file is named by what is in it, and written again it is the same"
    forget(lake)
    assert {point: replay(lake, *point).state for point in points} == before


def test_an_archive_that_is_gone_or_another_is_told(home: Home, tmp_path: Path) -> None:
    publish(home.lake, discussion_lines(6))
    (file,) = compact(home.lake, LATER, tmp_path / "cold").files
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(PlatformError, match="are not those that were written"):
        originals(home.lake, "t-1", "d-1")
    file.unlink()
    with pytest.raises(PlatformError, match="cannot be read"):
        originals(home.lake, "t-1", "d-1")
    with pytest.raises(PlatformError, match="is not compacted"):
        originals(home.lake, "t-1", "d-2")


def test_the_command_compacts_into_the_home(home: Home, run: Run) -> None:
    publish(home.lake, discussion_lines(6))
    done = run("research", "compact", "--before", str(LATER), "--json").json
    assert (done["discussions"], done["events"]) == (1, 6)
    assert Path(done["files"][0]).is_relative_to(home.path / "cold" / "discussion_events" / "ended_month=2024-01")
