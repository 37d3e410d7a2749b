"""Which settings hold: the environment, the checkout's, then what was kept for the home.
Not here: what settings mean."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_platform.core.errors import PlatformError
from data_platform.core.settings import home_settings, settings


def checkout_says(checkout: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    (checkout / ".env").write_text(lines)
    monkeypatch.setattr("data_platform.core.settings.PROJECT_ROOT", checkout)
    monkeypatch.setattr("data_platform.core.settings.CHECKOUT_SETTINGS", checkout / ".env")


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


def test_the_checkout_and_the_environment_count_more(
    somewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout_says(tmp_path, monkeypatch, "DATA_PLATFORM_FIRST_DAY=2026-04-01\n")
    assert (settings().first_day, settings().slice_rows) == (dt.date(2026, 4, 1), 7)
    settings.cache_clear()
    monkeypatch.setenv("DATA_PLATFORM_FIRST_DAY", "2026-05-01")
    assert settings().first_day == dt.date(2026, 5, 1)


def test_one_home_wherever_one_stands(somewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in the checkout's `.env` counts from the checkout; a `.env` of the folder one stands in is another's."""
    monkeypatch.delenv("DATA_PLATFORM_HOME")
    checkout_says(tmp_path, monkeypatch, "DATA_PLATFORM_HOME=home\nDATA_PLATFORM_ALERTS=alerts.toml\n")
    (somewhere / ".env").write_text("DATA_PLATFORM_HOME=elsewhere\n")
    found = settings()
    assert (found.home, found.alerts, found.slice_rows) == (tmp_path / "home", tmp_path / "alerts.toml", 7)


def test_a_path_of_the_shell_counts_from_where_the_shell_stands(
    somewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_PLATFORM_HOME", "here")
    monkeypatch.setenv("DATA_PLATFORM_API_TOKENS", "tokens.toml")
    assert (settings().home, settings().api_tokens) == (somewhere / "here", somewhere / "tokens.toml")


@pytest.mark.parametrize("door", ["shell", "home"])
@pytest.mark.parametrize(("name", "meant"), [("HMOE", "HOME"), ("LAKEURL", "LAKE_URL"), ("FIRST_DAYS", "FIRST_DAY")])
def test_a_misspelt_variable_is_named(
    somewhere: Path, monkeypatch: pytest.MonkeyPatch, door: str, name: str, meant: str
) -> None:
    if door == "shell":
        monkeypatch.setenv(f"DATA_PLATFORM_{name}", "2026-01-01")
    else:
        with home_settings(somewhere.parent / "home").open("a") as lines:
            lines.write(f"DATA_PLATFORM_{name}=2026-01-01\n")
    with pytest.raises(PlatformError, match=f"no setting DATA_PLATFORM_{name}.* Did you mean DATA_PLATFORM_{meant}"):
        settings()


def test_variables_of_other_tools_are_left_alone(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_PLATFORM_DBT_FROM", "2026-01-01")
    monkeypatch.setenv("DATA_PLATFORM_TEAM_COLOUR", "blue")
    settings()
