"""The port of `sources.connectors` for Kafka. Not here: what a section may say (options), reading (reader)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.sources.connectors import Connector, ExternalTable, Ways, known_source, require_library
from data_platform.sources.kafka.options import name_of, options_of

KIND = "kafka"


def external_tables(title: str, options: Mapping[str, Any]) -> list[ExternalTable]:
    """A table per topic. Raises PlatformError for options that are wrong; connects to nothing."""
    found = options_of(title, options)
    return [
        ExternalTable(
            (KIND, name_of(title), topic),
            KIND,
            found.topic(topic).source,
            f"Topic {topic} of {name_of(title)} ({found.bootstrap}), {found.format_of(topic)} messages.",
            found.most_lag,
        )
        for topic in found.topics
    ]


def connect(title: str, options: Mapping[str, Any], ways: Ways) -> Connector:
    """A reader of the topics; it connects when it first reads. Raises PlatformError for options that are wrong."""
    found = options_of(title, options)
    for topic in found.topics:
        known_source(title, found.topic(topic).source, ways.sources)
    require_library("confluent_kafka", "kafka")
    from data_platform.sources.kafka.reader import KafkaReader

    return KafkaReader(name_of(title), found, ways)
