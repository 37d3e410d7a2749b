"""What a section `[kafka.NAME]` may say. Belongs here: its fields and what is wrong with them. Not here: connecting."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from data_platform.core.errors import PlatformError
from data_platform.sources.connectors import SETTING, checked

Format = Literal["json", "debezium"]
Times = Literal["adaptive", "connect", "isostring"]
Unit = Literal["days", "milliseconds", "microseconds", "nanoseconds"]

NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Without a dot: streams of two sections never share the name of a file, whatever their topics are called."""
OURS = {
    "bootstrap.servers": "it is `bootstrap`",
    "group.id": "no group decides what is read; `commit_group` tells one how far that is",
    "enable.auto.commit": "offsets are committed when their messages are on the disk",
    "enable.auto.offset.store": "offsets are committed when their messages are on the disk",
    "auto.offset.reset": "a lost range must be told, not skipped",
    "isolation.level": "messages of aborted transactions were never sent",
    "enable.partition.eof": "it says how far a partition is read",
    "metadata.broker.list": "it is `bootstrap`",
}
"""Settings of the client that exactness rests on, with the reason why they are not for a section to say."""


class TopicOptions(BaseModel):
    """A topic. What only Debezium's messages have is left out for others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """Landing source that its messages go to."""
    format: Format | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    """Column of the database → field of the contract, where the two are called differently."""
    decimals: dict[str, int] | None = None
    """Column → digits behind the point, of every column of type numeric; messages without a schema do not say."""
    times: dict[str, Unit] = Field(default_factory=dict)
    """Column → unit, of columns whose numbers count in another than `time_mode` says: dates, timestamp(0) to (3)."""
    full_before: bool = False
    """The table has REPLICA IDENTITY FULL: `before` is the row, and a deletion carries it."""


class KafkaOptions(BaseModel):
    """A section: a cluster, and the topics that are read of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bootstrap: str = Field(min_length=1)
    topics: dict[str, str | TopicOptions] = Field(min_length=1)
    """Topic → landing source, or a table with more about it."""
    format: Format = "json"
    start: Literal["earliest", "latest"] | dt.datetime = "earliest"
    """Where a topic is begun that was never read before; a time without a zone is UTC."""
    client: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Settings of librdkafka, for example `sasl.username`."""
    commit_group: str | None = None
    """Consumer group that is told how far topics are read, for tools that show lag; nothing is read from it."""
    gather_seconds: PositiveFloat = 0.5
    """At most so long messages are gathered for one segment."""
    decimal_mode: Literal["string", "precise"] = "string"
    """`decimal.handling.mode` of Debezium; `double` has lost digits before anybody reads it."""
    time_mode: Times = "adaptive"
    """`time.precision.mode` of Debezium."""
    schemas: bool = False
    """Every message of Debezium carries its schema; one without is refused."""
    most_lag: PositiveInt | None = None
    """Messages behind the end of a topic from which on somebody should look."""

    def topic(self, name: str) -> TopicOptions:
        said = self.topics[name]
        return TopicOptions(source=said) if isinstance(said, str) else said

    def format_of(self, name: str) -> Format:
        return self.topic(name).format or self.format

    def begins_at(self) -> int | None:
        """`start` as milliseconds since 1970, if it is a time."""
        if isinstance(self.start, str):
            return None
        return int((self.start if self.start.tzinfo else self.start.replace(tzinfo=dt.UTC)).timestamp() * 1000)


def options_of(title: str, options: Mapping[str, Any]) -> KafkaOptions:
    """Raises PlatformError naming section and field."""
    found = checked(KafkaOptions, title, options)
    correct = f"Correct the file that {SETTING} names."
    if not NAME.fullmatch(name_of(title)):
        raise PlatformError(f"[{title}] A name of letters, digits, - and _ is needed.", correct)
    if ours := next((key for key in found.client if key in OURS), None):
        raise PlatformError(f"[{title}] client.{ours} cannot be set: {OURS[ours]}.", correct)
    shown = [re.sub("[.-]", "_", topic) for topic in found.topics]
    if len(set(shown)) < len(shown):
        raise PlatformError(f"[{title}] topics: two names differ in . - _ alone, as Dagster shows them.", correct)
    for topic in found.topics:
        debezium, said = found.format_of(topic) == "debezium", found.topic(topic)
        if not debezium and said.model_fields_set - {"source", "format"}:
            alone = ", ".join(sorted(said.model_fields_set - {"source", "format"}))
            raise PlatformError(f"[{title}] topics.{topic}: {alone} is for messages of Debezium alone.", correct)
        if debezium and not found.schemas and said.decimals is None:
            raise PlatformError(
                f"[{title}] topics.{topic}.decimals is missing: without their schema messages do not say which columns "
                "are decimals.",
                "Name each with the digits behind its point ({} where there is none), or say `schemas = true`.",
            )
    return found


def name_of(title: str) -> str:
    """NAME of `kafka.NAME`."""
    return title.partition(".")[2]
