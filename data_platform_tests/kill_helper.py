"""A process to be killed: imports everything, says `ready`, then runs `data-platform build ARGUMENTS...` (or the
command in RUN, for example `rejected replay`).

With KILL_AT=`name:before|after:n` it kills itself (SIGKILL) just before or after the n-th call of a function, named by
KILL_POINTS. Not imported by tests."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

import data_platform.definitions  # noqa: F401
from data_platform import cli
from data_platform.core.lake import Lake
from data_platform.sources import ingestion, landing

KILL_POINTS: dict[str, tuple[Any, str]] = {
    "plan": (landing, "write_durably"),
    "stage": (Lake, "stage"),
    "publish": (Lake, "publish"),
    "report": (ingestion, "record_batch"),
    "finish": (landing.Landing, "finish"),
    "rename": (Path, "rename"),
    "unlink": (Path, "unlink"),
    "event": (DagsterInstance, "handle_new_event"),
}


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    name, when, number = point.split(":")
    owner, attribute = KILL_POINTS[name]
    original: Callable[..., Any] = getattr(owner, attribute)
    calls = 0

    def armed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls == int(number):
            kill_self()
        result = original(*arguments, **named)
        if when == "after" and calls == int(number):
            kill_self()
        return result

    setattr(owner, attribute, armed)


if __name__ == "__main__":
    if os.environ.get("KILL_AT"):
        arm(os.environ["KILL_AT"])
    faulthandler.dump_traceback_later(150, exit=True)  # should it hang, say where instead of waiting for ever
    print("ready", flush=True)
    sys.argv = ["data-platform", *os.environ.get("RUN", "build").split(), *sys.argv[1:]]
    cli.main()
