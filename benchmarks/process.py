"""A task in a process of its own, timed from start to exit, with the peak memory of its process tree.
Not here: what the tasks do (`tasks.py`)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE_SECONDS = 0.05
NOT_HANDED_ON = ("DATA_PLATFORM_", "DAGSTER_", "PYTHONDONTWRITEBYTECODE")
"""Beginnings of variables that measured processes do not inherit. The last keeps Python from keeping what it compiled:
each start would compile 570 modules of ours, 0.3 s that nobody else pays twice."""

Follow = Callable[[str, int, int], None]
"""Called with (what is being done, parts done, parts in all)."""


class TaskFailed(RuntimeError):
    """A measured process did not succeed; the message holds what it said."""


@dataclass(frozen=True)
class Measured:
    """One run of a task."""

    seconds: float
    processor_seconds: float
    """Of all cores; what tells a slow program from a busy machine."""
    peak_bytes: int
    result: Any


def run_task(task: str, arguments: Mapping[str, Any], home: Path, first_day: str, follow: Follow) -> Measured:
    """Run a function of `tasks.py` in a fresh process on a platform home."""
    command = [sys.executable, "-m", "benchmarks.tasks", task, json.dumps(arguments)]
    return measure(command, {"DATA_PLATFORM_HOME": str(home), "DATA_PLATFORM_FIRST_DAY": first_day}, follow)


def measure(command: Sequence[str], environment: Mapping[str, str], follow: Follow | None = None) -> Measured:
    """Run a command that may print JSON lines: {"progress": [told, done, total]} and, once, {"result": ...}.

    Whatever else it prints is not looked at.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_HANDED_ON)}
    result: Any = None
    with tempfile.TemporaryFile("w+") as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=PROJECT, env=inherited | dict(environment), stdout=subprocess.PIPE, stderr=errors, text=True
        )
        memory = _MemoryWatch(process.pid)
        memory.start()
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line) if line.startswith('{"') else {}
            if "progress" in message and follow:
                follow(*message["progress"])
            result = message.get("result", result)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
        memory.finished.set()
        memory.join()
        if process.returncode:
            errors.seek(0)
            raise TaskFailed(f"{' '.join(command[2:])} ended with {process.returncode}:\n{errors.read()[-4000:]}")
    return Measured(seconds, used.ru_utime + used.ru_stime, memory.peak, result)


class _MemoryWatch(threading.Thread):
    """Samples the resident memory of a process and its descendants. The kernel's own high-water mark of the process
    itself is read along, so that a peak between two samples is not missed."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak = 0
        self.finished = threading.Event()

    def run(self) -> None:
        while not self.finished.wait(SAMPLE_SECONDS):
            now = sum(_resident(pid, "VmRSS") for pid in _tree(self.pid))
            self.peak = max(self.peak, now, _resident(self.pid, "VmHWM"))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        # Processes end while they are looked at.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                found += map(int, _text(Path(f"/proc/{parent}/task/{thread}/children")).split())
    return found


def _resident(pid: int, field: str) -> int:
    for line in _text(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    """Processes end while they are looked at."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
