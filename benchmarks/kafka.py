"""A topic of Kafka into the raw table: messages a second, as a worker reads and takes in. Not here: Apache's broker,
which no package index has; tansu, out of a wheel, serves from memory."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.process import Follow
from benchmarks.table import Row

PLAYERS, DAYS = 172_000, 1
"""A million events of one day: a stream is of today."""
PARTITIONS = 6
EVENTS_PER_SECOND = 60_000


def kafka(bench: Bench) -> Iterator[Row]:
    from data_platform_tests.support.brokers import tansu

    simulated = bench.simulated(bench.scaled(PLAYERS), DAYS)
    files = sorted((simulated.root / "player_events").glob("*.gz"))
    with tansu(bench.fresh_folder()) as broker:
        topic = broker.topic(PARTITIONS)
        with bench.following("fill a topic") as follow:
            sent = fill(broker.bootstrap, topic, files, simulated.events, follow)
        title = f"Kafka → raw, {sent:,} events in {PARTITIONS} partitions"
        measured = bench.run(
            title, "kafka_to_raw", bench.fresh_home(), bootstrap=broker.bootstrap, topic=topic, events=sent
        )
    done = measured.result
    rate = sent / done["seconds"]
    yield Row(
        f"{title}: events a second",
        f"{rate:,.0f}",
        goal=f"≥ {EVENTS_PER_SECOND:,}",
        met=rate >= EVENTS_PER_SECOND,
    )
    yield Row(f"{title}: … into segments alone", f"{sent / done['read_seconds']:,.0f}")
    used = done["processor_seconds"]
    yield Row(f"{title}: … in a second of a processor", f"{sent / used:,.0f}")


def fill(bootstrap: str, topic: str, files: list[Path], events: int, follow: Follow) -> int:
    """Send the lines of the files in turn to the partitions; how many."""
    from confluent_kafka import Producer

    settings = {"linger.ms": 20, "batch.size": 1_000_000, "compression.type": "lz4", "log_level": 0}
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 500_000, **settings})
    sent = 0
    for path in files:
        with gzip.open(path) as lines:
            for line in lines:
                while len(producer) > 400_000:
                    producer.poll(0.05)
                producer.produce(topic, line[:-1], partition=sent // 1000 % PARTITIONS)
                sent += 1
                if sent % 50_000 == 0:
                    follow("", sent, events)
    if producer.flush(120):
        raise RuntimeError("the broker did not take everything")
    return sent


def read_and_take_in(bootstrap: str, topic: str, events: int, follow: Follow) -> dict[str, Any]:
    """What a worker does, a thread for the topic and one for landing, until every event is in the table."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.core.settings import settings
    from data_platform.domains.gameplay.sources import PLAYER_EVENTS
    from data_platform.sources.connectors import Ways
    from data_platform.sources.ingestion import ingest_waiting
    from data_platform.sources.kafka.connector import connect

    lake, landing = configured_lake(), settings().landing
    options = {"bootstrap": bootstrap, "topics": {topic: PLAYER_EVENTS.name}}
    connector = connect("kafka.bench", options, Ways(lake, landing, {PLAYER_EVENTS.name: PLAYER_EVENTS}))
    read_seconds = list[float]()
    begun, used = time.perf_counter(), time.process_time()

    def read() -> None:
        while sum(one.position for one in connector.states()) < events:
            connector.advance(threading.Event())
        read_seconds.append(time.perf_counter() - begun)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    stored = 0
    while stored < events:
        stored += sum(result.stored for result in ingest_waiting([PLAYER_EVENTS], lake, landing))
        follow("", stored, events)
    seconds, processor_seconds = time.perf_counter() - begun, time.process_time() - used
    reading.join()
    connector.close()
    return {"seconds": seconds, "read_seconds": read_seconds[0], "processor_seconds": processor_seconds}
