"""Replays through Dagster and from the command line: days are computed again, a kill loses nothing.
Not here: what becomes of a line (test_replay)."""

from __future__ import annotations

import datetime as dt
import functools
import json
import signal
from pathlib import Path

import polars as pl
import pytest

from data_platform.cli import command_line
from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import contract
from data_platform.core.errors import PlatformError
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.core.orchestration.checks import asset_key
from data_platform.domains.gameplay.contracts.events import PlayerEvents, RawPlayerEventsRejected
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.operations import rejected
from data_platform.sources.ingestion import landing_of
from data_platform.sources.ingestion_checks import BALANCE
from data_platform.sources.replay import plan_replay
from data_platform_tests.support.homes import FIRST_DAY, Home, event
from data_platform_tests.support.replays import (
    EVERYTHING,
    HELPER,
    TOO_LATE,
    assert_balanced,
    at,
    carry_on,
    landing_with,
    received,
    take_in,
    two_files,
)


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
        command_line()(["rejected", "replay", "raw/player_events"], standalone_mode=False)
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
    for point in ("plan:before:2", "plan:after:3", "commit:after:1", "commit:after:1", "report:after:1"):
        code, output = command(home, "raw/player_events", RUN="rejected replay", KILL_AT=point)
        assert code == -signal.SIGKILL, output
    home.build(["raw"])
    assert received(home) == received(right)
    assert_balanced(home)
    assert home.verdicts(IngestionLedger, BALANCE)[None].passed


def test_show_counts_by_day_and_reason_and_shows_lines_safely(home: Home, capsys: pytest.CaptureFixture[str]) -> None:

    evil = b'{"event_id": "\x1b[31m[bold]red[/bold]\x07"'
    take_in(home, two_files() | {"evil.ndjson": evil}, TOO_LATE)
    command_line()(["rejected", "show", "raw/player_events", "--reason", "invalid_json"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "raw/player_events_rejected: 3 rejected" in shown
    assert "[bold]red[/bold]" in shown
    assert not set(shown) & {"\x1b", "\x07"}
    command_line()(["rejected", "show", "--json"], standalone_mode=False)
    totals = {total["reason"]: total["rows"] for total in json.loads(capsys.readouterr().out)}
    assert totals == dict(home.rejected()["reason"].value_counts().iter_rows())


@pytest.mark.parametrize(
    ("name", "message"), [("nothing", "no rejected table"), ("player_events", "names 2 rejected tables")]
)
def test_an_unknown_table_is_one_sentence(name: str, message: str) -> None:
    import data_platform.definitions  # noqa: F401

    with pytest.raises(PlatformError, match=message):
        rejected.rejected_table(name)
