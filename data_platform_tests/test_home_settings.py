"""Which settings hold: the environment, the folder one stands in, then what was kept for the home.
Not here: what settings mean."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_platform.core.settings import home_settings, settings


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to stand in, with a home beside it whose own settings begin on 1 March 2026."""
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DATA_PLATFORM_HOME", str(home))
    monkeypatch.delenv("DATA_PLATFORM_FIRST_DAY", raising=False)
    home_settings(home).write_text("DATA_PLATFORM_FIRST_DAY=2026-03-01\nDATA_PLATFORM_SLICE_ROWS=7\n")
    settings.cache_clear()
    yield folder
    settings.cache_clear()


def test_what_was_kept_for_the_home_holds_wherever_one_stands(somewhere: Path) -> None:
    assert (settings().first_day, settings().slice_rows) == (dt.date(2026, 3, 1), 7)


def test_the_folder_and_the_environment_count_more(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (somewhere / ".env").write_text("DATA_PLATFORM_FIRST_DAY=2026-04-01\n")
    assert (settings().first_day, settings().slice_rows) == (dt.date(2026, 4, 1), 7)
    settings.cache_clear()
    monkeypatch.setenv("DATA_PLATFORM_FIRST_DAY", "2026-05-01")
    assert settings().first_day == dt.date(2026, 5, 1)
