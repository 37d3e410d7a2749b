"""A process to be killed: imports everything, says `ready`, then runs `data-platform build ARGUMENTS...` (or the
command in RUN, for example `rejected replay`).

With KILL_AT=`name:before|after:n` it kills itself (SIGKILL) just before or after the n-th call of a function, named by
KILL_POINTS. Not imported by tests."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

import data_platform.definitions  # noqa: F401
from data_platform import cli
from data_platform.core.lake.store import Lake
from data_platform.sources import ingestion, landing
from data_platform_tests.support.kill_points import arm

KILL_POINTS: dict[str, tuple[Any, str]] = {
    "plan": (landing, "write_durably"),
    "stage": (Lake, "stage"),
    "commit": (Lake, "commit"),
    "report": (ingestion, "record_batch"),
    "finish": (landing.Landing, "finish"),
    "rename": (Path, "rename"),
    "unlink": (Path, "unlink"),
    "event": (DagsterInstance, "handle_new_event"),
}


if __name__ == "__main__":
    if os.environ.get("KILL_AT"):
        arm(KILL_POINTS, os.environ["KILL_AT"])
    faulthandler.dump_traceback_later(150, exit=True)  # should it hang, say where instead of waiting for ever
    print("ready", flush=True)
    sys.argv = ["data-platform", *os.environ.get("RUN", "build").split(), *sys.argv[1:]]
    cli.main()
