"""A process to be killed: says `ready`, then reads the section that the variable SECTION holds as JSON until nothing
more is there. With KILL_AT it kills itself at a call of a function (kill_points). Not imported by tests."""

from __future__ import annotations

import datetime as dt
import faulthandler
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from data_platform.core import durable
from data_platform.core.errors import PlatformError
from data_platform.sources.connectors import Section
from data_platform.sources.rest import client, streams
from data_platform_tests.support.homes import Home
from data_platform_tests.support.kill_points import arm
from data_platform_tests.support.rest_reading import ways

KILL_POINTS: dict[str, tuple[Any, str]] = {
    "answer": (client.ApiClient, "_once"),
    "segment": (streams, "write_segment"),
    "rename": (Path, "rename"),
    "sync": (durable, "sync_one"),
}

if __name__ == "__main__":
    client.FIRST_WAIT, client.LONGEST_WAIT = 0.01, 0.05
    if os.environ.get("KILL_AT"):
        arm(KILL_POINTS, os.environ["KILL_AT"])
    faulthandler.dump_traceback_later(100, exit=True)
    options = json.loads(os.environ["SECTION"])
    options["start"] = dt.date.fromisoformat(options["start"])
    connector = Section("rest", "shop", options).connect(ways(Home(Path(os.environ["DATA_PLATFORM_HOME"]))))
    print("ready", flush=True)
    while True:
        try:
            if not connector.advance(threading.Event()):
                break
        except PlatformError:
            time.sleep(0.05)
