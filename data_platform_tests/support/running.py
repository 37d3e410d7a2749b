"""A running Dagster: `dagster dev` at the root of the project on a temporary home, asked through GraphQL.
Not here: any assertion about the platform."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psutil

from data_platform.core.contract.table import Table
from data_platform.core.settings import PROJECT_ROOT
from data_platform_tests.support.homes import Home
from data_platform_tests.support.http_server import free_port

ROOT = PROJECT_ROOT
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")
"""What a person's shell has anyway; nothing of ours and nothing of Dagster's."""
STOP_SECONDS = 60
T = TypeVar("T")


def wait_for(what: str, found: Callable[[], T | None], seconds: float, every: float = 0.5) -> T:
    """The first result that is neither None nor False. Raises AssertionError after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        result = found()
        if result is not None and result is not False:
            return result
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


@dataclass
class RunningDagster:
    """`dagster dev`: web server, daemon and code server."""

    home: Home
    process: subprocess.Popen[bytes]
    url: str
    log_file: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL answer. Raises AssertionError when the server reports errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert not answer.get("errors"), answer["errors"]
        return dict(answer["data"])

    def is_up(self) -> bool:
        """The code location is loaded."""
        assert self.process.poll() is None, f"dagster dev ended: {self.log()[-3000:]}"
        try:
            return bool(self.ask("{ assetNodes { id } }")["assetNodes"])
        except OSError:
            return False

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def complaints(self) -> list[str]:
        """Lines of the log that would worry a person."""
        return [line for line in self.log().splitlines() if any(sign in line for sign in SIGNS_OF_TROUBLE)]

    @contextlib.contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The instance that the running Dagster uses."""
        from data_platform.core.instance.dagster_home import open_instance

        with self.home.used(), open_instance() as instance:
            yield instance

    def stop(self) -> None:
        """As Ctrl-C in a terminal would."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_SECONDS)


SIGNS_OF_TROUBLE = ("ERROR", "CRITICAL", "Traceback", "Exception", "RUN_FAILURE - ", "STEP_FAILURE - ")


@contextlib.contextmanager
def dagster_dev(home: Home, **environment: str) -> Iterator[RunningDagster]:
    """Started and ready; whatever is left of it is killed at the end."""
    port = free_port()
    home.path.mkdir(parents=True, exist_ok=True)
    log_file = home.path / "dagster_dev.log"
    given = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dagster")), "dev", "--port", str(port)],
            cwd=ROOT,
            env=given | {"DATA_PLATFORM_HOME": str(home.path)} | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A test run in a shell's background ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    running = RunningDagster(home, process, f"http://127.0.0.1:{port}", log_file)
    try:
        wait_for("dagster dev is up", running.is_up, 120)
        yield running
    finally:
        if process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.stop()
        for left in processes_of(home):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()


def processes_of(home: Home) -> list[psutil.Process]:
    """Living processes that were started with this home."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("DATA_PLATFORM_HOME") == str(home.path) and process.pid != os.getpid()
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def written_days(instance: dg.DagsterInstance, table: type[Table], after: int = 0) -> Counter[str | None]:
    """How often each partition was materialised after the event with this storage id."""
    key = dg.AssetKey(table.key.split("/"))
    records = instance.fetch_materializations(dg.AssetRecordsFilter(key, after_storage_id=after), limit=10_000).records
    return Counter(record.partition_key for record in records)


def today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
