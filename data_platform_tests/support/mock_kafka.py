"""The mock cluster inside librdkafka, for errors that no broker can be asked for: its functions, by ctypes, because the
Python client does not have them. Not here: brokers (brokers)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka
from confluent_kafka import Producer

FETCH, LIST_OFFSETS, METADATA = 1, 2, 3
"""Kinds of requests."""
PRODUCER = 0


@dataclass
class MockCluster:
    """One broker, in this process."""

    bootstrap: str
    _library: ctypes.CDLL
    _cluster: ctypes.c_void_p

    def topic(self, name: str, partitions: int = 1) -> str:
        self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        return name

    def send(self, topic: str, values: list[str]) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for value in values:
            producer.produce(topic, value, partition=0)
        assert producer.flush(20) == 0

    def answer_wrongly(self, request: int, *codes: int) -> None:
        """The next requests of this kind are answered with these errors, in order."""
        errors = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(codes)), errors
        )

    def down(self) -> None:
        self._library.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def up(self) -> None:
        self._library.rd_kafka_mock_broker_set_up(self._cluster, 1)


@contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    library = _library()
    error = ctypes.create_string_buffer(512)
    conf = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(ctypes.c_void_p(conf), b"log_level", b"0", error, ctypes.c_size_t(512))
    client = ctypes.c_void_p(library.rd_kafka_new(PRODUCER, ctypes.c_void_p(conf), error, ctypes.c_size_t(512)))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
    bootstrap = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    try:
        yield MockCluster(bootstrap, library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)


def _library() -> ctypes.CDLL:
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library
