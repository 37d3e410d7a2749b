"""A file of the lake that was cut or deleted behind our back: it is named, with the remedy, and the remedy works.
Not here: damaged files in landing (test_ingestion)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data_platform.core.contract.table import Table
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform_tests.support.homes import Home, event

DAY = "2024-01-03"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:200])


def spoil_the_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4:80] = bytes(76)
    file.write_bytes(content)


def live_file(home: Home, table: type[Table], day: str) -> Path:
    (path,) = [path for path in home.lake.snapshot(table).paths() if f"={day}/" in path]
    return Path(home.lake.uri(table)) / path


def look(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "data_platform_tests.support.command", "table", PlayerEvents.key, *arguments]
    return subprocess.run(command, env=home.environment(COLUMNS="250"), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("damage", [cut, spoil_the_middle, Path.unlink])
def test_a_damaged_file_is_named_by_whoever_reads_it_and_computing_its_day_again_repairs_it(
    home: Home, damage: Callable[[Path], None]
) -> None:
    home.drop("a.ndjson", [event(event_id=str(number), timestamp=f"{DAY}T10:00:{number}Z") for number in range(10, 40)])
    home.drop("b.ndjson", [event(event_id="other", timestamp="2024-01-05T10:00:00Z")])
    home.build(["features"])
    before = home.rows(PlayerEvents).sort("event_id")
    damaged = live_file(home, PlayerEvents, DAY)
    damage(damaged)

    shown = look(home, "--from", DAY, "--to", DAY)
    assert shown.returncode != 0
    message = " ".join(shown.stderr.split())
    assert damaged.name in message.replace(" ", "")
    assert "Traceback" not in message
    assert f"data-platform build clean/player_events --from {DAY} --to {DAY}" in message
    elsewhere = look(home, "--from", "2024-01-05")
    assert elsewhere.returncode == 0, "other days are read as ever"

    home.drop("late.ndjson", [event(event_id="late", timestamp=f"{DAY}T23:00:00Z")])
    home.build(["clean/player_events"])
    assert len(home.rows(PlayerEvents)) == len(before) + 1


def test_a_step_whose_input_is_damaged_names_the_file(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    home.build(["clean/player_events"])
    damaged = live_file(home, PlayerEvents, DAY)
    cut(damaged)
    with pytest.raises(AssertionError, match=damaged.name):
        home.build([PlayerDailyActivity.key])


def test_a_damaged_day_of_a_table_that_keeps_its_history_can_be_computed_again(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    home.build(["features"])
    before = home.rows(PlayerChurnFeatures)
    day = str(before["snapshot_date"].min())
    cut(live_file(home, PlayerChurnFeatures, day))
    home.build([PlayerChurnFeatures.key], first=before["snapshot_date"].min(), last=before["snapshot_date"].min())
    assert home.rows(PlayerChurnFeatures).sort("snapshot_date").equals(before.sort("snapshot_date"))
