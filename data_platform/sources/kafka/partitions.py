"""Which partitions this worker reads, and from which offset on. Belongs here: sharing them between workers, where a
stream begins, topics that were made anew and offsets that are gone. Not here: messages (reader)."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path

from data_platform.core.durable import write_durably
from data_platform.sources.kafka.client import Client
from data_platform.sources.kafka.options import KafkaOptions
from data_platform.sources.positions import LOCKS, Position, held
from data_platform.sources.segments import Segment, write_segment

logger = logging.getLogger(__name__)


def stream_of(name: str, topic: str, partition: int | None = None) -> str:
    """The stream of a partition, or how those of a topic begin. The section's name stands for the cluster: addresses
    change, and what a cluster calls itself does not outlive its moving."""
    return f"kafka:{name}/{topic}/{'' if partition is None else partition}"


@dataclass
class Held:
    """A partition that this worker reads."""

    topic: str
    partition: int
    stream: str
    source: str
    folder: Path
    lock: contextlib.ExitStack
    generation: int = 0
    position: int = 0
    """First offset that is in no segment yet."""
    read_to: int = 0
    """First offset that was not looked at yet: behind `position` only by what is no message."""
    at_end: bool = False
    """Nothing more was there at the last look."""
    watermark: dt.datetime | None = None
    topic_id: str | None = None


class Share:
    """Which of the partitions are this worker's: each worker holds a seat, and the partitions are dealt to the seats
    that are taken. It is for fairness alone; that nobody else writes a stream is what its lock is for."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._seat: int | None = None
        self._lock = contextlib.ExitStack()

    def mine(self, count: int) -> set[int]:
        """Of so many partitions, by their place in a list that every worker has in the same order."""
        if self._seat is None:
            self._seat = self._take_seat()
        taken = [seat for seat in self._seats() if seat == self._seat or self._is_taken(seat)]
        return {place for place in range(count) if taken[place % len(taken)] == self._seat}

    def close(self) -> None:
        self._lock.close()

    def _take_seat(self) -> int:
        seat = 0
        while not self._lock.enter_context(held(self._folder, f"kafka:{self._name}/{seat}")):
            seat += 1
        return seat

    def _seats(self) -> list[int]:
        """That were ever taken."""
        beginning = Segment(f"kafka:{self._name}/", 0, 0, 0).file_name.partition("~")[0]
        names = (path.name.removeprefix(beginning) for path in (self._folder / LOCKS).glob(f"{beginning}*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def _is_taken(self, seat: int) -> bool:
        with held(self._folder, f"kafka:{self._name}/{seat}") as free:
            return not free


@dataclass
class Beginnings:
    """From where each partition is read."""

    options: KafkaOptions
    client: Client

    def place(self, one: Held, known: Position | None, of_topic: bool) -> None:
        """Set generation and position of a partition whose stream stands at `known`. `of_topic` says whether any other
        partition of the topic is known: one that was added later is read from its beginning.

        A segment without lines marks where a stream, or a generation of it, begins: from then on that is where it
        stands, whatever dies, and what is missing before it fails `positions_are_contiguous`.
        """
        low, high = self.client.bounds(one.topic, one.partition)
        identity = TopicIds(one.folder, one.stream)
        was = identity.of(known.generation) if known else None
        if known is None:
            begin = low if of_topic else self._start(one, low, high)
            self._begin(one, 0, begin, identity)
            logger.info("%s: read from offset %d on", one.stream, begin)
        elif was and one.topic_id and was != one.topic_id:
            self._begin(one, known.generation + 1, low, identity)
            logger.error(
                "%s: the topic was deleted and made again; generation %d begins at offset %d, what the old one held "
                "behind offset %d is lost",
                one.stream, one.generation, low, known.end,
            )  # fmt: skip
        elif known.end > high:
            same = was is not None and was == one.topic_id
            begin = high if same else low
            self._begin(one, known.generation + 1, begin, identity)
            logger.error(
                "%s: offset %d is behind the end, %d: %s; generation %d begins at offset %d",
                one.stream, known.end, high, "the cluster lost its newest messages" if same else "it is another topic",
                one.generation, begin,
            )  # fmt: skip
        elif known.end < low:
            self._begin(one, known.generation, low, identity)
            logger.error(
                "%s: offsets %d to %d are gone before they were read (retention): %d are missing",
                one.stream, known.end, low, low - known.end,
            )  # fmt: skip
        else:
            identity.note(known.generation, one.topic_id)
            one.generation, one.position = known.generation, known.end
        one.read_to, one.at_end = one.position, False

    def _begin(self, one: Held, generation: int, offset: int, identity: TopicIds) -> None:
        identity.note(generation, one.topic_id)
        write_segment(one.folder, one.stream, offset, offset, b"", generation=generation)
        one.generation, one.position = generation, offset

    def _start(self, one: Held, low: int, high: int) -> int:
        moment = self.options.begins_at()
        if moment is not None:
            return self.client.offset_at(one.topic, one.partition, moment)
        return high if self.options.start == "latest" else low


class TopicIds:
    """Which topic each generation of a stream is of, as the cluster numbers them: a topic that was made again under its
    name has offsets of its own. A file per generation, written before the generation begins; without it nothing is
    read wrongly, but that a topic is another one is not seen where its offsets happen to fit."""

    def __init__(self, folder: Path, stream: str) -> None:
        self._folder = folder / LOCKS
        self._slug = Segment(stream, 0, 0, 0).file_name.partition("~")[0]

    def of(self, generation: int) -> str | None:
        """Of this generation or, where nothing was noted of it, of the newest one before."""
        found = {int(path.name.split("~")[1]): path for path in self._folder.glob(f"{self._slug}~*~topic")}
        newest = max((one for one in found if one <= generation), default=None)
        return None if newest is None else found[newest].read_text()

    def note(self, generation: int, topic_id: str | None) -> None:
        path = self._folder / f"{self._slug}~{generation}~topic"
        if topic_id and (not path.exists() or path.read_text() != topic_id):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_durably(path, topic_id.encode())
