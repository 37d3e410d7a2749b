"""A process beside maintenance: writes days of a table, or reads it, until a file appears. Not imported by tests.

`writer`: appends one event after the other to the day of PlayerSessions and replaces another day; prints how many it
wrote. `reader`: opens the table and reads it a moment later; prints how often, and fails when a row is missing."""

from __future__ import annotations

import datetime as dt
import sys
import time
from pathlib import Path

from data_platform.core.lake.store import Lake
from data_platform.domains.gameplay.contracts.activity import PlayerSessions
from data_platform_tests.support.health_home import day_of_sessions

APPENDED, REPLACED = dt.date(2024, 1, 3), dt.date(2024, 1, 4)


def write(lake: Lake, until: Path) -> int:
    written = 0
    while not until.exists():
        lake.append(PlayerSessions, day_of_sessions(APPENDED, 1))
        lake.replace(PlayerSessions, day_of_sessions(REPLACED, 1 + written % 3), [REPLACED])
        written += 1
    return written


def read(lake: Lake, until: Path) -> int:
    looks, seen = 0, 0
    while not until.exists():
        opened = lake.snapshot(PlayerSessions)
        known = int(opened.files["num_records"].sum())
        time.sleep(0.05)  # meanwhile files are merged, and those that were replaced long ago are deleted
        rows = opened.scan().collect()
        assert len(rows) == known, (len(rows), known)
        appended = len(rows.filter(rows["session_date"] == APPENDED))
        assert appended >= seen, (appended, seen)
        looks, seen = looks + 1, appended
    return looks


if __name__ == "__main__":
    role, root, until = sys.argv[1:]
    done = {"writer": write, "reader": read}[role](Lake(root), Path(until))
    print(done, flush=True)
