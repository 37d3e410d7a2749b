"""Talking to a cluster through librdkafka: its one consumer, what is asked of the cluster, its errors in words.
Not here: what to read from where (partitions), what becomes of messages (lines)."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from data_platform.core.errors import PlatformError
from data_platform.sources.kafka.options import KafkaOptions

ANSWER_SECONDS = 5.0
"""That a cluster has to answer a question; a broker that is gone is told after so long."""
ID_SECONDS = 3.0
UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""How brokers before 2.8 call every topic: sixteen bytes of zeros."""
GONE = (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL)
MENDED = (KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT)
NOTHING_AFTER = -1
"""Answer to the question for a time after which there is no message."""

logger = logging.getLogger(__name__)


class Client:
    """A connection to the cluster of a section, made when it is first used. Every method raises PlatformError where the
    cluster cannot be asked."""

    def __init__(self, options: KafkaOptions) -> None:
        self._bootstrap = options.bootstrap
        self._settings = {"bootstrap.servers": options.bootstrap, "log_level": 2, **options.client}
        self._down: str | None = None
        self._knows_ids = True
        self._admin: AdminClient | None = None
        self._consumer = Consumer(
            {
                **self._settings,
                "group.id": options.commit_group or f"data-platform-{uuid.uuid4()}",  # asked for, and not joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "error_cb": self._noted,
            },
            logger=logger,
        )

    # ------------------------------------------------------------------ messages
    def read_from(self, offsets: Sequence[TopicPartition]) -> None:
        """Read these partitions from these offsets, and no others."""
        with self._in_words():
            self._consumer.assign(list(offsets))

    def messages(self, most: int, seconds: float) -> list[Message]:
        """What came within so many seconds, and what the client says of partitions instead of a message. Raises
        PlatformError when nothing came because every broker is gone."""
        with self._in_words():
            found = self._consumer.consume(most, seconds)
        if not found and self._down:
            self._ask_again()
        return found

    def lag_behind(self, topic: str, partition: int, position: int) -> int | None:
        """As the last answer said; None before the first."""
        with contextlib.suppress(KafkaException):
            _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            return max(0, high - position) if high >= 0 else None
        return None

    def commit(self, offsets: Sequence[TopicPartition]) -> None:
        """Tell the group of the section how far its topics are read; nothing depends on it."""
        with contextlib.suppress(KafkaException):
            self._consumer.commit(offsets=list(offsets), asynchronous=True)

    def close(self) -> None:
        self._consumer.close()

    # ------------------------------------------------------------------ the cluster
    def partitions(self, topic: str) -> list[int]:
        """Of a topic, in order; none for a topic that is not there."""
        with self._in_words():
            found = self._consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        if found.error is None:
            return sorted(found.partitions)
        if found.error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            return []
        raise self._told(found.error)

    def topic_id(self, topic: str) -> str | None:
        """What tells a topic from another that was made under its name; None where the brokers do not say."""
        if not self._knows_ids:
            return None
        self._admin = self._admin or AdminClient(dict(self._settings), logger=logger)
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ID_SECONDS)[topic]
        try:
            found = str(asked.result(ID_SECONDS + 1).topic_id)
        except (KafkaException, TimeoutError) as error:
            logger.info("%s does not say which topic %s is: %s", self._bootstrap, topic, error)
            found = UNKNOWN_ID
        self._knows_ids = found != UNKNOWN_ID
        return found if self._knows_ids else None

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is there, and the next that will be written."""
        with self._in_words():
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=ANSWER_SECONDS, cached=False
            )
        return low, high

    def offset_at(self, topic: str, partition: int, milliseconds: int) -> int:
        """The first message of this time or later; the end where there is none."""
        with self._in_words():
            asked = TopicPartition(topic, partition, milliseconds)
            (found,) = self._consumer.offsets_for_times([asked], timeout=ANSWER_SECONDS)
        if found.error:
            raise self._told(found.error)
        return self.bounds(topic, partition)[1] if found.offset == NOTHING_AFTER else found.offset

    # ------------------------------------------------------------------ errors
    def failed(self, error: KafkaError) -> PlatformError | None:
        """What an error in the place of a message means; None for one that the client mends by itself."""
        return None if error.retriable() or error.code() in MENDED else self._told(error)

    def _noted(self, error: KafkaError) -> None:
        """Librdkafka goes on trying whatever it is; a reader that gets nothing meanwhile says so."""
        if error.code() in GONE:
            self._down = error.str()

    def _ask_again(self) -> None:
        """Brokers that went may have come back: whoever answers is there."""
        why = self._down
        with contextlib.suppress(KafkaException):
            self._consumer.list_topics("", timeout=ANSWER_SECONDS / 2)
            self._down = None
            return
        raise self._unreachable(why or "no broker answers")

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self._told(error.args[0]) from None

    def _told(self, error: KafkaError) -> PlatformError:
        return self._unreachable(self._down or error.str())

    def _unreachable(self, why: str) -> PlatformError:
        remedy = (
            "Nothing is lost: it is tried again by itself. Do the brokers run, and are `bootstrap` and `client` right?"
        )
        return PlatformError(f"Kafka at {self._bootstrap} cannot be read: {why}.", remedy)
