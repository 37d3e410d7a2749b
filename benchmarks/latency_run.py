"""A running Dagster and a worker over a month of a small game, asked for one event after the other.
Not here: goals (latency)."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from data_platform.core.discovery import know_contracts
from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents, RawPlayerEvents
from data_platform.sources.segments import write_segment
from data_platform_tests.support.homes import Home
from data_platform_tests.support.running import RunningDagster, dagster_dev, wait_for

LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 300
QUIET_SECONDS = 5
"""Between two events: a person's, not a load test."""
TABLES = (RawPlayerEvents, PlayerEvents, PlayerDailyActivity, PlayerChurnFeatures)


def measure(events: int, players: int, days: int, tell: Callable[[int, int], object]) -> dict[str, Any]:
    """Seconds from the segment to the row, by table; the machine's load before."""
    know_contracts()
    # A game of the last days, whose first one `demo` notes in the home.
    os.environ.pop("DATA_PLATFORM_FIRST_DAY", None)
    home = settings().home
    command = str(Path(sys.executable).with_name("data-platform"))
    load = os.getloadavg()[0]
    subprocess.run([command, "demo", "--players", str(players), "--days", str(days)], check=True, capture_output=True)
    lake, at = Lake(str(home / "lake")), Home(home)
    seconds: dict[str, list[float]] = {table.key: [] for table in TABLES}
    with subprocess.Popen([command, "worker"], stdout=subprocess.DEVNULL) as worker:
        try:
            with dagster_dev(at) as running:
                for number in range(events + 1):
                    _wait_until_idle(running)
                    found = _one_event(lake, at.landing / "player_events", number)
                    tell(number, events + 1)
                    # The first pays for what every process reads once.
                    if number:
                        for key, waited in found.items():
                            seconds[key].append(waited)
        finally:
            worker.terminate()
    return {"seconds": seconds, "load": load}


def _one_event(lake: Lake, folder: Path, number: int) -> dict[str, float]:
    player, now = f"latency-{number}", dt.datetime.now(dt.UTC)
    event = {"event_id": player, "player_id": player, "event_type": "combat_start", "event_data": {}, "session_id": "s"}
    write_segment(
        folder, "latency", number, number + 1, json.dumps(event | {"timestamp": now.isoformat()}).encode() + b"\n"
    )
    started, found = time.perf_counter(), dict[str, float]()
    while len(found) < len(TABLES):
        for table in TABLES:
            if table.key not in found and _knows(lake, table, player, now.date()):
                found[table.key] = time.perf_counter() - started
        if time.perf_counter() - started > PATIENCE_SECONDS:
            raise SystemExit(f"after {PATIENCE_SECONDS} s the event is in {', '.join(found) or 'no table'} alone")
        time.sleep(LOOK_SECONDS)
    return found


def _knows(lake: Lake, table: Any, player: str, day: dt.date) -> bool:
    rows = lake.scan(table, day, day).filter(pl.col("player_id") == player)
    return bool(rows.select(pl.len()).collect().item())


def _wait_until_idle(running: RunningDagster) -> None:
    """Nothing runs or waits for QUIET_SECONDS: else an event pays for the one before it."""
    asked = "{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}) { ... on Runs { count } } }"
    quiet_since = time.monotonic()

    def idle() -> bool:
        nonlocal quiet_since
        if running.ask(asked)["runsOrError"]["count"]:
            quiet_since = time.monotonic()
        return time.monotonic() - quiet_since > QUIET_SECONDS

    wait_for("Dagster is idle", idle, PATIENCE_SECONDS)
