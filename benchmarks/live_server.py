"""A live page on a real server; a producer of segments and a crowd of viewers in another process.
Not here: goals (live)."""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEGMENT_SECONDS = 0.05
"""Twenty segments a second, as a collector with a few busy writers makes them; some are put away at once."""
EVENTS = re.compile(r"<dt>Events, each once</dt><dd>([\d,]+)</dd>")


def measure(rate: int, seconds: int, viewers: int, tell: Callable[[str, int, int], None]) -> dict[str, Any]:
    """p50 and p95 in ms from the rename of a segment to a viewer's having read a message that counts it, over all
    segments and two viewers; and the share of a processor that the server took."""
    from data_platform.core.discovery import know_contracts, live_views
    from data_platform.core.lake.store import Lake
    from data_platform.core.settings import settings
    from data_platform.observability.health.facts import Collector
    from data_platform.web.app import application
    from data_platform.web.connections import web_server
    from data_platform.web.listening import be_quick
    from data_platform.web.live.pages import LivePages

    know_contracts()
    lake, landing = Lake(settings().lake_root), settings().landing
    app = application(Collector(lake, [], every=3600), None, live=LivePages(live_views(), landing, lake))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        server = web_server(app)
        serving = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        serving.start()
        be_quick()
        asked = [str(landing), listening.getsockname()[1], rate, seconds, viewers]
        command = [sys.executable, "-m", "benchmarks.live_server", json.dumps(asked)]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        begun, busy = time.monotonic(), time.process_time()
        while load.poll() is None:
            tell("seconds", int(time.monotonic() - begun), seconds)
            time.sleep(1)
        busy = (time.process_time() - busy) / (time.monotonic() - begun)
        server.should_exit = True
        serving.join(60)
        if load.returncode or load.stdout is None:
            raise SystemExit("the load failed")
        return {"busy": busy, **json.loads(load.stdout.read())}


# ------------------------------------------------------------------------------------------------ the other process
def load(landing: Path, port: int, rate: int, seconds: int, viewers: int) -> dict[str, float]:
    """Latencies in ms of all segments, seen by the first and the last of the viewers; the others read and forget."""
    from websockets.sync.client import connect

    written: list[tuple[int, float]] = []
    seen: list[list[tuple[int, float]]] = [[], []]
    done = threading.Event()
    address = f"ws://127.0.0.1:{port}/live/player_events/socket"

    def read(number: int) -> None:
        keeps = {0: seen[0], viewers - 1: seen[1]}.get(number)
        with connect(address, compression=None, max_size=None) as viewer:
            while not done.is_set():
                message = str(viewer.recv())
                if keeps is not None and (found := EVENTS.search(message)):
                    keeps.append((int(found[1].replace(",", "")), time.time()))

    threads = [threading.Thread(target=read, args=[number], daemon=True) for number in range(viewers)]
    for thread in threads:
        thread.start()
    time.sleep(3)  # all watch
    _produce(landing / "player_events", rate, seconds, written)
    until = time.time() + 30
    while time.time() < until and not all(kept and kept[-1][0] >= written[-1][0] for kept in seen):
        time.sleep(0.05)
    done.set()
    for thread in threads:
        thread.join(10)
    waits = [_wait(kept, count, at) for kept in seen for count, at in written]
    return {"p50": float(np.percentile(waits, 50)), "p95": float(np.percentile(waits, 95))}


def _produce(folder: Path, rate: int, seconds: int, written: list[tuple[int, float]]) -> None:
    """Segments by the clock, whatever the server does; notes how many events are out after each, and when."""
    from data_platform.sources.segments import write_segment

    count, begun = int(rate * SEGMENT_SECONDS), time.time()
    for number in range(int(seconds / SEGMENT_SECONDS)):
        due = begun + number * SEGMENT_SECONDS
        time.sleep(max(0.0, due - time.time()))
        begin = number * count
        path = write_segment(folder, "http:1", begin, begin + count, _lines(begin, count))
        written.append((begin + count, time.time()))
        if number % 10 == 0:  # what ingestion does with it, now and then before anybody looked
            away = folder / "_ingested"
            away.mkdir(exist_ok=True)
            path.rename(away / f"{number:08d}-0123456789ab-{path.name}")


def _lines(begin: int, count: int) -> bytes:
    now = dt.datetime.now(dt.UTC).isoformat()
    lines = (
        f'{{"event_id":"event-{n}","player_id":"player-{n * 7919 % 20_000}","campaign_id":"campaign-{n % 300}",'
        f'"event_type":"combat_start","event_data":{{"enemy":"wolf","turn":{n % 50}}},"session_id":"s-{n % 30_000}",'
        f'"timestamp":"{now}","device_info":{{"os":"linux"}}}}\n'
        for n in range(begin, begin + count)
    )
    return "".join(lines).encode()


def _wait(seen: list[tuple[int, float]], count: int, written: float) -> float:
    """Milliseconds until a message counted that many events; a minute for one that never came."""
    return next((1000 * (at - written) for events, at in seen if events >= count), 60_000.0)


if __name__ == "__main__":
    landing, *others = json.loads(sys.argv[1])
    print(json.dumps(load(Path(landing), *others)))
