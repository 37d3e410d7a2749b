"""A command that is asked to stop, by real signals to a real process: it ends soon, says so, and the next one goes on.
Not here: what a killed process leaves (test_kill)."""

from __future__ import annotations

import datetime as dt
import signal
import time

import pytest

from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform_tests.support.homes import Home, event
from data_platform_tests.support.running import wait_for

FIRST, DAYS = dt.date(2024, 1, 1), 40


def filled(home: Home) -> None:
    home.drop(
        "a.ndjson",
        [
            event(event_id=f"{day}-{n}", player_id=f"p-{n}", timestamp=f"{FIRST + dt.timedelta(day)}T10:00:00Z")
            for day in range(DAYS)
            for n in range(20)
        ],
    )


def is_building(home: Home) -> bool:
    return any((home.path / "lake" / "clean").glob("*/event_date=*"))


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_that_is_stopped_says_so_and_the_next_one_does_the_rest(
    home: Home, stop: signal.Signals, code: int
) -> None:
    filled(home)
    process = home.start("-m", "data_platform_tests.support.command", "build")
    wait_for("the build", lambda: is_building(home), 120, every=0.05)
    process.send_signal(stop)
    asked = time.monotonic()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == code, printed
    assert time.monotonic() - asked < 20
    assert "Stopped; run again for the rest." in printed
    assert "Traceback" not in printed
    assert "Not everything was built" not in printed, "it did not fail"
    home.build_on_disk()
    assert len(home.rows(PlayerEvents)) == DAYS * 20


def test_a_second_signal_stops_at_once(home: Home) -> None:
    filled(home)
    process = home.start("-m", "data_platform_tests.support.command", "build")
    wait_for("the build", lambda: is_building(home), 120, every=0.05)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert time.monotonic() - asked < 3
