"""Readers that are killed at any call, and several at once, leave every message in the tables exactly once.
Not here: killed batches of files (test_ingestion_runs)."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import pytest
from confluent_kafka import Producer

from data_platform.sources.positions import discontinuities
from data_platform_tests.sources.kafka.conftest import Readers
from data_platform_tests.sources.kafka.test_reading import events, ids, numbers
from data_platform_tests.support.brokers import Broker
from data_platform_tests.support.homes import Home, kill
from data_platform_tests.support.running import wait_for

PARTITIONS = 3
POINTS = [
    "write:before:4",
    "fsync:before:7",
    "rename:before:4",
    "rename:after:4",
    "segment:after:4",
    "plan:after:1",
    "commit:after:1",
    "commit:after:3",
    "finish:before:1",
]
"""The first three segments say where partitions begin; each is synced, and its folder. A batch commits to three
tables."""


class Feed:
    """Sends numbered events to all partitions in turn."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._producer = Producer({**broker.settings, "enable.idempotence": True, "linger.ms": 1})
        self._topic = topic
        self.sent = 0

    @contextmanager
    def going_on(self) -> Iterator[None]:
        stop = threading.Event()

        def feed() -> None:
            while not stop.wait(0.002):
                for event in events(self.sent, self.sent + 4):
                    self._producer.produce(self._topic, event, partition=self.sent % PARTITIONS)
                    self.sent += 1
                self._producer.poll(0)

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            assert self._producer.flush(30) == 0


def assert_all_once(home: Home, readers: Readers, topic: str, sent: int) -> None:
    readers.read(topic)
    home.ingest()
    stored = ids(home)
    assert len(stored) == len(set(stored)), "something arrived twice"
    assert stored == numbers(0, sent)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()


class Mortals:
    """Readers in processes of their own (support/kafka_reader)."""

    def __init__(self, home: Home, broker: Broker, topic: str) -> None:
        self._process = home.start("-m", "data_platform_tests.support.kafka_reader", broker.bootstrap, topic)

    def __enter__(self) -> Self:
        assert self._answer() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        kill(self._process)

    def start(self, point: str = "") -> int:
        """A reader's number; it dies at the point."""
        return int(self._ask(f"start {point}"))

    def wait(self, number: int) -> int:
        """The signal that ended it; others than a signal are 256 and more."""
        return int(self._ask(f"wait {number}"))

    def killed(self, number: int) -> bool:
        """Kill it; whether that was what ended it."""
        os.kill(number, signal.SIGKILL)
        return self.wait(number) == signal.SIGKILL

    def _ask(self, request: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        lines = list[str]()
        while line := self._process.stdout.readline():
            lines.append(line)
            if line.strip() == "ready" or line.strip().isdecimal():
                return line.strip()
        raise AssertionError("".join(lines))


def kill_again_and_again(home: Home, broker: Broker, readers: Readers, kills: int, seed: int) -> None:
    """Two readers race for the partitions, each wants all of them, while events come in; one dies at any moment."""
    chance = random.Random(seed)
    topic = broker.topic(PARTITIONS)
    feed = Feed(broker, topic)
    with Mortals(home, broker, topic) as mortals, feed.going_on():
        racing = [mortals.start(), mortals.start()]
        for number in range(kills):
            time.sleep(chance.uniform(0.1, 2.5))
            assert mortals.killed(racing[number % 2])
            racing[number % 2] = mortals.start()
        wait_for("something that was taken in", lambda: len(home.ledger()) > PARTITIONS, 60)
        assert all([mortals.killed(one) for one in racing]), "one had died by itself"
    assert_all_once(home, readers, topic, feed.sent)


def test_a_reader_killed_at_any_call_loses_and_repeats_nothing(home: Home, broker: Broker, readers: Readers) -> None:
    """In one home, three at a time: what each leaves behind is what the next begin with."""
    topic = broker.topic(PARTITIONS)
    feed = Feed(broker, topic)
    with Mortals(home, broker, topic) as mortals, feed.going_on():
        for at in range(0, len(POINTS), 3):
            running = [(point, mortals.start(point)) for point in POINTS[at : at + 3]]
            for point, number in running:
                assert mortals.wait(number) == signal.SIGKILL, point
    assert_all_once(home, readers, topic, feed.sent)


def test_racing_readers_that_are_killed_lose_and_repeat_nothing(home: Home, broker: Broker, readers: Readers) -> None:
    kill_again_and_again(home, broker, readers, 6, seed=1)


@pytest.mark.soak
def test_fifty_kills_lose_and_repeat_nothing(home: Home, broker: Broker, readers: Readers) -> None:
    kill_again_and_again(home, broker, readers, 50, seed=2)
