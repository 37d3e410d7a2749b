"""Reading a stream of Kafka again from an offset or a time. Belongs here: beginning its next generation. Not here:
reading (a worker goes there at its next look)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.sources.connectors import Ways, known_source, require_library
from data_platform.sources.kafka.options import name_of, options_of
from data_platform.sources.positions import held, positions
from data_platform.sources.segments import write_segment

REPLAY = "replay"
"""Of a name that no partition has: two people do not begin one generation at two offsets."""


@dataclass(frozen=True)
class Begun:
    """A stream that is read again: its generation `generation` begins at `offset`; before it stood at `stood`."""

    stream: str
    generation: int
    offset: int
    stood: int


def replay(
    title: str, options: Mapping[str, Any], ways: Ways, topic: str, partition: int | None, begin: int | dt.datetime
) -> list[Begun]:
    """Have a partition read again from an offset or a time on, or (from a time) all partitions of a topic.

    Lines arrive once more: tables that know a row by its id keep it once. Raises PlatformError for what is not read,
    and for an offset that is not there.
    """
    found = options_of(title, options)
    if topic not in found.topics:
        hint = f"{did_you_mean(topic, found.topics)}It reads {', '.join(sorted(found.topics))}."
        raise PlatformError(f"[{title}] does not read the topic {topic}.", hint)
    require_library("confluent_kafka", "kafka")
    from data_platform.sources.kafka.client import Client
    from data_platform.sources.kafka.partitions import stream_of

    folder = ways.folder(known_source(title, found.topic(topic).source, ways.sources).name)
    client = Client(found)
    try:
        with held(folder, f"{stream_of(name_of(title), topic)}{REPLAY}") as mine:
            if not mine:
                raise PlatformError(f"Somebody else has {topic} read again just now.", "Wait for that to end.")
            standing = positions(ways.lake, folder)
            begun = []
            for number in client.partitions(topic) if partition is None else [partition]:
                stream = stream_of(name_of(title), topic, number)
                if stream not in standing:
                    raise PlatformError(f"Nothing of {stream} was read yet.", "`start` says where it is begun.")
                offset = _offset(client, stream, topic, number, begin)
                begun.append(Begun(stream, standing[stream].generation + 1, offset, standing[stream].end))
            for one in begun:
                write_segment(folder, one.stream, one.offset, one.offset, b"", generation=one.generation)
            return begun
    finally:
        client.close()


def _offset(client: Any, stream: str, topic: str, partition: int, begin: int | dt.datetime) -> int:
    low, high = client.bounds(topic, partition)
    if isinstance(begin, dt.datetime):
        moment = begin if begin.tzinfo else begin.replace(tzinfo=dt.UTC)
        return int(client.offset_at(topic, partition, int(moment.timestamp() * 1000)))
    if not low <= begin <= high:
        raise PlatformError(f"{stream} holds offsets {low} to {high}: {begin} is not there.", "Name one of these.")
    return begin
