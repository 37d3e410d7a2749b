"""`data-platform build`: what it says, and what is wrong with what was asked of it.
Not here: what a build computes (operations/test_pipeline)."""

from __future__ import annotations

import pytest

from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform_tests.support.command_line import Run, assert_one_paragraph
from data_platform_tests.support.homes import Home, all_tables, line
from data_platform_tests.support.transforms import broken, computed_otherwise


def test_build_without_anything_to_do(home: Home, run: Run) -> None:
    output = run("build", "--json")
    assert output.code == 0
    assert {name: output.json[name] for name in ("runs", "partitions", "failures")} == {
        "runs": 0, "partitions": 0, "failures": [],
    }  # fmt: skip
    assert "up to date" in run("build").out


@pytest.mark.parametrize("days", [(), ("--from", "2024-01-01")])
def test_what_the_clock_asks_for_is_not_called_up_to_date(home: Home, run: Run, days: tuple[str, ...]) -> None:
    output = run("build", "features/churn_training_set", *days)
    assert output.code == 1
    assert "features/churn_training_set is not built when an input changes" in output.err
    assert "Materialise it on its page in Dagster" in output.err


def test_build_of_a_selection_and_of_days(home: Home, run: Run) -> None:
    home.drop("a.ndjson", [line(event_id=f"e-{n}", timestamp=f"2024-01-0{n}T10:00:00Z") for n in range(1, 6)])
    output = run("build", "clean/player_events")
    assert output.code == 0
    assert "partitions written by 2 Dagster runs" in output.out
    assert not home.lake.exists(next(t for t in all_tables() if t.table_name() == "player_sessions"))
    before = home.files(PlayerEvents)
    output = run("build", "clean/player_events", "--from", "2024-01-02", "--to", "2024-01-03")
    assert output.code == 0
    assert {day for day, files in home.files(PlayerEvents).items() if files != before[day]} == {
        "2024-01-02", "2024-01-03",
    }  # fmt: skip


def test_build_of_something_unknown(home: Home, run: Run) -> None:
    assert_one_paragraph(run("build", "player_evnts"), "no table or group called 'player_evnts'", "gameplay")
    assert_one_paragraph(run("build", "clean", "--from", "2031-01-01"), "no days from 2031-01-01", "FIRST_DAY")


def test_a_build_that_fails_says_why(home: Home, run: Run) -> None:
    from data_platform.domains.gameplay.transforms import sessions

    home.drop("a.ndjson", [line()])
    with computed_otherwise(sessions.session_days, broken):
        output = run("build", "player_session_days")
        as_json = run("build", "player_session_days", "--json")
    assert_one_paragraph(output, "Not everything was built: gameplay/player_session_days:", "ValueError: broken")
    assert as_json.code == 1
    assert "ValueError: broken" in as_json.json["failures"][0]
    assert home.rows(PlayerEvents)["event_id"].to_list() == ["e-1"], "what came before is published"


def test_a_file_that_is_still_written_to_is_reported_by_build(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_platform.operations import build

    home.drop("a.ndjson", [line(event_id="1")])
    written = home.landing / "player_events" / "a.ndjson"
    monkeypatch.setattr(build, "wait_for_writers", lambda *_: written.touch())  # it would be over by then
    output = run("build", "clean/players")
    assert output.code == 0
    assert "1 file waits in landing that somebody still writes to" in " ".join(output.out.split())
    assert "No file waits" not in output.out
