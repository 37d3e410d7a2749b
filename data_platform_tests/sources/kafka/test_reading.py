"""Topics arrive in raw tables, each message once, wherever a reader stopped; what is no message is no gap.
Not here: what goes wrong with a cluster (test_trouble), Debezium (test_debezium)."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.core.settings import PROJECT_ROOT
from data_platform.sources.connectors import sections
from data_platform.sources.kafka import reader as reading
from data_platform.sources.kafka.connector import connect, external_tables
from data_platform.sources.kafka.lines import lines_of_values, one_line, runs_of
from data_platform.sources.kafka.options import options_of
from data_platform.sources.positions import Position, discontinuities, held, positions
from data_platform.sources.segments import Segment, read_segment
from data_platform_tests.sources.kafka.conftest import Readers, drain, ways_of
from data_platform_tests.support.brokers import Broker
from data_platform_tests.support.homes import Home, line

JANUARY = int(dt.datetime(2024, 1, 3, 10, tzinfo=dt.UTC).timestamp() * 1000)


def events(first: int, last: int) -> list[str]:
    return [line(event_id=f"e-{number}") for number in range(first, last)]


def ids(home: Home) -> list[str]:
    return sorted(home.raw()["event_id"], key=lambda name: int(name[2:]))


def numbers(first: int, last: int) -> list[str]:
    return [f"e-{number}" for number in range(first, last)]


def standing(home: Home) -> dict[str, Position]:
    return positions(home.lake, home.landing / "player_events")


# -------------------------------------------------------------------------- all of it, once
def test_every_message_of_every_partition_arrives_once_and_reading_goes_on_where_it_ended(
    home: Home, broker: Broker, readers: Readers
) -> None:
    topic = broker.topic(3)
    for partition in range(3):
        broker.send(topic, events(partition * 100, partition * 100 + 100), partition, timestamp=JANUARY + partition)
    states = readers.read(topic)
    assert [(one.stream, one.position, one.lag) for one in states] == [
        (f"kafka:test/{topic}/{partition}", 100, 0) for partition in range(3)
    ]
    assert [one.watermark for one in states] == [
        dt.datetime(2024, 1, 3, 10, tzinfo=dt.UTC) + dt.timedelta(milliseconds=partition) for partition in range(3)
    ]
    broker.send(topic, events(300, 310), 1)
    readers.read(topic)  # before the first were taken in
    home.ingest()
    broker.send(topic, events(310, 320), 1)
    readers.read(topic)  # and after
    home.ingest()
    assert ids(home) == numbers(0, 320)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()
    assert standing(home)[f"kafka:test/{topic}/1"] == Position(0, 120)


def test_several_topics_go_to_their_own_sources(home: Home, broker: Broker, readers: Readers) -> None:
    one, other = broker.topic(), broker.topic()
    broker.send(one, events(0, 2))
    change = {"player_id": "p-1", "operation": "insert", "changed_at": "2024-01-03T10:00:00Z"}
    broker.send(other, [json.dumps(change)])
    readers.read(topics={one: "player_events", other: {"source": "players"}})
    home.ingest()
    assert home.ledger().sort("source")["source"].to_list() == ["player_events", "player_events", "players", "players"]
    assert ids(home) == numbers(0, 2)


def test_a_topic_is_begun_at_its_end_or_at_a_time_and_stays_begun_there(
    home: Home, broker: Broker, readers: Readers
) -> None:
    latest, timed = broker.topic(2), broker.topic()
    broker.send(latest, events(0, 5))
    for hour in range(3):
        broker.send(timed, events(10 + hour, 11 + hour), timestamp=JANUARY + hour * 3_600_000)
    readers.read(latest, start="latest")
    broker.send(latest, events(5, 8))
    broker.send(latest, events(8, 9), 1)
    readers.read(latest, start="latest")  # what came between two readers is not skipped
    readers.read(timed, start="2024-01-03T10:30:00Z")
    home.ingest()
    assert ids(home) == numbers(5, 9) + numbers(11, 13)


def test_a_partition_that_is_added_later_is_read_from_its_beginning(
    home: Home, broker: Broker, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0.1)
    topic = broker.topic()
    connector = readers.open(topic, start="latest")
    drain(connector)
    broker.add_partitions(topic, 2)
    broker.send(topic, events(0, 4), 1)
    until = time.monotonic() + 20
    while f"kafka:test/{topic}/1" not in {one.stream for one in connector.states() if one.position}:
        connector.advance(threading.Event())
        assert time.monotonic() < until
    home.ingest()
    assert ids(home) == numbers(0, 4)


# ------------------------------------------------------------------ offsets without messages
def test_what_is_no_message_is_no_gap_and_no_lag(home: Home, broker: Broker, readers: Readers) -> None:
    """Marks of transactions, aborted messages: offsets go on, nothing arrives."""
    topic = broker.topic()
    broker.transaction(topic, events(0, 3), commit=True)  # 0 to 2, a mark at 3
    broker.transaction(topic, events(90, 95), commit=False)  # 4 to 8, a mark at 9
    broker.transaction(topic, events(3, 5), commit=True)  # 10 and 11, a mark at 12
    (state,) = readers.read(topic)
    assert (state.position, state.lag) == (13, 0)
    (file,) = [path for path in (home.landing / "player_events").glob("*.zst") if read_segment(path).lines]
    assert read_segment(file) == Segment(state.stream, 0, 13, 5, 0, ((1, 0), (4, 10)))
    broker.transaction(topic, events(90, 95), commit=False)
    (state,) = readers.read(topic)
    assert (state.position, state.lag) == (19, 0), "also where nothing else follows"
    home.ingest()
    assert ids(home) == numbers(0, 5)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()


def test_an_open_transaction_is_waited_for(home: Home, broker: Broker, readers: Readers) -> None:
    from confluent_kafka import Producer

    topic = broker.topic()
    producer = Producer({**broker.settings, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    for event in events(0, 2):
        producer.produce(topic, event)
    producer.flush(20)
    (state,) = readers.read(topic)
    assert state.position == 0
    producer.commit_transaction(20)
    readers.read(topic)
    home.ingest()
    assert ids(home) == numbers(0, 2)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30))
def test_every_line_has_the_offset_of_its_message(steps: list[int]) -> None:
    offsets = [sum(steps[: number + 1]) for number in range(len(steps))]
    segment = Segment("s", 0, offsets[-1] + 1, len(offsets), runs=runs_of(offsets))
    assert [segment.position_of(number + 1) for number in range(len(offsets))] == offsets


def test_more_marks_than_a_segment_can_hold_are_several_segments(
    home: Home, broker: Broker, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_platform.sources.kafka import lines

    monkeypatch.setattr(lines, "MARK_BYTES", lines.MOST_BYTES // 4)
    topic = broker.topic()
    for number in range(5):
        broker.transaction(topic, events(number, number + 1), commit=True)
    readers.read(topic)
    home.ingest()
    stretches = home.ledger().filter(pl.col("received_lines") > 0).select("begin_position", "end_position").rows()
    assert stretches == [(0, 4), (4, 8), (8, 10)] or stretches == [(0, 4), (4, 6), (6, 10)]
    assert ids(home) == numbers(0, 5)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()


# ----------------------------------------------------------------------------- what values hold
def test_poison_is_rejected_with_its_offset_and_holds_nothing_up(home: Home, broker: Broker, readers: Readers) -> None:
    topic = broker.topic()
    good = events(0, 2)
    broker.send(topic, [good[0], None, b"\xff\xfe{", "no json", "", '"text"', '{"a": "x\ny"}', good[1]])
    (state,) = readers.read(topic)
    assert state.position == 8
    home.ingest()
    assert ids(home) == numbers(0, 2)
    rejected = home.rejected()
    assert rejected.select("source_position", "reason").rows() == [
        (1, "not_an_object"),
        (2, "invalid_utf8"),
        (3, "invalid_json"),
        (4, "blank_line"),
        (5, "not_an_object"),
        (6, "invalid_json"),
    ]
    assert rejected["source_file"].str.starts_with(f"kafka.test.{topic}.0~0~").all(), "topic and partition"
    assert rejected["line"][0] == "null"
    assert rejected["line_bytes"][1] == b"\xff\xfe{"


@pytest.mark.parametrize("milliseconds", [2**62, 253_402_300_800_000])
def test_a_time_that_is_none_holds_nothing_up(home: Home, broker: Broker, readers: Readers, milliseconds: int) -> None:
    topic = broker.topic()
    broker.send(topic, events(0, 1), timestamp=JANUARY)
    broker.send(topic, events(1, 2), timestamp=milliseconds)
    (state,) = readers.read(topic)
    assert (state.position, state.watermark) == (2, None)


def test_json_over_several_lines_is_one_event_with_the_same_content(
    home: Home, broker: Broker, readers: Readers
) -> None:
    topic = broker.topic()
    event = json.loads(line(event_id="e-0", event_data={"text": "a\nb\r", "price": 1}))
    broker.send(topic, [json.dumps(event, indent=2), json.dumps(event | {"event_id": "e-1"}, indent=2) + "\r\n\n"])
    readers.read(topic)
    home.ingest()
    raw = home.raw()
    assert ids(home) == numbers(0, 2)
    assert [json.loads(data) for data in raw["event_data"]] == [event["event_data"]] * 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values, st.integers(0, 4))
def test_a_line_is_json_exactly_where_the_value_was(value: object, indent: int) -> None:
    text = json.dumps(value, indent=indent).encode()
    assert json.loads(one_line(text)) == value
    assert b"\n" not in one_line(text)


@given(st.lists(st.none() | st.binary(max_size=20), max_size=6))
def test_there_is_a_line_for_every_message(values: list[bytes | None]) -> None:
    made = lines_of_values(range(len(values)), values)
    assert made.text.count(b"\n") == len(values)
    assert made.text.split(b"\n")[:-1] == [one_line(b"null" if value is None else value) for value in values]


# -------------------------------------------------------------------------------- several readers
def test_readers_split_the_partitions_and_each_takes_over_what_another_left(
    home: Home, broker: Broker, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0.1)
    topic = broker.topic(4)
    one, other = readers.open(topic), readers.open(topic)
    sent = 0

    def turn_until(first: int, second: int) -> None:
        nonlocal sent
        until = time.monotonic() + 30
        while (len(one.states()), len(other.states())) != (first, second):
            broker.send(topic, events(sent, sent + 2), sent % 4)
            sent += 2
            one.advance(threading.Event())
            if other in readers._open:
                other.advance(threading.Event())
            assert time.monotonic() < until

    turn_until(2, 2)
    assert not {state.stream for state in one.states()} & {state.stream for state in other.states()}
    readers.close(other)
    turn_until(4, 0)
    drain(one)
    home.ingest()
    assert ids(home) == numbers(0, sent)
    assert discontinuities(home.ledger().lazy()).collect().is_empty()


def test_a_partition_that_somebody_else_holds_is_left_alone(home: Home, broker: Broker, readers: Readers) -> None:
    topic = broker.topic(2)
    for partition in range(2):
        broker.send(topic, events(partition * 5, partition * 5 + 5), partition)
    with held(home.landing / "player_events", f"kafka:test/{topic}/0"):
        (state,) = readers.read(topic)
        assert state.stream == f"kafka:test/{topic}/1"
    readers.read(topic)
    home.ingest()
    assert ids(home) == numbers(0, 10)


def test_a_group_is_told_how_far_it_is_and_nothing_is_read_from_it(
    home: Home, broker: Broker, readers: Readers
) -> None:
    from confluent_kafka import Consumer, TopicPartition

    topic, group = broker.topic(), f"lag-{time.time_ns()}"
    broker.send(topic, events(0, 7))
    readers.read(topic, commit_group=group)
    consumer = Consumer({**broker.settings, "group.id": group})
    (committed,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    assert committed.offset == 7
    consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    consumer.close()
    readers.read(topic, commit_group=group)
    home.ingest()
    assert ids(home) == numbers(0, 7)


# --------------------------------------------------------------------------------------- options
OPTIONS = {"bootstrap": "localhost:1", "topics": {"t": "player_events"}}


def table(source: str, **more: object) -> dict[str, object]:
    return OPTIONS | {"topics": {"t": {"source": source, **more}}}


def test_the_sections_of_the_guide_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (PROJECT_ROOT / "docs" / "guides" / "streams.md").read_text().partition("## Kafka")[2]
    (said,) = re.findall(r"```toml\n(.*?)```", guide.partition("\n## ")[0], re.DOTALL)
    file = tmp_path / "sources.toml"
    file.write_text(said)
    monkeypatch.setenv("KAFKA_PASSWORD", "secret")
    events, tables = sections(file)
    assert options_of(events.title, events.options).client["sasl.password"] == "secret"
    assert [one.key for one in events.external_tables()] == [("kafka", "game", "player-events")]
    assert options_of(tables.title, tables.options).topic("shop.public.orders").full_before
    assert [one.source for one in tables.external_tables()] == ["orders"]


def test_what_is_read_is_known_without_a_connection() -> None:
    (table,) = external_tables("kafka.shop", {**OPTIONS, "most_lag": 5})
    assert (table.key, table.kind, table.source, table.most_lag) == (
        ("kafka", "shop", "t"),
        "kafka",
        "player_events",
        5,
    )


@pytest.mark.parametrize(
    ("title", "options", "told"),
    [
        ("kafka.shop", {}, "bootstrap: Field required"),
        ("kafka.shop", OPTIONS | {"topics": {}}, "topics: "),
        ("kafka.shop", OPTIONS | {"topic": 1}, "topic: "),
        ("kafka.shop", OPTIONS | {"start": "soon"}, "start"),
        ("kafka.shop", OPTIONS | {"decimal_mode": "double"}, "decimal_mode: Input should be 'string' or 'precise'"),
        ("kafka.shop", OPTIONS | {"client": {"group.id": "g"}}, r"client\.group\.id cannot be set: no group decides"),
        ("kafka.a.b", OPTIONS, "A name of letters"),
        ("kafka.shop", OPTIONS | {"topics": {"a.b": "players", "a_b": "players"}}, "two names differ"),
        ("kafka.shop", OPTIONS | {"format": "debezium"}, r"topics\.t\.decimals is missing"),
        ("kafka.shop", OPTIONS | {"format": "debezium", "schemas": True}, "player_events takes no changes of rows"),
        ("kafka.shop", table("players", decimals={}), "topics.t: decimals is for messages of Debezium alone"),
        (
            "kafka.shop",
            table("players", decimals={}, columns={"id": "player"}) | {"format": "debezium"},
            "players has no field player. Did you mean player_id",
        ),
        ("kafka.shop", OPTIONS | {"topics": {"t": "nothing"}}, "There is no landing source nothing"),
    ],
)
def test_wrong_options_are_told_by_section_and_field(
    home: Home, title: str, options: dict[str, object], told: str
) -> None:
    with pytest.raises(PlatformError, match=told) as raised:
        connect(title, options, ways_of(home))
    assert f"[{title}]" in raised.value.problem
