"""What the platform writes is for its owner alone, whoever started it and by whatever library. Not here: the doors of
the servers (test_feature_api_access, test_health_access)."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_platform.core.private_files import warn_if_others_may_read, write_for_owner_alone
from data_platform.features.api.access import Access
from data_platform.observability.alerts.delivery import read_routes
from data_platform_tests.support.homes import Home, event, line

PERMISSIVE = 0o022


@pytest.fixture(autouse=True)
def permissive() -> Iterator[None]:
    """What a shell starts with."""
    before = os.umask(PERMISSIVE)
    yield
    os.umask(before)


def command(home: Home, *arguments: str) -> None:
    started = [sys.executable, "-m", "data_platform_tests.support.command", *arguments]
    done = subprocess.run(started, env=home.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def open_to_others(root: Path) -> list[str]:
    return [
        f"{stat.S_IMODE(path.lstat().st_mode):04o} {path}"
        for path in (root, *root.rglob("*"))
        if stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]


def test_a_home_its_lake_and_an_export_are_for_their_owner_alone(home: Home, tmp_path: Path) -> None:
    command(home, "simulate", "--players", "5", "--days", "2", "--start", "2024-01-01", "--to", str(home.landing))
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    (home.landing / "player_events" / "late.ndjson").write_text(f"{line(event_id='late')}\nbroken\n")  # game servers'
    command(home, "build", "clean")
    command(home, "table", "raw/player_events", "--out", str(tmp_path / "export.csv"))
    found = open_to_others(home.path) + open_to_others(tmp_path / "export.csv")
    assert [path for path in found if not path.endswith("late.ndjson")] == []
    assert any(home.path.rglob("*.db"))
    assert any((home.path / "lake").rglob("*.parquet"))


def test_a_process_of_dagster_writes_for_its_owner_alone(home: Home) -> None:
    made = home.path / "made"
    for loaded in (
        "import data_platform.definitions",
        "from data_platform.core.instance.dagster_home import open_instance; open_instance().dispose()",
    ):
        program = f"{loaded}\nimport pathlib, sys; pathlib.Path(sys.argv[1]).mkdir(parents=True)"
        subprocess.run([sys.executable, "-c", program, str(made)], env=home.environment(), check=True)
        assert open_to_others(home.path) == []
        made.rmdir()


def test_a_stricter_mask_stays() -> None:
    os.umask(0o277)
    write_for_owner_alone()
    assert os.umask(PERMISSIVE) == 0o277


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640])
def test_a_file_of_secrets_that_others_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    caplog.set_level(logging.WARNING)
    warn_if_others_may_read.cache_clear()
    routes, tokens = tmp_path / "alerts.toml", tmp_path / "tokens.toml"
    routes.write_text("route = []\n")
    tokens.write_text("")
    for file in (routes, tokens):
        file.chmod(mode)
    for _ in range(2):
        read_routes(routes)
        Access(tokens, open_here=False)
    warned = [record.getMessage() for record in caplog.records if "may be read by others" in record.getMessage()]
    assert len(warned) == (2 if mode != 0o600 else 0)
    assert all("chmod 600" in one for one in warned)


def test_an_event_dropped_by_a_group_is_taken_in(home: Home) -> None:
    """The documented opening: a folder with setgid whose files the group may read."""
    folder = home.landing / "player_events"
    folder.mkdir(parents=True)
    folder.chmod(0o2770)
    home.drop("a.ndjson", [event()]).chmod(0o640)
    home.ingest()
    assert not list(folder.glob("*.ndjson"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2770, "what was opened stays so"
