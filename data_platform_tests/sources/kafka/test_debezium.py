"""Messages of a real Debezium become the changes that its database made, whatever it was set to; what cannot be read
right is refused for a reason. Not here: reading topics (test_reading)."""

from __future__ import annotations

import base64
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_platform.core.contract.table import Table
from data_platform.core.discovery import landing_sources
from data_platform.domains.commerce.contracts.sources import RawOrderChanges, RawOrderChangesRejected
from data_platform.domains.gameplay.contracts.registry import RawPlayerChanges, RawPlayerChangesRejected
from data_platform.sources.kafka.debezium import Layout
from data_platform.sources.kafka.lines import Refused, lines_of_envelopes
from data_platform.sources.kafka.options import options_of
from data_platform_tests.sources.kafka.conftest import Readers
from data_platform_tests.support.brokers import Broker
from data_platform_tests.support.homes import Home

GOLDEN = Path(__file__).parent / "golden"
PLAYERS, ORDERS, VISITS = (f"shop.public.{name}" for name in ("players", "orders", "visits"))
TOPICS: dict[str, Any] = {
    PLAYERS: {"source": "players", "columns": {"id": "player_id"}, "decimals": {}},
    ORDERS: {"source": "orders", "decimals": {"total_amount": 2}, "full_before": True},
    VISITS: {"source": "players", "columns": {"player": "player_id"}, "decimals": {}},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "recommended": {"time_mode": "isostring"},
    "with_schemas": {"schemas": True},
    "defaults": {"decimal_mode": "precise"},
    "connect_times": {"time_mode": "connect"},
    "doubles": {},
}
UNAVAILABLE = "__debezium_unavailable_value"

JOINED = "2024-01-02T10:11:12.123456"
PLAYER_HISTORY = [
    ("1", "insert", "Zażółć", "PL", "pc", "free", JOINED),
    ("2", "insert", "two", "DE", "mobile", "premium", "2024-01-03T00:00:00"),
    ("1", "update", "Zażółć", "PL", "pc", "premium", JOINED),
    ("2", "delete", None, None, None, None, None),
    ("3", "insert", "two", "DE", "mobile", "premium", "2024-01-03T00:00:00"),
    ("4", "insert", "no platform", None, None, None, None),
    ("5", "insert", "a", None, "pc", None, None),
    ("5", "update", "b", None, "pc", None, None),
    ("5", "update", "c", None, "pc", None, None),
    # and one to infinity, which no calendar has
    ("3", "delete", None, None, None, None, None),
    ("6", "insert", "six", None, "pc", None, None),
]
ORDER_HISTORY = [
    ("o-1", "insert", "1", None, "paid", "12.30", "2024-01-02T09:11:12.123456"),
    ("o-2", "insert", None, "return", "pending", "-0.05", "2024-01-03T23:59:59.999999"),
    ("o-1", "update", "1", None, "refunded", "12.30", "2024-01-02T09:11:12.123456"),
    ("o-2", "update", None, "return", "pending", "1234567890.12", "2024-01-03T23:59:59.999999"),
    ("o-2", "delete", None, "return", "pending", "1234567890.12", "2024-01-03T23:59:59.999999"),
]
PLAYER_COLUMNS = ("player_id", "operation", "username", "country", "platform", "subscription_tier", "registered_at")
ORDER_COLUMNS = ("order_id", "operation", "user_id", "order_type", "status", "total_amount", "ordered_at")


def golden(name: str, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """(key, value) of a topic's messages, in order."""
    found = (json.loads(text) for text in (GOLDEN / f"{name}.ndjson").read_text().splitlines())
    of_topic = [one for one in found if one["topic"] == topic]
    assert of_topic
    return [tuple(None if part is None else part.encode() for part in (one["key"], one["value"])) for one in of_topic]  # type: ignore[misc]


def layout(topic: str, topics: dict[str, Any] | None = None, **settings: Any) -> Layout:
    given = {"bootstrap": "b", "format": "debezium", "topics": topics or TOPICS, **settings}
    options = options_of("kafka.shop", given)
    sources = {source.name: source for source in landing_sources()}
    return Layout.of(options, topic, sources[options.topic(topic).source])


def send_all(broker: Broker, name: str) -> dict[str, Any]:
    """The messages of every table on topics of their own; what a section says of these."""
    topics = {}
    for topic in (PLAYERS, ORDERS):
        own = broker.topic()
        broker.send_keyed(own, golden(name, topic))  # type: ignore[arg-type]
        topics[own] = TOPICS[topic]
    return {"topics": topics, "format": "debezium", **SETTINGS[name]}


def history(home: Home, table: type[Table], columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    rows = home.rows(table).sort("source_file", "source_line").select(columns)
    return [
        tuple(value.replace(tzinfo=None).isoformat() if isinstance(value, dt.datetime) else value for value in row)
        for row in rows.iter_rows()
    ]


# ------------------------------------------------------------------ real messages, end to end
@pytest.mark.parametrize("name", ["recommended", "with_schemas", "defaults", "connect_times"])
def test_a_database_s_history_arrives_whatever_debezium_is_set_to(
    home: Home, broker: Broker, readers: Readers, name: str
) -> None:
    readers.read(**send_all(broker, name))
    home.ingest()
    joined = f"{JOINED[:-3]}000" if name == "connect_times" else JOINED  # it loses microseconds
    expected = [tuple(joined if value == JOINED else value for value in row) for row in PLAYER_HISTORY]
    if name == "defaults":  # an explicit null came as the column's default, which nobody can see afterwards
        expected[5] = ("4", "insert", "no platform", None, "pc", None, None)
    assert history(home, RawPlayerChanges, PLAYER_COLUMNS) == expected
    assert history(home, RawOrderChanges, ORDER_COLUMNS) == ORDER_HISTORY
    assert home.rows(RawPlayerChangesRejected)["reason"].to_list() == ["refused_out_of_range_registered_at"]
    assert home.rows(RawOrderChangesRejected).is_empty()


def test_changes_of_one_transaction_share_its_moment_and_are_in_order(
    home: Home, broker: Broker, readers: Readers
) -> None:
    readers.read(**send_all(broker, "recommended"))
    home.ingest()
    rows = home.rows(RawPlayerChanges).sort("source_file", "source_line").filter(pl.col("player_id") == "5")
    moments, sequences = rows["changed_at"].to_list(), [int(one) for one in rows["sequence"]]
    assert len(set(moments[:3])) == 1
    assert sequences == sorted(set(sequences))
    assert moments[0].microsecond % 1000, "the moment is the commit's, to the microsecond"


def test_money_as_double_is_rejected_with_its_offset_and_the_message_as_it_came(
    home: Home, broker: Broker, readers: Readers
) -> None:
    readers.read(**send_all(broker, "doubles"))
    home.ingest()
    assert home.rows(RawOrderChanges).is_empty()
    rejected = home.rows(RawOrderChangesRejected).sort("source_position")
    assert rejected["reason"].unique().to_list() == ["refused_decimal_as_float_total_amount"]
    messages = golden("doubles", ORDERS)
    offsets = [offset for offset, (_, value) in enumerate(messages) if value is not None]
    assert rejected["source_position"].to_list() == offsets
    assert rejected["line"].to_list() == [messages[offset][1].decode() for offset in offsets]  # type: ignore[union-attr]
    assert len(history(home, RawPlayerChanges, PLAYER_COLUMNS)) == len(PLAYER_HISTORY)


def test_only_changes_of_rows_become_lines() -> None:
    for topic in ("shop.transaction", "shop.message", "__debezium-heartbeat.shop"):
        for name in ("recommended", "with_schemas"):
            for key, value in golden(name, topic):
                assert value is not None
                assert layout(PLAYERS, **SETTINGS[name]).line_of(key, value) is None, topic


def test_a_truncated_table_is_refused() -> None:
    key, value = golden("recommended", VISITS)[-1]
    assert value is not None
    assert refusal(layout(VISITS), value, key) == "truncate"


def test_a_deletion_without_a_key_is_refused_where_before_is_no_image() -> None:
    ((key, value),) = [(k, v) for k, v in golden("recommended", VISITS) if v and b'"op":"d"' in v]
    assert value is not None
    assert refusal(layout(VISITS), value, key) == "deletion_without_key"
    topics = TOPICS | {VISITS: TOPICS[VISITS] | {"full_before": True}}
    assert line(layout(VISITS, topics), value, key)["player_id"] == "1"


# --------------------------------------------------------------------------- made-up messages
def envelope(op: str = "c", before: Any = None, source: Any = ..., **after: Any) -> bytes:
    told = {"ts_ms": 1_704_275_000_123, "ts_us": 1_704_275_000_123_456, "lsn": 24_296_152} if source is ... else source
    return json.dumps({"before": before, "after": after or None, "source": told, "op": op, "ts_ms": 1}).encode()


def with_schema(value: bytes, **columns: Any) -> bytes:
    """The envelope with its schema; a column is a type, or (type, name, parameters)."""
    fields = []
    for name, said in columns.items():
        kind, called, parameters = said if isinstance(said, tuple) else (said, None, None)
        fields.append({"type": kind, "name": called, "parameters": parameters, "field": name})
    schema = {"type": "struct", "fields": [{"type": "struct", "fields": fields, "field": "after"}]}
    return json.dumps({"schema": schema, "payload": json.loads(value)}).encode()


def line(reads: Layout, value: bytes, key: bytes | None = b'{"id": 1}') -> dict[str, Any]:
    made = reads.line_of(key, value)
    assert made is not None
    found: dict[str, Any] = json.loads(made)
    return found


def refusal(reads: Layout, value: bytes, key: bytes | None = b'{"id": 1}') -> str:
    with pytest.raises(Refused) as raised:
        reads.line_of(key, value)
    return raised.value.reason


def player(value: Any, column: str = "registered_at", **settings: Any) -> Any:
    """What the reader makes of a value of a player's column."""
    return line(layout(PLAYERS, **settings), envelope(id=1, **{column: value}))[column]


def test_an_envelope_is_the_row_and_what_happened_to_it() -> None:
    made = line(layout(PLAYERS), envelope(id=7, username="ann", later=1.50))
    assert made == {
        "player_id": "7",
        "username": "ann",
        "later": 1.5,
        "operation": "insert",
        "changed_at": "2024-01-03T09:43:20.123456Z",
        "sequence": 24_296_152,
    }
    text = layout(PLAYERS).line_of(None, envelope(id=7).replace(b'"id": 7', b'"id": 7, "later": 1.50'))
    assert text is not None
    assert b'"later":1.50' in text, "as it was written"


def test_what_is_no_json_is_left_to_ingestion() -> None:
    for value in (b"no json", b"\xff", b"", b'{"op": "c"', b'["\xed"]'):
        assert layout(PLAYERS).line_of(None, value) == value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"[]", "no_envelope"),
        (b'"text"', "no_envelope"),
        (b"{}", "no_envelope"),
        (b'{"player_id": "p", "operation": "insert", "changed_at": "2024-01-03"}', "no_envelope"),
        (envelope(op="x", id=1), "unknown_operation"),
        (envelope(op="c"), "no_row"),
        (envelope(id=1, source=None), "no_source"),
        (envelope(id=1, source={"lsn": 1}), "no_time_of_change"),
        (envelope(id=1, source={"ts_ms": 10**18}), "out_of_range_changed_at"),
        (envelope(id=1, sequence=4), "two_meanings_of_sequence"),
        (envelope(id=1, player_id=4), "two_meanings_of_player_id"),
        (envelope(id=1, username=UNAVAILABLE), "unavailable_username"),
        (envelope(id=1.5), "decimal_as_float_id"),
    ],
)
def test_what_cannot_be_read_right_is_refused(value: bytes, reason: str) -> None:
    assert refusal(layout(PLAYERS), value) == reason


def test_a_value_that_was_not_sent_is_taken_from_the_whole_row_before_and_else_refused() -> None:
    topics = TOPICS | {PLAYERS: TOPICS[PLAYERS] | {"full_before": True}}
    for unsent in (UNAVAILABLE, base64.b64encode(UNAVAILABLE.encode()).decode(), [UNAVAILABLE]):
        sent = envelope("u", {"id": 1, "username": "ann"}, id=1, username=unsent, avatar=unsent)
        assert refusal(layout(PLAYERS), sent) == "unavailable_username", "before is no image"
        made = line(layout(PLAYERS, topics), sent)
        assert made["username"] == "ann"
        assert "avatar" not in made, "what no table has is left out"


def test_a_message_without_the_schema_that_was_promised_is_refused() -> None:
    assert refusal(layout(PLAYERS, schemas=True), envelope(id=1)) == "no_schema"


PARTS = st.sampled_from(
    ["op", "before", "after", "source", "schema", "payload", "fields", "field", "name", "parameters"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["c", "d", "t", "id", UNAVAILABLE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PARTS | st.just("ts_us") | st.just("id"), inner),
    max_leaves=12,
)


@given(JSON, JSON, st.booleans())
@example({"op": ["c"]}, None, False)
@example({"status": {}}, None, False)
@example({"schema": {"fields": [1]}, "payload": {"op": "c", "after": {"id": 1}}}, None, False)
def test_whatever_a_message_holds_it_holds_nothing_up(value: Any, key: Any, wrapped: bool) -> None:
    said = {"op": "c", "source": {"ts_us": 1}, "after": value} if wrapped else value
    sent = json.dumps(said).encode()
    made = lines_of_envelopes([7], [json.dumps(key).encode()], [sent], layout(PLAYERS).line_of)
    assert made.text.count(b"\n") <= 1
    assert all(line_number == 1 and reason.startswith("refused_") for line_number, reason in made.refused)
    if made.refused:
        assert made.text == sent + b"\n"


def test_a_message_too_deep_to_be_followed_is_refused() -> None:
    deep = envelope(id=1, later=1).replace(b'"later": 1', b'"later": ' + b"[" * 900 + b"]" * 900)
    made = lines_of_envelopes([7], [None], [deep], layout(PLAYERS).line_of)
    assert made.refused == ((1, "refused_not_understood"),) or made.text.startswith(b'{"player_id"')


# ------------------------------------------------------------------------------------- values
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**14), max_value=10**14))
def test_a_precise_decimal_keeps_every_digit(value: Decimal) -> None:
    unscaled = int(value.scaleb(4))
    packed = base64.b64encode(unscaled.to_bytes((unscaled.bit_length() // 8) + 1, "big", signed=True)).decode()
    topics = {ORDERS: {"source": "orders", "decimals": {"total_amount": 4}}}
    by_section = line(layout(ORDERS, topics, decimal_mode="precise"), envelope(total_amount=packed))
    fixed = ("bytes", "org.apache.kafka.connect.data.Decimal", {"scale": "4"})
    by_schema = line(layout(ORDERS), with_schema(envelope(total_amount=packed), total_amount=fixed))
    by_itself = line(layout(ORDERS), envelope(total_amount={"scale": 4, "value": packed}))
    assert {one["total_amount"] for one in (by_section, by_schema, by_itself)} == {f"{value:f}"}


PRECISE = {"decimal_mode": "precise"}


@pytest.mark.parametrize(
    ("settings", "value", "digits"),
    [({}, "12.30", "12.30"), ({}, 12, "12"), (PRECISE, "BM4=", "12.30"), (PRECISE, "+w==", "-0.05")],
)
def test_a_decimal_without_a_schema_is_what_the_section_says(settings: dict[str, Any], value: Any, digits: str) -> None:
    assert line(layout(ORDERS, **settings), envelope(total_amount=value))["total_amount"] == digits


@pytest.mark.parametrize(
    ("settings", "value", "reason"),
    [
        ({}, "BM4=", "no_decimal_total_amount"),
        ({}, "NaN", "no_decimal_total_amount"),
        ({}, 12.3, "decimal_as_float_total_amount"),
        (PRECISE, "12.30", "no_decimal_total_amount"),
        (PRECISE, 12.0, "decimal_as_float_total_amount"),
    ],
)
def test_a_decimal_that_is_not_what_the_section_says_is_refused(
    settings: dict[str, Any], value: Any, reason: str
) -> None:
    assert refusal(layout(ORDERS, **settings), envelope(total_amount=value)) == reason


def test_a_precise_decimal_without_a_scale_and_a_double_for_text_are_refused() -> None:
    topics: dict[str, Any] = {ORDERS: {"source": "orders"}}
    reads = layout(ORDERS, topics, schemas=True)
    fixed = ("bytes", "org.apache.kafka.connect.data.Decimal", None)
    value = with_schema(envelope(total_amount="BM4="), total_amount=fixed)
    assert refusal(reads, value) == "decimal_without_scale_total_amount"
    assert refusal(reads, with_schema(envelope(total_amount=12), total_amount="double")) == (
        "decimal_as_float_total_amount"
    )


MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)).filter(
    lambda one: abs(one - dt.datetime(1970, 1, 1)) > dt.timedelta(days=32)
)


@given(MOMENTS)
def test_a_time_is_the_same_in_every_unit(moment: dt.datetime) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    microseconds = (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    in_unit = {"nanoseconds": microseconds * 1000, "microseconds": microseconds, "milliseconds": microseconds // 1000}
    found = {player(microseconds), player(microseconds // 1000, time_mode="connect"), player(moment.isoformat() + "Z")}
    for unit, number in in_unit.items():
        topics = {PLAYERS: TOPICS[PLAYERS] | {"times": {"registered_at": unit}}}
        found.add(player(number, topics=topics))
    names = {"milliseconds": "Timestamp", "microseconds": "MicroTimestamp", "nanoseconds": "NanoTimestamp"}
    for unit, called in names.items():
        said = ("int64", f"io.debezium.time.{called}", None)
        value = with_schema(envelope(id=1, registered_at=in_unit[unit]), registered_at=said)
        found.add(line(layout(PLAYERS), value)["registered_at"])
    assert {dt.datetime.fromisoformat(text) for text in found} == {moment.replace(tzinfo=dt.UTC)}


@pytest.mark.parametrize("value", [9223372036825200000, "+294247-01-10T04:00:25.2Z", "-290308-12-21T19:59:27.6Z"])
def test_infinity_is_refused(value: Any) -> None:
    assert refusal(layout(PLAYERS), envelope(id=1, registered_at=value)) == "out_of_range_registered_at"


@pytest.mark.parametrize(
    ("value", "settings", "reason"),
    [
        (1_704_275_000_123, {}, "unit_of_registered_at"),  # milliseconds, taken for microseconds
        (19_725, {}, "unit_of_registered_at"),  # days
        (1_704_275_000_123_456, {"time_mode": "connect"}, "out_of_range_registered_at"),
        (1_704_275_000_123_456_000, {}, "out_of_range_registered_at"),  # nanoseconds
        (1_704_275_000_123_456, {"time_mode": "isostring"}, "unit_of_registered_at"),
        ("+12024-01-03T00:00:00Z", {}, "out_of_range_registered_at"),
    ],
)
def test_a_number_in_another_unit_is_refused_and_not_taken_for_another_year(
    value: Any, settings: dict[str, Any], reason: str
) -> None:
    assert refusal(layout(PLAYERS, **settings), envelope(id=1, registered_at=value)) == reason


def test_dates_and_the_epoch_are_moments_too() -> None:
    assert player("2024-01-03Z") == "2024-01-03"
    assert player(0) == "1970-01-01T00:00:00Z"
    days = ("int32", "io.debezium.time.Date", None)
    value = with_schema(envelope(id=1, registered_at=19_725), registered_at=days)
    assert line(layout(PLAYERS), value)["registered_at"] == "2024-01-03T00:00:00Z"


def test_a_column_of_json_is_the_object_that_its_text_says() -> None:
    reads = layout("t", {"t": {"source": "stripe_charges", "decimals": {}}})
    made = reads.line_of(None, envelope(payload='{"amount": 1.50,\n "a": []}'))
    assert made is not None
    assert b'"payload":{"amount": 1.50,\n "a": []}' in made
    assert refusal(reads, envelope(payload="{NaN")) == "no_json_payload"
    assert refusal(reads, envelope(payload='{"a": NaN}')) == "no_json_payload"
