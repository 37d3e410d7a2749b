"""Columns as Debezium writes them → values of a change line. Belongs here: decimals, times, JSON, what was not sent.
Not here: envelopes (debezium). Pure; `Refused` names what cannot be read right.

A schema, where there is one, says what a column is; else the section does (`decimals`, `times`), because a number does
not show its unit, nor base64 that it is one."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS, Column
from data_platform.sources.kafka.lines import Refused

UNAVAILABLE = "__debezium_unavailable_value"
UNAVAILABLE_BYTES = base64.b64encode(UNAVAILABLE.encode()).decode()
"""What stands for a value that an update did not touch and that PostgreSQL keeps outside the row."""

FIXED, VARIABLE = "org.apache.kafka.connect.data.Decimal", "io.debezium.data.VariableScaleDecimal"
FLOATS = ("float", "float32", "double", "float64")
UNITS = {
    "io.debezium.time.Date": "days",
    "org.apache.kafka.connect.data.Date": "days",
    "io.debezium.time.Timestamp": "milliseconds",
    "org.apache.kafka.connect.data.Timestamp": "milliseconds",
    "io.debezium.time.MicroTimestamp": "microseconds",
    "io.debezium.time.NanoTimestamp": "nanoseconds",
}
IN_MICROSECONDS = {"days": 86_400_000_000, "milliseconds": 1000, "microseconds": 1}
OF_MODE = {"adaptive": "microseconds", "connect": "milliseconds"}
"""Where times are ISO texts, a number has no unit."""

DECIMAL = re.compile(r"-?\d+(\.\d+)?")
WHOLE = re.compile(r"-?\d+")
DAY = re.compile(r"(\d{4}-\d{2}-\d{2})Z")
FAR_YEAR = re.compile(r"[+-]\d{5,}-")
EPOCH = dt.datetime(1970, 1, 1)
FIRST_MONTH = 31 * 86_400_000_000
"""A number without a schema that falls into January 1970 counts in another unit than it was taken for, unless it is
0."""


class NumberText(str):
    """A number as it is written in JSON."""


class JsonText(str):
    """JSON that is written as it is."""


@dataclass(frozen=True)
class Reading:
    """What the section says of a topic's columns."""

    decimals: Mapping[str, int]
    times: Mapping[str, str]
    decimal_mode: str
    time_mode: str

    def value(self, value: Any, column: str, field: Column | None, schema: Mapping[str, Any] | None) -> Any:
        """A column's value as the contract's field wants it; what no field wants comes back as it is. Raises
        Refused."""
        if value is None:
            return None
        if (number := self._decimal(value, column, schema)) is not None:
            return number if field is None or field.dtype == pl.String() else _as_number(number, field)
        if field is None:
            return value
        if field.is_json:
            return _json(value, column)
        if field.dtype == UTC_MICROSECONDS:
            return self._time(value, column, schema)
        if field.is_position:
            return value
        if field.dtype == pl.String():
            return _text(value, column, schema)
        return _as_number(value, field) if isinstance(value, str) and not isinstance(value, NumberText) else value

    # ------------------------------------------------------------------ decimals
    def _decimal(self, value: Any, column: str, schema: Mapping[str, Any] | None) -> str | None:
        """The digits of a decimal, exactly; None for a column that is none."""
        name = (schema or {}).get("name")
        if name == VARIABLE or _is_variable(value):
            return _unscaled(value.get("value"), value.get("scale"), column) if isinstance(value, dict) else None
        if name == FIXED:
            scale = ((schema or {}).get("parameters") or {}).get("scale")
            if scale is None and column not in self.decimals:
                raise Refused(f"decimal_without_scale_{column}")
            return _unscaled(value, self.decimals[column] if scale is None else scale, column)
        if column not in self.decimals:
            return None
        if isinstance(value, NumberText):
            raise Refused(f"decimal_as_float_{column}")
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if self.decimal_mode == "precise" and schema is None:
            return _unscaled(value, self.decimals[column], column)
        if not isinstance(value, str) or not DECIMAL.fullmatch(value):
            raise Refused(f"no_decimal_{column}")
        return value

    # --------------------------------------------------------------------- times
    def _time(self, value: Any, column: str, schema: Mapping[str, Any] | None) -> Any:
        """A moment as ISO text. PostgreSQL's infinity comes as the year 294247, which no calendar has: as on the direct
        road, such a row is rejected."""
        if isinstance(value, str) and not isinstance(value, NumberText):
            return _iso(value, column)
        if isinstance(value, bool) or not isinstance(value, int):
            return value  # of the wrong type, as ingestion will say
        unit = UNITS.get((schema or {}).get("name") or "") or self.times.get(column)
        guessed = unit is None
        unit = unit or OF_MODE.get(self.time_mode)
        if unit is None:
            raise Refused(f"unit_of_{column}")
        microseconds = value // 1000 if unit == "nanoseconds" else value * IN_MICROSECONDS[unit]
        if guessed and value and 0 <= microseconds < FIRST_MONTH:
            raise Refused(f"unit_of_{column}")
        return moment(microseconds, column)


def moment(microseconds: int, column: str) -> str:
    """Microseconds since 1970 as ISO text. Raises Refused outside the years 1 to 9999."""
    try:
        return (EPOCH + dt.timedelta(microseconds=microseconds)).isoformat() + "Z"
    except OverflowError:
        raise Refused(f"out_of_range_{column}") from None


def is_unavailable(value: Any) -> bool:
    return value in (UNAVAILABLE, UNAVAILABLE_BYTES) or value in ([UNAVAILABLE], [UNAVAILABLE_BYTES])


def written(value: Any) -> str:
    """JSON text of a value, with its numbers as they were written."""
    if isinstance(value, NumberText | JsonText):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _is_variable(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"scale", "value"}


def _unscaled(value: Any, scale: Any, column: str) -> str:
    """Base64 of a whole number, big-endian in two's complement, and the digits of it that stand behind the point."""
    try:
        number = int.from_bytes(base64.b64decode(value, validate=True), "big", signed=True)
        places = int(scale)
    except (binascii.Error, ValueError, TypeError):
        raise Refused(f"no_decimal_{column}") from None
    if places <= 0:
        return str(number * 10**-places)
    digits = str(abs(number)).rjust(places + 1, "0")
    return f"{'-' if number < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _as_number(text: str, field: Column) -> Any:
    """Digits as the number that a numeric field wants; as they are where they are none."""
    fits = WHOLE if field.dtype == pl.Int64() else DECIMAL
    return NumberText(text) if fits.fullmatch(text) else text


def _text(value: Any, column: str, schema: Mapping[str, Any] | None) -> Any:
    """For a field of text: whole numbers are ids; a fraction may have been a decimal before it was a double."""
    if isinstance(value, NumberText) or (schema or {}).get("type") in FLOATS:
        raise Refused(f"decimal_as_float_{column}")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _json(value: Any, column: str) -> Any:
    """A column of JSON, which comes as text, as it is written there."""
    if not isinstance(value, str):
        return value
    try:
        json.loads(value, parse_constant=_refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise Refused(f"no_json_{column}") from None
    return JsonText(value)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _iso(text: str, column: str) -> str:
    if day := DAY.fullmatch(text):
        return day[1]
    if FAR_YEAR.match(text):
        raise Refused(f"out_of_range_{column}")
    return text
