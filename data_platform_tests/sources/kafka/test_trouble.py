"""What a cluster loses, forgets or answers wrongly is told and never skipped; a reader goes on by itself when it can.
Not here: readers that are killed (test_kills)."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_platform.cli import command_line
from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings
from data_platform.sources.connectors import Connector
from data_platform.sources.kafka import client as kafka_client
from data_platform.sources.kafka import reader as reading
from data_platform.sources.positions import Position, discontinuities
from data_platform_tests.sources.kafka.conftest import Readers, drain
from data_platform_tests.sources.kafka.test_reading import JANUARY, events, ids, numbers, standing
from data_platform_tests.support.brokers import Broker, noida, tansu
from data_platform_tests.support.homes import Home
from data_platform_tests.support.http_server import free_port
from data_platform_tests.support.mock_kafka import FETCH, METADATA, MockCluster, mock_cluster


def gaps(home: Home) -> list[tuple[int, int]]:
    return discontinuities(home.ledger().lazy()).select("expected", "missing").collect().rows()


def read_until(connector: Connector, position: int, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while sum(one.position for one in connector.states()) < position or not connector.states():
        connector.advance(threading.Event())
        assert time.monotonic() < until, connector.states()


# ----------------------------------------------------------------------- what is gone is told
def test_what_retention_took_before_it_was_read_is_a_gap_and_told(
    home: Home, broker: Broker, readers: Readers, caplog: pytest.LogCaptureFixture
) -> None:
    topic = broker.topic()
    broker.send(topic, events(0, 3))
    readers.read(topic)
    broker.send(topic, events(3, 10))
    broker.forget_before(topic, 7)
    with caplog.at_level(logging.ERROR):
        readers.read(topic)
    assert "offsets 3 to 7 are gone before they were read (retention): 4 are missing" in caplog.text
    home.ingest()
    assert ids(home) == numbers(0, 3) + numbers(7, 10)
    assert gaps(home) == [(3, 4)]
    broker.send(topic, events(10, 11))
    readers.read(topic)
    home.ingest()
    assert gaps(home) == [(3, 4)], "told once"


def test_a_reader_that_is_overtaken_by_retention_tells_it_and_goes_on(
    home: Home, broker: Broker, readers: Readers
) -> None:
    topic = broker.topic()
    broker.send(topic, events(0, 3))
    connector = readers.open(topic)
    drain(connector)
    broker.send(topic, events(3, 10))
    broker.forget_before(topic, 7)
    connector._client.read_from([])  # type: ignore[attr-defined]  # as if it had been busy elsewhere
    connector._astray.add((topic, 0))  # type: ignore[attr-defined]
    read_until(connector, 10)
    home.ingest()
    assert ids(home) == numbers(0, 3) + numbers(7, 10)
    assert gaps(home) == [(3, 4)]


def test_a_topic_that_is_made_again_is_a_new_generation(
    home: Home, broker: Broker, readers: Readers, caplog: pytest.LogCaptureFixture
) -> None:
    """Seen by its offsets alone: this broker does not number topics."""
    topic = broker.topic()
    broker.send(topic, events(0, 5))
    readers.read(topic)
    broker.delete_topic(topic)
    broker.topic(name=topic)
    broker.send(topic, events(5, 8))
    with caplog.at_level(logging.ERROR):
        readers.read(topic)
    assert "generation 1 begins at offset 0" in caplog.text
    home.ingest()
    assert ids(home) == numbers(0, 8)
    assert standing(home) == {f"kafka:test/{topic}/0": Position(1, 3)}
    assert gaps(home) == []


@pytest.fixture
def numbering(tmp_path: Path) -> Iterator[Broker]:
    """A broker that numbers topics. Its watermarks are right while every message is a batch of its own."""
    with tansu(tmp_path / "tansu") as running:
        yield running


@pytest.mark.parametrize("running", [False, True], ids=["between two readers", "while it is read"])
def test_a_topic_that_is_made_again_is_known_by_its_id_where_offsets_would_fit(
    home: Home, numbering: Broker, running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0.1)
    readers = Readers(home, numbering.bootstrap)
    topic = numbering.topic()
    numbering.send(topic, events(0, 3), singly=True)
    connector = readers.open(topic)
    drain(connector)
    if running:
        # librdkafka 2.16.1 ends in a segmentation fault when this broker answers a fetch from a topic that is gone.
        connector._client.read_from([])  # type: ignore[attr-defined]
        time.sleep(1)
    else:
        readers.close(connector)
    numbering.delete_topic(topic)
    numbering.topic(name=topic)
    numbering.send(topic, events(3, 9), singly=True)
    if not running:
        connector = readers.open(topic)
    until = time.monotonic() + 30
    while standing(home)[f"kafka:test/{topic}/0"] != Position(1, 6):
        connector.advance(threading.Event())
        assert time.monotonic() < until, standing(home)
    readers.close_all()
    home.ingest()
    assert set(numbers(0, 9)) <= set(ids(home)), "nothing of the new topic is skipped"
    assert running or ids(home) == numbers(0, 9)
    assert gaps(home) == []


def test_a_topic_that_is_not_there_is_told_and_read_once_it_is(home: Home, broker: Broker, readers: Readers) -> None:
    there, missing = broker.topic(), f"later-{time.time_ns()}"
    with pytest.raises(PlatformError, match="has none of the topics"):
        readers.read(missing)
    broker.send(there, events(0, 2))
    readers.read(there, missing)
    broker.topic(name=missing)
    broker.send(missing, events(2, 4))
    readers.read(there, missing)
    home.ingest()
    assert ids(home) == numbers(0, 4)


# --------------------------------------------------------------------- a cluster that is away
def test_a_broker_that_is_gone_is_told_and_read_again_when_it_is_back(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_client, "ANSWER_SECONDS", 2.0)
    port, folder = free_port(), tmp_path / "broker"
    with noida(folder, port) as broker:
        readers = Readers(home, broker.bootstrap)
        topic = broker.topic()
        broker.send(topic, events(0, 5))
        connector = readers.open(topic)
        drain(connector)
    with pytest.raises(PlatformError, match=r"Kafka at 127.0.0.1:\d+ cannot be read: .*down") as told:
        read_until(connector, 6)
    assert "Nothing is lost" in told.value.remedy
    readers.close(connector)
    with pytest.raises(PlatformError, match="cannot be read"):
        readers.read(topic)
    with noida(folder, port) as broker:
        broker.send(topic, events(5, 8))
        readers.read(topic)
    home.ingest()
    assert ids(home) == numbers(0, 8)
    assert gaps(home) == []


def test_a_broker_that_restarts_at_once_is_no_trouble(home: Home, tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "broker"
    with noida(folder, port) as broker:
        readers = Readers(home, broker.bootstrap)
        topic = broker.topic()
        broker.send(topic, events(0, 5))
        connector = readers.open(topic)
        drain(connector)
    with noida(folder, port) as broker:
        broker.send(topic, events(5, 8))
        read_until(connector, 8)
        readers.close(connector)
    home.ingest()
    assert ids(home) == numbers(0, 8)


def test_a_disk_that_is_full_is_told_and_loses_nothing(
    home: Home, broker: Broker, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = broker.topic(2)
    for partition in range(2):
        broker.send(topic, events(partition * 5, partition * 5 + 5), partition)
    connector = readers.open(topic)
    with monkeypatch.context() as full:

        def no_space(file: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            drain(connector)
    readers.close(connector)
    readers.read(topic)
    home.ingest()
    assert ids(home) == numbers(0, 10)
    assert gaps(home) == []


# ------------------------------------------------------------------------------ wrong answers
@pytest.fixture
def mock() -> Iterator[MockCluster]:
    with mock_cluster() as running:
        yield running


MENDED = [1, 3, 7]
"""Out of range, unknown partition, timed out."""


def test_answers_that_pass_lose_nothing_and_repeat_nothing(
    home: Home, mock: MockCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_client, "ID_SECONDS", 0.1)  # it never answers that question
    readers = Readers(home, mock.bootstrap)
    topic = mock.topic("t")
    mock.send(topic, events(0, 10))
    connector = readers.open(topic, client={"fetch.error.backoff.ms": 20, "retry.backoff.ms": 20})
    for number, code in enumerate(MENDED, start=1):
        mock.answer_wrongly(FETCH, code, code)
        mock.answer_wrongly(METADATA, 5)
        mock.send(topic, events(number * 10, number * 10 + 10))
        read_until(connector, number * 10 + 10)
    readers.close(connector)
    home.ingest()
    assert ids(home) == numbers(0, 10 * len(MENDED) + 10)
    assert gaps(home) == []


def test_a_topic_that_may_not_be_read_is_told(home: Home, mock: MockCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "ID_SECONDS", 0.1)
    readers = Readers(home, mock.bootstrap)
    topic = mock.topic("t")
    mock.send(topic, events(0, 5))
    mock.answer_wrongly(FETCH, *[29] * 20)
    with pytest.raises(PlatformError, match="authorization failed"):
        readers.read(topic)
    readers.close_all()


# ------------------------------------------------------------------------------ reading again
def test_a_stream_is_read_again_from_an_offset_or_a_time_while_it_is_read(
    home: Home, broker: Broker, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0.1)
    topic = broker.topic()
    for hour in range(4):
        broker.send(topic, events(hour, hour + 1), timestamp=JANUARY + hour * 3_600_000)
    connector = readers.open(topic)
    drain(connector)
    stream = f"kafka:test/{topic}/0"
    reported = replay(home, broker, topic, f"{stream} --since 2")
    assert "again from offset 2 on, as generation 1; it stood at 4" in reported
    broker.send(topic, events(4, 5))
    until = time.monotonic() + 20
    while standing(home)[stream] != Position(1, 5):
        connector.advance(threading.Event())
        assert time.monotonic() < until
    readers.close(connector)
    home.ingest()
    assert sorted(ids(home)) == sorted(numbers(0, 5) + numbers(2, 4))
    told = replay(home, broker, topic, f"kafka:test/{topic} --since 2024-01-03T12:30")
    assert "again from offset 3 on, as generation 2" in told
    readers.read(topic)
    assert standing(home)[stream] == Position(2, 5)
    home.ingest()
    assert gaps(home) == []


def replay(home: Home, broker: Broker, topic: str, arguments: str) -> str:
    file = home.path / "sources.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'[kafka.test]\nbootstrap = "{broker.bootstrap}"\ntopics = {{ "{topic}" = "player_events" }}\n')
    file.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_PLATFORM_SOURCES", str(file))
        settings.cache_clear()
        result = CliRunner().invoke(command_line(), ["streams", "replay", *arguments.split()])
    settings.cache_clear()
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("stream", "begin", "told"),
    [
        ("kafka:test/{topic}/0", "99", "holds offsets 0 to 2: 99 is not there"),
        ("kafka:test/{topic}/0", "soon", "neither an offset nor a time"),
        ("kafka:test/{topic}", "0", "means something in one partition alone"),
        ("kafka:test/other/0", "0", "does not read the topic other"),
        ("kafka:shop/{topic}/0", "0", r"\[kafka.shop\] is not configured"),
        ("postgres:test/1", "0", "is no stream of Kafka"),
    ],
)
def test_what_cannot_be_read_again_is_told(
    home: Home, broker: Broker, readers: Readers, stream: str, begin: str, told: str
) -> None:
    topic = broker.topic()
    broker.send(topic, events(0, 2))
    readers.read(topic)
    with pytest.raises(PlatformError, match=told):
        replay(home, broker, topic, f"{stream.format(topic=topic)} --since {begin}")


def test_a_stream_that_was_never_read_is_not_read_again(home: Home, broker: Broker) -> None:
    topic = broker.topic()
    with pytest.raises(PlatformError, match=r"Nothing of kafka:test/.*/0 was read yet"):
        replay(home, broker, topic, f"kafka:test/{topic}/0 --since 0")
