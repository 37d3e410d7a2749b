"""Fixtures of tests of Kafka: one broker for all of them, and a reader of a topic into the home. Not here: brokers
(support)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from data_platform.core.discovery import landing_sources
from data_platform.sources.connectors import Connector, StreamState, Ways
from data_platform.sources.kafka.connector import connect
from data_platform_tests.support.brokers import Broker, cluster
from data_platform_tests.support.homes import Home


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with cluster(tmp_path_factory.mktemp("broker")) as running:
        yield running


def ways_of(home: Home) -> Ways:
    return Ways(home.lake, home.landing, {source.name: source for source in landing_sources()})


@dataclass
class Readers:
    """Makes connectors of a home, and closes them."""

    home: Home
    bootstrap: str
    _open: list[Connector] = field(default_factory=list)

    def read(self, *topics: str, turns: int = 40, **options: Any) -> list[StreamState]:
        """Read all there is, as a run does, and close; where the streams stood then."""
        connector = self.open(*topics, **options)
        drain(connector, turns)
        states = list(connector.states())
        self.close(connector)
        return states

    def open(self, *topics: str, **options: Any) -> Connector:
        given = {"bootstrap": self.bootstrap, "topics": dict.fromkeys(topics, "player_events"), "gather_seconds": 0.2}
        connector = connect("kafka.test", given | options, ways_of(self.home))
        self._open.append(connector)
        return connector

    def close(self, connector: Connector) -> None:
        self._open.remove(connector)
        connector.close()

    def close_all(self) -> None:
        while self._open:
            self._open.pop().close()


def drain(connector: Connector, turns: int = 40) -> None:
    """Read until nothing more is there."""
    for _ in range(turns):
        if not connector.advance(threading.Event()):
            return
    raise AssertionError(f"more to read after {turns} turns")


@pytest.fixture
def readers(home: Home, broker: Broker) -> Iterator[Readers]:
    made = Readers(home, broker.bootstrap)
    yield made
    made.close_all()


@pytest.fixture
def stream(broker: Broker) -> Callable[[str, int], str]:
    return lambda topic, partition=0: f"kafka:test/{topic}/{partition}"
