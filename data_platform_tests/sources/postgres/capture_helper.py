"""Processes to be killed, each of which captures a shop, look after look. They are forked from this one, so that what
takes seconds, importing, is done once. Not here: what is asserted of them.

Arguments: the options as JSON. Each line of input starts one: `name:before|after:n` makes it kill itself at that call
of a function, an empty line lets it run until it is killed. Output: its process id, then how it ended."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from data_platform.core.discovery import landing_sources
from data_platform.core.lake.store import configured_lake
from data_platform.core.settings import settings
from data_platform.sources.connectors import Ways
from data_platform.sources.postgres import changes, database, replication, table_stream
from data_platform.sources.postgres.connector import connect
from data_platform_tests.support.captured_shop import TITLE
from data_platform_tests.support.kill_points import arm

POINTS = {
    "peek": (database.Database, "peek"),
    "change": (changes.Changes, "take"),
    "write": (table_stream.SegmentFile, "settle"),
    "land": (table_stream.SegmentFile, "land"),
    "fsync": (os, "fsync"),
    "rename": (Path, "replace"),
    "advance": (database.Database, "advance_slot"),
    "mark": (table_stream.TableStream, "begin_generation"),
    "drop": (database.Database, "drop_slot"),
    "create": (database.Database, "create_slot"),
    "snapshot": (database.Database, "begin_snapshot"),
}
PATIENCE = 120.0
"""Seconds after which one that was to kill itself ends, for the test to fail."""


def main() -> None:
    sources = {source.name: source for source in landing_sources()}
    # Without its threads, which no fork has, Polars waits for ever: seen when a contract checked a pattern on import.
    threads = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    print("forks would hang: Polars has begun to work" if "polars-0" in threads else "ready", flush=True)
    for point in map(str.strip, sys.stdin):
        child = os.fork()
        if not child:
            capture(point, sources)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def capture(point: str, sources: dict[str, object]) -> None:
    if point:
        arm(POINTS, point)
    replication.PIECE_BYTES = 1
    connector = connect(TITLE, json.loads(sys.argv[1]), Ways(configured_lake(), settings().landing, sources))  # type: ignore[arg-type]
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if not connector.advance(threading.Event()):
            time.sleep(0.02)
    os._exit(0)


if __name__ == "__main__":
    main()
