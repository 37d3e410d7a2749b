"""A collector that is killed at random moments under load, with ingestion beside it: what was acknowledged is in raw,
what is in raw was sent, and positions are contiguous. Not here: kills at each call (test_journal)."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from data_platform.core.contract.received import IngestionLedger
from data_platform.sources.positions import discontinuities
from data_platform_tests.support.collectors import JSON, Process, named
from data_platform_tests.support.homes import Home

CLIENTS, BATCH = 4, 5


class Producers:
    """Clients that post new events, and those again that they got no answer for, until they are stopped."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}/v1/events"
        self.posted: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._post, args=(number,), daemon=True) for number in range(CLIENTS)]

    @contextlib.contextmanager
    def posting(self) -> Iterator[None]:
        for thread in self.threads:
            thread.start()
        yield
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def _post(self, producer: int) -> None:
        number = 0
        with httpx.Client(timeout=5) as client:
            while not self.stopped.is_set():
                ids = [f"p{producer}-{number + each}" for each in range(BATCH)]
                number += BATCH
                body = json.dumps(named(*ids))
                while not self._acknowledged(client, ids, body):
                    time.sleep(0.02)

    def _acknowledged(self, client: httpx.Client, ids: list[str], body: str) -> bool:
        self.posted.update(ids)
        try:
            answer = client.post(self.url, content=body, headers=JSON)
        except httpx.HTTPError:
            return False
        if answer.status_code == 202:
            self.acknowledged.update(ids)
        return answer.status_code == 202


def killed_again_and_again(home: Home, kills: int) -> None:
    chosen = random.Random(kills)
    running = Process(home)
    producers = Producers(running.port)
    with producers.posting():
        for kill in range(kills):
            time.sleep(chosen.uniform(0.05, 0.8))
            running.kill()
            if kill % 2:
                home.ingest()
            running = Process(home, producers.port)
        time.sleep(0.5)
    assert running.stop() == 0
    home.ingest()
    stored = Counter(home.raw()["event_id"].to_list())
    assert len(producers.acknowledged) > kills * BATCH, "there was load"
    assert producers.acknowledged <= stored.keys(), "nothing acknowledged is lost"
    assert stored.keys() <= producers.posted.keys()
    assert all(count <= producers.posted[one] for one, count in stored.items()), "and nothing stored twice by itself"
    assert home.rejected().is_empty()
    assert discontinuities(home.lake.scan(IngestionLedger)).collect().is_empty()
    assert home.ledger()["end_position"].max() == stored.total()


def test_a_collector_killed_under_load_loses_nothing_it_acknowledged(home: Home) -> None:
    killed_again_and_again(home, 6)


@pytest.mark.soak
def test_fifty_kills_under_load(home: Home) -> None:
    killed_again_and_again(home, 50)
