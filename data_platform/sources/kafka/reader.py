"""Reads the topics of one section into segments. Belongs here: the turns of reading and writing, and what to do when a
partition says something else than messages. Not here: which partitions and from where (partitions), what a message
becomes (lines, debezium)."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, Message, TopicPartition

from data_platform.core.errors import PlatformError
from data_platform.sources.connectors import StreamState, Ways
from data_platform.sources.kafka.client import Client
from data_platform.sources.kafka.debezium import Layout
from data_platform.sources.kafka.lines import Lines, lines_of_envelopes, lines_of_values
from data_platform.sources.kafka.options import KafkaOptions
from data_platform.sources.kafka.partitions import Beginnings, Held, Share, stream_of
from data_platform.sources.positions import Position, held, positions
from data_platform.sources.segments import write_segment

LOOK_SECONDS = 5.0
"""Between two looks for new partitions, other workers, topics that were made anew and streams to be read again."""
AT_A_TIME = 10_000
MOST_MESSAGES, MOST_BYTES = 100_000, 32 << 20
"""Gathered for one turn; a file may unpack to 64 MB before anybody looks at how well it was packed."""

logger = logging.getLogger(__name__)
Place = tuple[str, int]
"""A topic and a partition."""


@dataclass
class Gathered:
    """What came of one partition in one turn."""

    offsets: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    newest: Message | None = None


class KafkaReader:
    """A Connector. Several of them, in any processes, share the partitions; each stream has one writer at a time."""

    idle_seconds = 0.0  # it waits for messages itself

    def __init__(self, name: str, options: KafkaOptions, ways: Ways) -> None:
        self._name, self._options, self._ways = name, options, ways
        self._client = Client(options)
        self._beginnings = Beginnings(options, self._client)
        self._held: dict[Place, Held] = {}
        self._astray: set[Place] = set()
        """Partitions whose offset is to be looked at again."""
        self._problem: PlatformError | None = None
        """Of a partition; told when what the others sent is written."""
        self._looked_at = -LOOK_SECONDS
        self._absent: set[str] = set()
        folders = {ways.folder(options.topic(topic).source) for topic in options.topics}
        self._share = Share(min(folders), name)
        self._layouts = {
            topic: Layout.of(options, topic, ways.sources[options.topic(topic).source])
            for topic in options.topics
            if options.format_of(topic) == "debezium"
        }

    # ------------------------------------------------------------------ the port
    def advance(self, stop: threading.Event) -> bool:
        if self._astray or time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._look()
        gathered, full = self._gather(stop)
        for place, some in gathered.items():
            self._write(self._held[place], some, 0, len(some.offsets), self._held[place].read_to)
        if self._problem:
            raise self._problem
        if self._options.commit_group and gathered:
            self._client.commit([TopicPartition(*place, self._held[place].position) for place in gathered])
        return full or not all(one.at_end for one in self._held.values())

    def states(self) -> Sequence[StreamState]:
        return [
            StreamState(
                one.source,
                one.stream,
                one.position,
                self._client.lag_behind(*place, max(one.position, one.read_to)),
                one.watermark,
            )
            for place, one in sorted(self._held.items())
        ]

    def close(self) -> None:
        for one in self._held.values():
            one.lock.close()
        self._held.clear()
        self._share.close()
        self._client.close()

    # ------------------------------------------------------------------ partitions
    def _look(self) -> None:
        """Take what is this worker's to read, give up what is not, and begin where each stream stands."""
        there = [(topic, number) for topic in sorted(self._options.topics) for number in self._partitions(topic)]
        if not there:
            raise PlatformError(
                f"Kafka at {self._options.bootstrap} has none of the topics {', '.join(sorted(self._options.topics))}.",
                "Make them, or correct `topics`: reading begins as soon as one is there.",
            )
        mine = {there[place] for place in self._share.mine(len(there))}
        given_up = self._held.keys() - mine
        for place in given_up:
            self._held.pop(place).lock.close()
        taken = {place: one for place in sorted(mine - self._held.keys()) if (one := self._take(*place))}
        self._held |= taken
        moved = self._place(taken.keys() | self._astray)
        self._astray.clear()
        self._looked_at = time.monotonic()
        if given_up or moved:
            self._client.read_from([TopicPartition(*place, one.position) for place, one in sorted(self._held.items())])

    def _partitions(self, topic: str) -> list[int]:
        found = self._client.partitions(topic)
        if not found and topic not in self._absent:
            logger.warning("there is no topic %s at %s; it is read when there is", topic, self._options.bootstrap)
            self._absent.add(topic)
        elif found:
            self._absent.discard(topic)
        return found

    def _take(self, topic: str, partition: int) -> Held | None:
        """Hold a partition, unless another worker does who will give it up when he looks."""
        source = self._options.topic(topic).source
        stream, folder = stream_of(self._name, topic, partition), self._ways.folder(source)
        lock = contextlib.ExitStack()
        if lock.enter_context(held(folder, stream)):
            return Held(topic, partition, stream, source, folder, lock)
        lock.close()
        return None

    def _place(self, places: Collection[Place]) -> bool:
        """Find where these partitions begin, and any other that no longer stands where it was read from: whose topic
        was made anew, or whose stream somebody began again. Whether there are any."""
        standing = self._standing()
        ids = {topic: self._client.topic_id(topic) for topic in self._options.topics if topic not in self._absent}
        moved = False
        for place, one in self._held.items():
            known, topic_id = standing.get(one.stream), ids.get(one.topic)
            anew = topic_id != one.topic_id or (known is not None and known.generation != one.generation)
            if place in places or anew:
                one.topic_id = topic_id
                of_topic = any(stream.startswith(stream_of(self._name, one.topic)) for stream in standing)
                self._beginnings.place(one, known, of_topic)
                moved = True
        return moved

    def _standing(self) -> dict[str, Position]:
        """Where every stream stands, by landing and ledger."""
        found: dict[str, Position] = {}
        for name in {self._options.topic(topic).source for topic in self._options.topics}:
            found |= positions(self._ways.lake, self._ways.folder(name))
        return found

    # ------------------------------------------------------------------ messages
    def _gather(self, stop: threading.Event) -> tuple[dict[Place, Gathered], bool]:
        """What comes within a moment, by partition, and whether that was as much as is held at a time."""
        gathered: dict[Place, Gathered] = {}
        until = time.monotonic() + self._options.gather_seconds
        count = size = 0
        while count < MOST_MESSAGES and size < MOST_BYTES and not stop.is_set():
            left = until - time.monotonic()
            if left <= 0:
                return gathered, False
            for message in self._client.messages(AT_A_TIME, left):
                error = message.error()
                if error is not None:
                    self._heard(message, error, gathered)
                    continue
                place = _place_of(message)
                offset: int = message.offset()  # type: ignore[assignment]  # every message has one
                if (one := self._held.get(place)) is None or offset < one.read_to:
                    continue
                one.read_to, one.at_end = offset + 1, False
                some = gathered.get(place) or gathered.setdefault(place, Gathered())
                value = message.value()
                some.offsets.append(offset)
                some.values.append(value)
                if one.topic in self._layouts:
                    some.keys.append(message.key())
                some.newest = message
                count += 1
                size += len(value) if value is not None else 0
        return gathered, True

    def _heard(self, message: Message, error: KafkaError, gathered: dict[Place, Gathered]) -> None:
        """What a partition says instead of a message."""
        place, code = _place_of(message), error.code()
        if code == KafkaError._PARTITION_EOF and place in self._held:
            one, offset = self._held[place], message.offset() or 0
            one.at_end = True
            if offset > one.read_to:  # behind the last message are only marks of transactions
                one.read_to = offset
                gathered.setdefault(place, Gathered())
        elif code == KafkaError._AUTO_OFFSET_RESET or code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._astray.add(place)
        elif code != KafkaError._PARTITION_EOF:
            self._problem = self._problem or self._client.failed(error)

    # ------------------------------------------------------------------ segments
    def _write(self, one: Held, some: Gathered, first: int, last: int, end: int) -> None:
        """Messages `first` to `last` of what was gathered as segments up to the offset `end`. What would not fit into
        what a segment says of itself is halved."""
        lines = self._lines(one.topic, some, first, last)
        if not lines.fits:
            middle = (first + last) // 2
            self._write(one, some, first, middle, some.offsets[middle])
            self._write(one, some, middle, last, end)
            return
        if lines.refused:
            logger.warning(
                "%s: %d messages between offsets %d and %d are refused, the first as %s",
                one.stream, len(lines.refused), one.position, end, lines.refused[0][1],
            )  # fmt: skip
        write_segment(
            one.folder,
            one.stream,
            one.position,
            end,
            lines.text,
            generation=one.generation,
            runs=lines.runs,
            refused=lines.refused,
        )
        one.position = end
        if some.newest is not None and last == len(some.offsets):
            one.watermark = _time_of(some.newest) or one.watermark

    def _lines(self, topic: str, some: Gathered, first: int, last: int) -> Lines:
        offsets, values = some.offsets[first:last], some.values[first:last]
        if (layout := self._layouts.get(topic)) is None:
            return lines_of_values(offsets, values)
        read: Callable[[bytes | None, bytes], bytes | None] = layout.line_of
        return lines_of_envelopes(offsets, some.keys[first:last], values, read)


def _place_of(message: Message) -> Place:
    return message.topic(), message.partition()  # type: ignore[return-value]  # every message has both


def _time_of(message: Message) -> dt.datetime | None:
    """As its producer says it, which may be nothing or no time at all."""
    kind, milliseconds = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE:
        return None
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return None
