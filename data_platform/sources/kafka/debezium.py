"""Debezium's envelopes → lines of change files: the whole row, what happened to it, when, and its place in the log.
Belongs here: what an envelope says. Not here: how its columns are written (debezium_values), messages (lines). Pure.

What cannot be read right is refused with a reason, never guessed. https://debezium.io/documentation: the shapes are
those of Debezium 3.6, seen in data_platform_tests/sources/kafka/golden."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_platform.core.contract.table import Column
from data_platform.sources.kafka.debezium_values import NumberText, Reading, is_unavailable, moment, written
from data_platform.sources.kafka.lines import Refused
from data_platform.sources.kafka.options import KafkaOptions
from data_platform.sources.landing_source import LandingSource

OPERATIONS = {"r": "insert", "c": "insert", "u": "update", "d": "delete"}
"""`r` is a row of a snapshot: for us it is new."""
ABOUT_CHANGES = ("operation", "changed_at", "sequence")
HEARTBEAT = {"ts_ms", "ts_us", "ts_ns"}
TRANSACTION = {"BEGIN", "END"}


@dataclass(frozen=True)
class Layout:
    """How the messages of one topic are to be read."""

    fields: Mapping[str, Column]
    """Of the contract, by name."""
    renamed: Mapping[str, str]
    """Column of the database → field of the contract, where they are called differently."""
    full_before: bool
    with_schema: bool
    reading: Reading

    @staticmethod
    def of(options: KafkaOptions, topic: str, source: LandingSource) -> Layout:
        said = options.topic(topic)
        reading = Reading(said.decimals or {}, said.times, options.decimal_mode, options.time_mode)
        return Layout(
            {field.name: field for field in source.fields()},
            said.columns,
            said.full_before,
            options.schemas,
            reading,
        )

    def line_of(self, key: bytes | None, value: bytes) -> bytes | None:
        """The change as a line, without a line break; None for what is no change of a row. A value that is no JSON
        comes back as it is, for ingestion to reject. Raises Refused."""
        try:
            said = json.loads(value, parse_float=NumberText)
        except (ValueError, RecursionError):
            return value
        envelope, schema = _unwrapped(said)
        if not isinstance(envelope, dict):
            raise Refused("no_envelope")
        if _is_no_change(envelope):
            return None
        if self.with_schema and schema is None:
            raise Refused("no_schema")
        return self._change(envelope, _columns_of(schema), key)

    def _change(self, envelope: Mapping[str, Any], schemas: Mapping[str, Any], key: bytes | None) -> bytes:
        op = envelope.get("op")
        if op == "t":
            raise Refused("truncate")
        if op not in OPERATIONS:
            raise Refused("no_envelope" if op is None else "unknown_operation")
        before, after = envelope.get("before"), envelope.get("after")
        row = self._deleted(before, key) if op == "d" else after
        if not isinstance(row, dict):
            raise Refused("no_row")
        old = before if self.full_before and isinstance(before, dict) else {}
        line = self._row(row, old, schemas) | _when(envelope)
        line["operation"] = json.dumps(OPERATIONS[op])
        return ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in line.items()) + "}").encode(
            errors="surrogatepass"
        )

    def _deleted(self, before: Any, key: bytes | None) -> Any:
        """Of a deleted row: all of it where the database keeps that, else what its key says. Without REPLICA IDENTITY
        FULL `before` shows null, or a default, in place of every other column."""
        if self.full_before:
            return before
        if key is None:
            raise Refused("deletion_without_key")
        try:
            return _unwrapped(json.loads(key, parse_float=NumberText))[0]
        except (ValueError, RecursionError):
            raise Refused("deletion_without_key") from None

    def _row(self, row: Mapping[str, Any], old: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, str]:
        """Field → its JSON text. Columns that the contract does not know are passed on as they are."""
        line: dict[str, str] = {}
        for column, value in row.items():
            name = self.renamed.get(column, column)
            if name in ABOUT_CHANGES or name in line:
                raise Refused(f"two_meanings_of_{name}")
            field = self.fields.get(name)
            if is_unavailable(value):
                value = old.get(column, value)
                if is_unavailable(value) and field is not None:
                    raise Refused(f"unavailable_{column}")
                if is_unavailable(value):
                    continue
            line[name] = written(self.reading.value(value, column, field, schemas.get(column)))
        return line


def _unwrapped(said: Any) -> tuple[Any, Any]:
    """(what a message says, its schema or None): with `schemas.enable` both come together."""
    if isinstance(said, dict) and said.keys() == {"schema", "payload"}:
        return said["payload"], said["schema"]
    return said, None


def _is_no_change(envelope: Mapping[str, Any]) -> bool:
    """Signs of life, bounds of transactions, and messages that programs write into the log."""
    of_transaction = envelope.get("status") in TRANSACTION and "op" not in envelope
    return envelope.get("op") == "m" or of_transaction or (bool(envelope) and envelope.keys() <= HEARTBEAT)


def _columns_of(schema: Any) -> dict[str, Any]:
    """Column → its schema, by what the envelope's says of `after` (or of `before`: the same)."""
    if not isinstance(schema, dict):
        return {}
    for part in schema.get("fields") or ():
        if part.get("field") in ("after", "before"):
            return {column["field"]: column for column in part.get("fields") or ()}
    return {}


def _when(envelope: Mapping[str, Any]) -> dict[str, str]:
    """When the change was committed, and its place in the log of PostgreSQL (others have none that is a number: there
    the order of the partition says it)."""
    source = envelope.get("source")
    if not isinstance(source, dict):
        raise Refused("no_source")
    microseconds, milliseconds = source.get("ts_us"), source.get("ts_ms")
    if not isinstance(microseconds, int):
        if not isinstance(milliseconds, int):
            raise Refused("no_time_of_change")
        microseconds = milliseconds * 1000
    found = {"changed_at": written(moment(microseconds, "changed_at"))}
    if isinstance(lsn := source.get("lsn"), int):
        found["sequence"] = str(lsn)
    return found
