"""Rejected lines judged again after a fix: every table is as if the fix had been there from the start, whatever is
killed when. The fix here is an earlier first day. Not here: what makes a line acceptable (test_ingestion)."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.lake.store import Lake
from data_platform.domains.gameplay.contracts.events import RawPlayerEventsRejected
from data_platform.domains.gameplay.sources import PLAYER_EVENTS, SOURCES
from data_platform.operations import rejected
from data_platform.sources import landing as landing_module
from data_platform.sources.ingestion import ingest_waiting
from data_platform.sources.line_parser import LineParser
from data_platform.sources.replay import judge_again, plan_replay
from data_platform_tests.support.homes import FIRST_DAY, Home
from data_platform_tests.support.replays import (
    BEFORE,
    BROKEN,
    EVERYTHING,
    FUTURE,
    TOO_LATE,
    assert_balanced,
    at,
    carry_on,
    landing_with,
    received,
    replay,
    take_in,
    two_files,
    waiting_plans,
)

# ----------------------------------------------------------------------------------- as if never rejected
LINES = st.lists(
    st.one_of(st.builds(at, st.integers(0, 5), st.sampled_from("abc")), st.sampled_from(BROKEN)), max_size=12
)


@given(files=st.lists(LINES, min_size=1, max_size=3), limit=st.integers(1, 5))
@hypothesis_settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_replayed_home_equals_one_that_was_right_from_the_start(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[bytes]], limit: int
) -> None:
    named = {f"{n}.ndjson": b"\n".join([*lines, b'{"n": %d}' % n]) for n, lines in enumerate(files)}
    home, right = Home(tmp_path_factory.mktemp("replayed")), Home(tmp_path_factory.mktemp("right"))
    take_in(home, named, TOO_LATE)
    take_in(right, named, FIRST_DAY)
    received_at = {row["source_file"]: row["received_at"] for row in home.ledger().iter_rows(named=True)}
    for _ in range(2):
        replay(landing_with(home, FIRST_DAY), limit=limit)
        assert received(home) == received(right)
        assert_balanced(home)
    assert all(received_at[row["source_file"]] == row["received_at"] for row in home.raw().iter_rows(named=True))
    assert waiting_plans(home) == ["lock"] or not waiting_plans(home)


def test_only_what_was_chosen_is_replayed(home: Home) -> None:
    take_in(home, two_files(), TOO_LATE)
    before = received(home)
    today = home.rejected()["received_date"][0]
    for chosen in (
        rejected.chosen_rows(RawPlayerEventsRejected, "blank_line"),
        rejected.chosen_rows(RawPlayerEventsRejected, BEFORE, first=today + dt.timedelta(1)),
        rejected.chosen_rows(RawPlayerEventsRejected, BEFORE, last=today - dt.timedelta(1)),
    ):
        replay(landing_with(home, FIRST_DAY), chosen)
        assert received(home) == before
    replay(landing_with(home, FIRST_DAY), rejected.chosen_rows(RawPlayerEventsRejected, BEFORE, today, today))
    assert BEFORE not in set(home.rejected()["reason"])
    assert len(home.rejected()) == 2 * len(BROKEN) + 1
    assert_balanced(home)


def test_a_line_that_is_still_bad_says_why_by_the_rules_of_today(home: Home) -> None:
    take_in(home, {"a.ndjson": at(0) + b"\n" + at(4)}, TOO_LATE)
    landing = landing_with(home, FIRST_DAY + dt.timedelta(1))
    with landing.locked():
        assert plan_replay(landing, EVERYTHING).plan is None, "nothing changes"
    landing.lake.replace(
        RawPlayerEventsRejected,
        home.rejected().with_columns(reason=pl.lit("an_old_reason")),
        [home.rejected()["received_date"][0]],
    )
    replay(landing)
    assert home.rejected()["reason"].to_list() == [BEFORE]


@pytest.mark.parametrize(("clock", "event", "accepted"), [(-60, -30, True), (120, 60, False)], ids=["slow", "fast"])
def test_the_future_is_judged_by_the_clock_of_now(clock: int, event: int, accepted: bool) -> None:
    """In minutes from now: what our clock said when the line was received, and when it happened."""
    now = dt.datetime.now(dt.UTC)
    received_at, happened = (now + dt.timedelta(minutes=minutes) for minutes in (clock, event))
    line = json.dumps({"event_id": "e", "player_id": "p", "timestamp": happened.isoformat()})
    row = {"received_date": received_at.date(), "file_digest": "d", "source_file": "f", "source_line": 7, "line": line}
    row |= {"reason": FUTURE if accepted else "an_old_reason", "line_bytes": None, "received_at": received_at}
    rejected_lines = pl.DataFrame([row], schema=RawPlayerEventsRejected.schema())
    judged = judge_again(rejected_lines, LineParser(PLAYER_EVENTS, FIRST_DAY, dt.timedelta(minutes=10)), now)
    assert judged.lines["reason"].to_list() == [None if accepted else FUTURE]
    places = judged.rows.select("source_file", "source_line", "received_at").rows()
    assert places == ([("f", 7, received_at)] if accepted else [])


def test_lines_from_the_future_are_replayed_by_name_alone(home: Home) -> None:
    take_in(home, {"a.ndjson": json.dumps({"event_id": "e", "player_id": "p", "timestamp": "2999-01-01"}).encode()},
            FIRST_DAY)  # fmt: skip
    for reason, found in ((None, 0), (FUTURE, 1), ("blank_line", 0)):
        chosen = rejected.to_judge_again(RawPlayerEventsRejected, reason)
        assert len(home.rejected().filter(chosen)) == found


# ------------------------------------------------------------------------------------ interrupted
class Killed(BaseException):
    """Stands for SIGKILL: nothing in the platform catches it."""


POINTS: tuple[tuple[Any, str], ...] = (
    (landing_module, "write_durably"),
    (Lake, "stage"),
    (Lake, "commit"),
    (Path, "unlink"),
)


def dying(original: Callable[..., Any], when: str, number: int) -> Callable[..., Any]:
    """The function, dying just before or after its n-th call."""
    calls = 0

    def armed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls == number:
            raise Killed
        result = original(*arguments, **named)
        if when == "after" and calls == number:
            raise Killed
        return result

    return armed


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS, ids=[name for _, name in POINTS])
def test_interrupted_anywhere_it_ends_the_same(tmp_path: Path, point: tuple[Any, str], when: str) -> None:
    """What was planned is completed by the next ingestion, also one with the settings of before the fix."""
    prepared, right = Home(tmp_path / "prepared"), Home(tmp_path / "right")
    take_in(prepared, two_files(), TOO_LATE)
    take_in(right, two_files(), FIRST_DAY)
    reached = 0
    for number in range(1, 20):
        home = Home(tmp_path / str(number))
        shutil.copytree(prepared.path, home.path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(*point, dying(getattr(*point), when, number))
            try:
                replay(landing_with(home, FIRST_DAY))
                break
            except Killed:
                reached = number
        planned = any(name.endswith(".json") for name in waiting_plans(home))
        before = received(home)
        carry_on(landing_with(home, TOO_LATE))
        assert_balanced(home)
        if planned:
            assert received(home) == received(right), (when, number)
        else:
            assert received(home) == before
        replay(landing_with(home, FIRST_DAY))
        take_in(home, {"more.ndjson": at(4, "more")}, FIRST_DAY)
        assert_balanced(home)
        assert len(home.raw()) == len(right.raw()) + 1
        assert waiting_plans(home) == [], "no line is left lying about outside the lake"
    assert reached >= 2


def test_another_source_may_write_to_the_ledger_meanwhile(home: Home) -> None:
    take_in(home, two_files(), TOO_LATE)
    change = {"player_id": "p", "operation": "insert", "changed_at": f"{FIRST_DAY}T00:00:00Z"}

    class Crowded(Lake):
        """Just before the ledger is corrected, another source's file is taken in."""

        def commit(self, table: Any, *arguments: Any, **named: Any) -> Any:
            if table is IngestionLedger and not home.ledger().filter(source="players").height:
                home.drop("a.ndjson", [change], folder="players")
                ingest_waiting([s for s in SOURCES if s.name == "players"], home.lake, home.landing)
            return super().commit(table, *arguments, **named)

    replay(landing_with(home, FIRST_DAY, Crowded(home.lake.root)))
    assert home.ledger()["source"].to_list().count("players") == 1
    assert_balanced(home)
