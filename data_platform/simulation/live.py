"""A pretend game that sends its events as they happen, through the SDK, as a real one would.
Not here: what happens in the game (the domains' parts), files (writer)."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from data_platform.core.scratch import scratch_folder
from data_platform.sdk import Client
from data_platform.simulation.run import simulate
from data_platform.simulation.scenario import Scenario

EVENTS = "player_events"
DEVICE_LAG = 2.0
"""Most seconds between what a device says and what the server saw."""


def known_scenario(landing: Path) -> Scenario | None:
    """The simulation that a landing root holds: its players are known to the platform."""
    truth = landing / "truth.json"
    return Scenario.of(truth) if truth.exists() else None


def wait_for(url: str, seconds: float) -> bool:
    """Whether a collector answers there within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/healthz", timeout=5):
                return True
        except (OSError, ValueError):
            time.sleep(0.2)
    return False


def play(
    client: Client,
    scenario: Scenario,
    events_per_second: float,
    stop: threading.Event,
    sent: Callable[[int], None] = lambda _events: None,
    most_events: int | None = None,
) -> int:
    """Track what happens in the game, evenly spaced, until `stop` is set or so many events are tracked; how many."""
    began, done = time.monotonic(), 0
    for event in _happening(scenario):
        if stop.is_set() or done == most_events:
            break
        stop.wait(began + done / events_per_second - time.monotonic())
        moment = dt.datetime.now(dt.UTC)
        client.track(
            event["event_type"],
            event["player_id"],
            event.get("event_data"),
            session_id=event.get("session_id"),
            campaign_id=event.get("campaign_id"),
            device=event.get("device_info"),
            timestamp=moment,
            client_timestamp=moment - dt.timedelta(seconds=random.uniform(0, DEVICE_LAG)),
        )
        done += 1
        sent(done)
    return done


def _happening(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """The events of one pretend day after another, in order, each day with dice of its own."""
    for day in count():
        with scratch_folder("data-platform-live-") as folder:
            simulate(scenario.players, 1, scenario.seed + day, dt.date.fromisoformat(scenario.start), folder)
            for file in sorted((folder / EVENTS).glob("*.gz")):
                with gzip.open(file, "rt", encoding="utf-8") as lines:
                    yield from map(json.loads, lines)
