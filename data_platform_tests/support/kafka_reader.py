"""Readers to be killed: each reads one topic of Kafka into a home and takes in what lands, until it dies.

    python -m data_platform_tests.support.kafka_reader BOOTSTRAP TOPIC

imports everything once (that takes seconds) and then forks: `start [POINT]` on its input makes a reader and says its
number, `wait NUMBER` says how that ended. A POINT is `name:before|after:n`, a call of KILL_POINTS. Not imported by
tests, and nothing of Polars or Kafka may run here before a fork: their threads would be missing in the child."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources import landing, segments
from data_platform.sources.connectors import Ways
from data_platform.sources.ingestion import ingest_waiting
from data_platform.sources.kafka import partitions, reader
from data_platform.sources.kafka.connector import connect
from data_platform_tests.support.kill_points import arm

KILL_POINTS: dict[str, tuple[Any, str]] = {
    "write": (segments, "closing_frame"),
    "fsync": (os, "fsync"),
    "rename": (Path, "rename"),
    "segment": (reader, "write_segment"),
    "plan": (landing, "write_durably"),
    "commit": (Lake, "commit"),
    "finish": (landing.Landing, "finish"),
}


def read(bootstrap: str, topic: str, point: str | None) -> None:
    lake = Lake(str(settings().home / "lake"))
    into = Ways(lake, settings().landing, {PLAYER_EVENTS.name: PLAYER_EVENTS})
    options = {"bootstrap": bootstrap, "topics": {topic: PLAYER_EVENTS.name}, "gather_seconds": 0.1}
    reader.LOOK_SECONDS = 0.3
    partitions.Share.mine = lambda self, count: set(range(count))  # type: ignore[method-assign]  # all want everything
    if point:
        arm(KILL_POINTS, point)
    connector = connect("kafka.test", options, into)
    while True:
        connector.advance(threading.Event())
        ingest_waiting([PLAYER_EVENTS], lake, settings().landing)


def serve(bootstrap: str, topic: str) -> None:
    print("ready", flush=True)
    for request in sys.stdin:
        word, *said = request.split()
        if word == "wait":
            print(os.waitpid(int(said[0]), 0)[1], flush=True)
            continue
        number = os.fork()
        if number == 0:
            try:
                read(bootstrap, topic, said[0] if said else None)
            finally:  # an error of its own is no death that was asked for
                traceback.print_exc()
                os._exit(1)
        print(number, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
