"""A process to be killed: publishes the test's orders from LAKE to URL, and kills itself (SIGKILL) at KILL_AT,
`name:before|after:n`: just before or after the n-th call of a function in KILL_POINTS. Not imported by tests."""

from __future__ import annotations

import os
from typing import Any

from data_platform.bi import publishing, summaries
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import Lake
from data_platform_tests.support.kill_points import arm
from data_platform_tests.support.published_lake import Orders

KILL_POINTS: dict[str, tuple[Any, str]] = {
    "read": (Snapshot, "scan"),
    "load": (publishing, "load"),
    "record": (publishing, "_record"),
    "lock": (publishing, "stop_readers_for_a_moment"),
    "committed": (publishing, "_analyze"),
    "refresh": (summaries, "_refresh"),
}

if __name__ == "__main__":
    arm(KILL_POINTS, os.environ["KILL_AT"])
    publishing.publish(Lake(os.environ["LAKE"]), os.environ["URL"], [Orders])
