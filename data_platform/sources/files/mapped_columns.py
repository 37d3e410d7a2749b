"""What a mapping must yield for a landing folder, by the contract of its raw table, and the lines made of it.
Belongs here: which types serve, an example, the SQL of a line. Not here: running anything."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS, Column
from data_platform.core.errors import PlatformError
from data_platform.core.sql_text import literal, quoted
from data_platform.sources.files.foreign_files import FileFormat
from data_platform.sources.files.json_rows import ROW
from data_platform.sources.landing_source import LandingSource

TEXT_TYPES = {"VARCHAR", "UUID", "ENUM", "JSON"}
WHOLE_TYPES = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
               "UHUGEINT"}  # fmt: skip
FLOAT_TYPES = {"DOUBLE", "FLOAT"}
MOMENT_TYPES = {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE"}


def example_mapping(source: LandingSource) -> str:
    """A mapping that fits the source, with invented columns to replace."""
    fields = source.fields()
    expressions = [_example_of(field) for field in fields]
    width = max(map(len, expressions))
    columns = []
    for number, (field, expression) in enumerate(zip(fields, expressions, strict=True)):
        comma = "," if number < len(fields) - 1 else ""
        note = "  -- optional" if field.nullable else ""
        if field.isin:
            note = f"  -- one of {', '.join(map(str, field.isin))}"
        columns.append(f"  {expression:<{width}} AS {field.name}{comma}{note}")
    return "SELECT\n" + "\n".join(columns) + "\nFROM input"


def _example_of(field: Column) -> str:
    if field.isin:
        return literal(str(field.isin[0]))
    if field.is_json:
        return f"{{'example': your_{field.name}}}"
    if field.dtype == UTC_MICROSECONDS:
        return f"your_{field.name}::TIMESTAMPTZ"
    if field.dtype == pl.String():
        return f"your_{field.name}"
    return f"your_{field.name}::{'BIGINT' if field.dtype == pl.Int64() else 'DOUBLE'}"


def judge_columns(columns: dict[str, str], mapping: Path, source: LandingSource, example: str) -> None:
    """Raise PlatformError for the first required column that is missing, or any known one whose type cannot serve."""
    for field in source.fields():
        type_ = columns.get(field.name)
        if type_ is None:
            if not field.nullable:
                raise PlatformError(
                    f"The mapping {mapping} yields no column `{field.name}` ({field.description})", example
                )
        elif not _fits(field, type_):
            raise PlatformError(
                f"The mapping {mapping} yields `{field.name}` as {type_}; it must be {_wanted(field, type_)} "
                f"({field.description})",
                example,
            )


def _wanted(field: Column, type_: str) -> str:
    lossy = "" if type_ not in FLOAT_TYPES else ", which floats would re-spell or round"
    if field.is_json:
        return "a STRUCT, MAP or JSON object"
    if field.dtype == UTC_MICROSECONDS:
        return "a TIMESTAMP (from epoch seconds: to_timestamp(x), from milliseconds: epoch_ms(x))"
    if field.dtype == pl.String():
        return f"text, a whole number or a DECIMAL{lossy}: pass the column as it is, or cast it to DECIMAL(18, 2)"
    if field.dtype == pl.Int64():
        return f"a whole number{lossy}: cast it to BIGINT"
    return "a number: cast it to DOUBLE"


def _fits(field: Column, type_: str) -> bool:
    base = type_.split("(")[0]
    if base == '"NULL"' or type_ == "NULL":
        return field.nullable
    if field.is_json:
        return base in {"STRUCT", "MAP", "JSON", "VARCHAR"} and not type_.endswith("]")
    if field.dtype == UTC_MICROSECONDS:
        return type_ in MOMENT_TYPES or base == "VARCHAR"
    if field.dtype == pl.String():
        return base in TEXT_TYPES | WHOLE_TYPES | {"DECIMAL"} and not type_.endswith("]")
    return base in WHOLE_TYPES | (FLOAT_TYPES | {"DECIMAL"} if field.dtype == pl.Float64() else set())


def line_of(columns: dict[str, str], source: LandingSource, form: FileFormat, *, is_json: bool) -> str:
    """SQL of the canonical line: the contract's fields in its order, then all others by name, so that a line depends on
    its row alone. What is null is left out: the file's other rows do not show in it."""
    fields = {field.name: field for field in source.fields()}
    known = [name for name in fields if name in columns]
    others = sorted(name for name in columns if name not in fields)
    parts = []
    for name in known + others:
        value = _field(fields[name], columns[name], form) if name in fields else _other(name, columns[name], is_json)
        parts.append(f"{literal(json.dumps(name, ensure_ascii=False) + ':')} || {value}")
    return f"concat('{{', concat_ws(',', {', '.join(parts)}), E'}}\\n')"


def _field(field: Column, type_: str, form: FileFormat) -> str:
    name = quoted(field.name)
    if field.dtype == UTC_MICROSECONDS:
        return _moment(name, type_, form)
    if field.is_json:
        return _json(name, type_)
    if field.dtype == pl.String():
        return f"to_json({_unquoted(name) if type_ == 'JSON' else f'{name}::VARCHAR'})::VARCHAR"
    return f"to_json({name})::VARCHAR"


def _moment(name: str, type_: str, form: FileFormat) -> str:
    if type_ not in MOMENT_TYPES:
        if form.date_format is None:
            return f"to_json({name}::VARCHAR)::VARCHAR"
        # In another form than stated it is wrapped, which ingestion rejects as of the wrong type: no guess.
        read = _written_moment(f"try_strptime({name}::VARCHAR, {literal(form.date_format)})")
        return f"coalesce({read}, to_json([{name}::VARCHAR])::VARCHAR)" if type_ != '"NULL"' else "NULL"
    return _written_moment(name)


def _written_moment(value: str) -> str:
    return f"strftime({value}::TIMESTAMPTZ AT TIME ZONE 'UTC', '\"%Y-%m-%dT%H:%M:%S.%fZ\"')"


def _json(name: str, type_: str) -> str:
    """JSON stays as it is written, on one line; text that is no JSON stays text, which ingestion rejects by row."""
    if type_ == "JSON":
        inner, written = f"{name}->>'$'", f"{name}::VARCHAR"
        text = f"CASE WHEN {written} LIKE '\"%' AND json_valid({inner}) THEN {inner} ELSE {written} END"
        return _one_line(text)
    if type_ != "VARCHAR":
        return f"to_json({name})::VARCHAR"
    return f"CASE WHEN json_valid({name}) THEN {_one_line(name)} ELSE to_json({name})::VARCHAR END"


def _other(name: str, type_: str, is_json: bool) -> str:
    value = quoted(name)
    if type_ != "JSON":
        return f"to_json({value})::VARCHAR"
    if is_json and name == ROW:  # `SELECT *` yields the row itself beside its members; a member of that name is kept
        value = f"({value}->'$.{ROW}')"
    return f"nullif({_one_line(f'{value}::VARCHAR')}, 'null')"


def _unquoted(name: str) -> str:
    return f"CASE WHEN {name}::VARCHAR LIKE '\"%' THEN {name}->>'$' ELSE nullif({name}::VARCHAR, 'null') END"


def _one_line(json_text: str) -> str:
    """JSON has line ends between its parts alone."""
    return f"translate({json_text}, E'\\n\\r', '  ')"
