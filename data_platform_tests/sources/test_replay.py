"""Rejected lines judged again after a fix: every table is as if the fix had been there from the start, whatever is
killed when. The fix here is an earlier first day. Not here: what makes a line acceptable (test_ingestion)."""

from __future__ import annotations

import datetime as dt
import functools
import json
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import contract
from data_platform.core.errors import PlatformError
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import asset_key
from data_platform.domains.gameplay.contracts.events import PlayerEvents, RawPlayerEvents, RawPlayerEventsRejected
from data_platform.domains.gameplay.sources import PLAYER_EVENTS, SOURCES
from data_platform.operations import rejected
from data_platform.sources import landing as landing_module
from data_platform.sources.ingestion import carry_out, ingest_waiting, landing_of
from data_platform.sources.ingestion_checks import BALANCE
from data_platform.sources.landing import Landing
from data_platform.sources.line_parser import LineParser
from data_platform.sources.replay import judge_again, plan_replay
from data_platform_tests.support import SUPPORT
from data_platform_tests.support.homes import FIRST_DAY, Home, event, line

HELPER = str(SUPPORT.joinpath("kill_helper.py"))
TOO_LATE = FIRST_DAY + dt.timedelta(3)
"""The first day that was configured by mistake."""
FUTURE = "timestamp_in_future"
BEFORE = "timestamp_before_first_day"
EVERYTHING = pl.lit(True)
BROKEN: tuple[bytes, ...] = (
    line(player_id=None, timestamp=f"{FIRST_DAY}T08:00:00Z").encode(),
    b"{broken",
    b"",
    b'{"event_id": "\xff"}',
    b"[1, 2]\r",
)


def at(day: int, name: str = "e", **changes: Any) -> bytes:
    return line(event_id=f"{name}-{day}", timestamp=f"{FIRST_DAY + dt.timedelta(day)}T10:00:00Z", **changes).encode()


def two_files() -> dict[str, bytes]:
    """Good lines of six days, half of them before TOO_LATE, among broken ones; some lines are in both files."""
    one = [at(day, name) for day in range(6) for name in ("ann", "bob")]
    other = [at(0, "ann"), *BROKEN, at(1, extra="ü\u2028"), at(5), BROKEN[0]]
    return {"one.ndjson": b"\n".join([*BROKEN, *one]) + b"\n", "other.ndjson": b"\n".join(other)}


def landing_with(home: Home, first_day: dt.date, lake: Lake | None = None) -> Landing:
    parser = LineParser(PLAYER_EVENTS, first_day, dt.timedelta(minutes=10))
    return Landing(PLAYER_EVENTS, home.landing, lake or home.lake, parser)


def take_in(home: Home, files: Mapping[str, bytes], first_day: dt.date) -> None:
    """Ingest the files, each as a batch of its own."""
    for name, content in files.items():
        home.drop(name, content)
        carry_on(landing_with(home, first_day))


def carry_on(landing: Landing) -> None:
    with landing.locked():
        for plan in landing.batches():
            carry_out(landing, plan)
            landing.finish(plan)


def replay(landing: Landing, chosen: pl.Expr = EVERYTHING, limit: int = 1000) -> None:
    """A whole replay without Dagster."""
    after = None
    while True:
        with landing.locked():
            planned = plan_replay(landing, chosen, after, limit)
        carry_on(landing)
        after = planned.last
        if after is None:
            return


def received(home: Home) -> dict[str, list[dict[str, Any]]]:
    """The three tables without what differs between any two homes."""
    tables = (RawPlayerEvents, RawPlayerEventsRejected, IngestionLedger)
    volatile = ("received_at", "received_date", "batch")
    return {t.key: sorted(home.rows(t).drop(volatile, strict=False).to_dicts(), key=repr) for t in tables}


def assert_balanced(home: Home) -> None:
    """Per file received = stored + rejected, and both are what is in the tables; no row twice."""
    raw, ledger = home.raw(), home.ledger()
    assert raw.select(pl.struct(RawPlayerEvents.primary_key).is_unique().all()).item()
    assert home.rejected().select(pl.struct(RawPlayerEventsRejected.primary_key).is_unique().all()).item()
    for row in ledger.filter(source="player_events").iter_rows(named=True):
        assert row["received_lines"] == row["stored_lines"] + row["rejected_lines"]
        stored = raw.filter(source_file=row["source_file"], received_at=row["received_at"])
        assert len(stored) == row["stored_lines"]
        assert len(home.rejected().filter(file_digest=row["file_digest"])) == row["rejected_lines"]
        assert (row["first_day"], row["last_day"]) == (stored["event_date"].min(), stored["event_date"].max())


def waiting_plans(home: Home) -> list[str]:
    return sorted(path.name for path in (home.landing / "player_events" / "_plans").glob("*.*"))


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
    (Lake, "publish"),
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

        def publish(self, table: Any, *arguments: Any, **named: Any) -> Any:
            if table is IngestionLedger and not home.ledger().filter(source="players").height:
                home.drop("a.ndjson", [change], folder="players")
                ingest_waiting([s for s in SOURCES if s.name == "players"], home.lake, home.landing)
            return super().publish(table, *arguments, **named)

    replay(landing_with(home, FIRST_DAY, Crowded(home.lake.root)))
    assert home.ledger()["source"].to_list().count("players") == 1
    assert_balanced(home)


# ------------------------------------------------------------------------------------- through Dagster
def replay_in_dagster(home: Home, chosen: pl.Expr = EVERYTHING) -> rejected.Replayed:
    from data_platform.definitions import defs

    replayed = rejected.replay_lines(defs, home.instance, landing_of(PLAYER_EVENTS, home.lake), chosen)
    assert not replayed.built.failures
    return replayed


def test_dagster_knows_the_days_and_builds_exactly_what_depends_on_them(home: Home) -> None:
    from data_platform.operations.staleness import stale_days

    take_in(home, two_files(), TOO_LATE)
    home.drop("waits.ndjson", at(5, "waits"))
    home.build()
    home.drop("waits too.ndjson", at(5, "waits too"))
    replayed = replay_in_dagster(home)
    assert rejected.summary_of(replayed, "lines", "stored") == (
        "19 lines replayed: 8 stored, 11 still rejected (missing_player_id 3, blank_line 2, invalid_json 2, "
        "invalid_utf8 2, not_an_object 2)"
    )
    assert home.verdicts(IngestionLedger, BALANCE)[None].passed
    found = home.instance.get_latest_materialization_event(asset_key(RawPlayerEventsRejected))
    assert found is not None
    assert [p.name for p in (home.landing / "player_events").glob("*.ndjson")] == ["waits too.ndjson"]
    stale = stale_days(ThroughDagster(home.instance), [PlayerEvents])
    assert stale[PlayerEvents] == [str(FIRST_DAY + dt.timedelta(n)) for n in range(3)]
    home.build()
    assert set(home.rows(PlayerEvents)["event_id"]) == set(home.raw()["event_id"])
    assert replay_in_dagster(home).accepted == 0


@pytest.mark.parametrize("breaks", ["after the lines moved", "before they move"])
def test_a_replay_goes_on_beside_a_run_that_fails_unless_its_plan_is_left(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], breaks: str
) -> None:
    from data_platform.cli import app
    from data_platform.sources import ingestion

    take_in(home, two_files(), TOO_LATE)
    stored = len(home.raw())
    broken = "judge_ingestion" if breaks == "after the lines moved" else "carry_out"
    original, calls = getattr(ingestion, broken), list[int]()

    def failing(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("what nobody thought of")
        return original(*arguments)

    monkeypatch.setattr(ingestion, broken, failing)
    monkeypatch.setattr(rejected, "plan_replay", functools.partial(plan_replay, limit=4))
    with pytest.raises(PlatformError, match=r"Not everything was replayed: .*what nobody thought of") as raised:
        app(["rejected", "replay", "raw/player_events"], standalone_mode=False)
    assert "run it again for the rest" in raised.value.remedy
    left = landing_of(PLAYER_EVENTS, home.lake).unfinished()
    if breaks == "after the lines moved":
        assert "19 lines replayed: 8 stored, 11 still rejected" in capsys.readouterr().out
        assert (len(home.raw()), left) == (stored + 8, None)
    else:
        assert left is not None
        carry_on(landing_with(home, TOO_LATE))
    assert_balanced(home)
    assert not replay_in_dagster(home).built.failures
    assert len(home.raw()) == stored + 8


def test_the_last_rejected_line_of_a_day_leaves_it_empty(home: Home) -> None:
    take_in(home, {"a.ndjson": at(0) + b"\n" + at(4)}, TOO_LATE)
    replay_in_dagster(home)
    assert home.rejected().is_empty()
    assert len(home.raw()) == 2


def test_rows_rejected_at_cleaning_are_computed_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.definitions import defs
    from data_platform.domains.gameplay.transforms import clean_events

    refused = [event(event_id=f"r-{n}", timestamp=f"2024-01-0{n}T10:00:00Z") for n in (2, 4)]
    good = [event(event_id=f"g-{n}", event_type="login", timestamp=f"2024-01-0{n}T10:00:00Z") for n in (2, 3)]
    twins = [event(event_id="twin", event_type="login", player_id=p, timestamp="2024-01-02T10:00:00Z") for p in "ab"]
    home.drop("a.ndjson", [*refused, *good, *twins])
    with monkeypatch.context() as bug:
        bug.setattr(clean_events, "_has_type", lambda: pl.col("event_type") != "combat_start")
        home.build(["clean"])
    table = contract("clean/player_events_rejected")
    before = home.files(PlayerEvents)
    chosen = rejected.chosen_rows(table, "missing_event_type")
    replayed = rejected.replay_rows(defs, home.instance, home.lake, table, chosen)
    assert not replayed.built.failures
    assert (replayed.judged, replayed.accepted, dict(replayed.still)) == (2, 2, {})
    assert home.rows(table)["reason"].to_list() == ["conflicting_duplicate"]
    after = home.files(PlayerEvents)
    assert {day for day in after if after[day] != before.get(day)} == {"2024-01-02", "2024-01-04"}
    replayed = rejected.replay_rows(defs, home.instance, home.lake, table, EVERYTHING)
    assert (replayed.judged, replayed.accepted, dict(replayed.still)) == (1, 0, {"conflicting_duplicate": 1})


# ------------------------------------------------------------------------------------ the command line
def command(home: Home, *arguments: str, **environment: str) -> tuple[int, str]:
    process = home.start(HELPER, *arguments, **environment)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def test_killed_by_sigkill_on_the_command_line(tmp_path: Path) -> None:
    """Each run dies one step further; the last one is a build, which completes the replay before anything else."""
    home, right = Home(tmp_path / "home"), Home(tmp_path / "right")
    take_in(home, two_files(), TOO_LATE)
    take_in(right, two_files(), FIRST_DAY)
    for point in ("plan:before:2", "plan:after:3", "publish:after:1", "publish:after:1", "report:after:1"):
        code, output = command(home, "raw/player_events", RUN="rejected replay", KILL_AT=point)
        assert code == -signal.SIGKILL, output
    home.build(["raw"])
    assert received(home) == received(right)
    assert_balanced(home)
    assert home.verdicts(IngestionLedger, BALANCE)[None].passed


def test_show_counts_by_day_and_reason_and_shows_lines_safely(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    from data_platform.cli import app

    evil = b'{"event_id": "\x1b[31m[bold]red[/bold]\x07"'
    take_in(home, two_files() | {"evil.ndjson": evil}, TOO_LATE)
    app(["rejected", "show", "raw/player_events", "--reason", "invalid_json"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "raw/player_events_rejected: 3 rejected" in shown
    assert "[bold]red[/bold]" in shown
    assert not set(shown) & {"\x1b", "\x07"}
    app(["rejected", "show", "--json"], standalone_mode=False)
    totals = {total["reason"]: total["rows"] for total in json.loads(capsys.readouterr().out)}
    assert totals == dict(home.rejected()["reason"].value_counts().iter_rows())


@pytest.mark.parametrize(
    ("name", "message"), [("nothing", "no rejected table"), ("player_events", "names 2 rejected tables")]
)
def test_an_unknown_table_is_one_sentence(name: str, message: str) -> None:
    import data_platform.definitions  # noqa: F401

    with pytest.raises(PlatformError, match=message):
        rejected.rejected_table(name)
