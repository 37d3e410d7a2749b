"""The port of `sources.connectors` for Kafka. Not here: what a section may say (options), reading (reader)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.sources.connectors import SETTING, Connector, ExternalTable, Ways, known_source, require_library
from data_platform.sources.kafka.options import TopicOptions, name_of, options_of
from data_platform.sources.landing_source import LandingSource

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
        source = known_source(title, found.topic(topic).source, ways.sources)
        if found.format_of(topic) == "debezium":
            _require_fit(f"[{title}] topics.{topic}", found.topic(topic), source)
    require_library("confluent_kafka", "kafka")
    from data_platform.sources.kafka.reader import KafkaReader

    return KafkaReader(name_of(title), found, ways)


def _require_fit(where: str, said: TopicOptions, source: LandingSource) -> None:
    """Debezium's messages are changes, and a name that is mapped to is one of the contract's."""
    fields = {field.name for field in source.fields()}
    correct = f"Correct the file that {SETTING} names."
    if "operation" not in fields:
        raise PlatformError(f"{where}: {source.name} takes no changes of rows.", correct)
    if unknown := next((field for field in said.columns.values() if field not in fields), None):
        raise PlatformError(
            f"{where}.columns: {source.name} has no field {unknown}.", f"{did_you_mean(unknown, fields)}{correct}"
        )
