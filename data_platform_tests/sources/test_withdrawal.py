"""A file taken out again: every table is as if it had never landed, exactly once, whatever is killed when.
Not here: what a replay moves (test_replay)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.errors import PlatformError
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents, RawPlayerEventsRejected
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.operations import withdrawal
from data_platform.sources.ingestion import landing_of
from data_platform.sources.ingestion_checks import BALANCE
from data_platform_tests.support import SUPPORT
from data_platform_tests.support.homes import Home, event, kill, line

HELPER = str(SUPPORT.joinpath("kill_helper.py"))
GOOD = [event(event_id=f"good-{n}", timestamp=f"2024-01-0{n}T10:00:00Z") for n in (3, 4)]
WRONG = [line(event_id=f"wrong-{n}", timestamp=f"2024-01-0{n}T11:00:00Z") for n in (4, 5)] + ["broken"]


def withdraw(home: Home, name: str) -> int:
    """Files withdrawn."""
    from data_platform.definitions import defs

    entries = withdrawal.files_named(home.lake, name)
    entries = entries.filter(entries["withdrawn_lines"].is_null())
    if len(entries):
        landing = landing_of(PLAYER_EVENTS, home.lake, home.landing)
        built = withdrawal.withdraw(defs, home.instance, landing, entries)
        assert not built.failures, built.failures
    return len(entries)


def received(home: Home) -> dict[str, list[dict[str, Any]]]:
    volatile = ("received_at", "received_date", "batch")
    tables = (RawPlayerEvents, RawPlayerEventsRejected)
    return {t.key: sorted(home.rows(t).drop(volatile, strict=False).to_dicts(), key=repr) for t in tables}


@pytest.fixture
def right(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """The tables of a home where the wrong file never landed."""
    home = Home(tmp_path / "right")
    with home.used():
        home.drop("good.ndjson", GOOD)
        home.ingest()
    return received(home)


def landed(home: Home) -> None:
    for name, lines in (("good.ndjson", GOOD), ("wrong.ndjson", WRONG)):
        home.drop(name, lines)
        home.ingest()


@pytest.mark.parametrize("name", ["wrong.ndjson", "player_events/wrong.ndjson", "player_events/2"])
def test_a_withdrawn_file_leaves_no_row_and_is_reported_in_the_ledger(home: Home, right: Any, name: str) -> None:
    landed(home)
    assert withdraw(home, name) == 1
    assert received(home) == right
    entry = home.ledger().filter(source_file="wrong.ndjson").row(0, named=True)
    counts = ("received_lines", "stored_lines", "rejected_lines", "withdrawn_lines")
    assert [entry[count] for count in counts] == [3, 0, 0, 3]
    assert entry["withdrawn_at"] is not None
    assert home.verdicts(IngestionLedger, BALANCE)[None].passed
    version = home.lake.version(RawPlayerEvents)
    assert withdraw(home, name) == 0, "a second time there is nothing to do"
    assert home.lake.version(RawPlayerEvents) == version
    folder = home.landing / "player_events"
    assert [path.name.split("-")[2] for path in (folder / "_withdrawn").iterdir()] == ["wrong.ndjson"]
    assert [path.name.split("-")[2] for path in (folder / "_ingested").iterdir()] == ["good.ndjson"]


def test_exactly_what_depends_on_it_is_computed_again(home: Home) -> None:
    from data_platform.domains.gameplay.contracts.events import PlayerEvents

    for name, lines in (("good.ndjson", GOOD), ("wrong.ndjson", WRONG)):
        home.drop(name, lines)
        home.build(["clean/player_events"])
    before = home.files(PlayerEvents)
    withdraw(home, "wrong.ndjson")
    home.build(["clean/player_events"])
    after = home.files(PlayerEvents)
    assert sorted(home.rows(PlayerEvents)["event_id"]) == ["good-3", "good-4"]
    assert after["2024-01-03"] == before["2024-01-03"]
    assert after["2024-01-04"] != before["2024-01-04"]


def test_the_same_file_may_land_again_afterwards(home: Home) -> None:
    landed(home)
    before = received(home)
    withdraw(home, "wrong.ndjson")
    home.drop("wrong.ndjson", WRONG)
    home.ingest()
    assert received(home) == before
    assert home.ledger().select(IngestionLedger.primary_key).is_unique().all()
    assert withdraw(home, "wrong.ndjson") == 1, "the one that stands"


def test_nothing_is_withdrawn_by_a_name_that_several_files_have(home: Home) -> None:
    for number in (1, 2):
        home.drop("a.ndjson", [event(event_id=str(number))])
        home.ingest()
    with pytest.raises(PlatformError, match="player_events/2, player_events/1"):
        withdrawal.files_named(home.lake, "a.ndjson")
    with pytest.raises(PlatformError, match="No file or batch"):
        withdrawal.files_named(home.lake, "b.ndjson")
    withdraw(home, "player_events/1")
    assert home.raw()["event_id"].to_list() == ["2"]


def test_killed_at_every_step_it_happens_once(home: Home, right: Any) -> None:
    landed(home)
    for point in ("plan:after:2", "commit:after:1", "commit:after:1", "commit:after:1", "report:after:1"):
        command = "withdraw wrong.ndjson" if point.startswith("plan") else "build"
        arguments = [] if point.startswith("plan") else ["raw/player_events"]
        process = home.start(HELPER, *arguments, KILL_AT=point, RUN=command)
        try:
            output, _ = process.communicate(timeout=100)
        finally:
            kill(process)
        assert process.returncode == -signal.SIGKILL, f"{point} was never reached: {output}"
    home.build_on_disk()
    assert received(home) == right
    assert home.ledger()["withdrawn_lines"].to_list() == [None, 3]
