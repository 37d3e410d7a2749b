"""What the platform writes is for its owner alone, whoever started it and by whatever library. Not here: the doors of
the servers (test_feature_api_access, test_health_access)."""

from __future__ import annotations

import logging
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_platform.core.private_files import ACCESS_LIST, close_home, warn_if_others_may_read, write_for_owner_alone
from data_platform.core.settings import settings
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


@pytest.fixture
def old_home(home: Home) -> Home:
    """As a version without the mask left it."""
    for folder in ("landing/player_events", "lake/raw", "dagster/storage"):
        (home.path / folder).mkdir(parents=True)
    (home.path / ".env").write_text("DATA_PLATFORM_SERVED_SAMPLE=0\n")
    assert len(open_to_others(home.path)) == 8
    return home


def test_a_home_that_an_older_version_left_open_is_closed_at_the_next_start_and_that_is_reported_once(
    old_home: Home,
) -> None:
    starts = []
    for _ in range(2):
        started = [sys.executable, "-m", "data_platform_tests.support.command", "status"]
        starts.append(subprocess.run(started, env=old_home.environment(), capture_output=True, text=True, check=True))
    assert [one.stderr.count("is for its owner alone now") for one in starts] == [1, 0]
    assert "(home, landing, lake, dagster, .env)" in starts[0].stderr
    for path in (old_home.path, *settings().parts):
        assert not path.exists() or not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_what_was_opened_on_purpose_stays_open(old_home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    close_home(old_home.path, settings().parts)
    for path in (old_home.path, old_home.landing):
        path.chmod(0o710)
    lake = old_home.path / "lake"
    lake.chmod(0o750)
    # Owner rwx, user 1 by name r-x, group nothing, mask r-x, others nothing.
    entries = [(1, 7, 2**32 - 1), (2, 5, 1), (4, 0, 2**32 - 1), (16, 5, 2**32 - 1), (32, 0, 2**32 - 1)]
    named = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(lake, ACCESS_LIST, named)
    caplog.clear()
    close_home(old_home.path, settings().parts)
    assert caplog.messages == []
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old_home.path, old_home.landing)] == [0o710, 0o710]
    assert os.getxattr(lake, ACCESS_LIST) == named


def test_a_folder_that_is_no_home_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "somewhere" / "documents").mkdir(parents=True)
    close_home(tmp_path / "somewhere", [tmp_path / "somewhere" / "lake"])
    assert stat.S_IMODE((tmp_path / "somewhere").stat().st_mode) == 0o755


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
