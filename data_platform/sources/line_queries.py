"""The two SQL queries that make typed rows of NDJSON lines, built from a contract alone.
Belongs here: the cheap query for lines written as their producer usually writes them, and the careful one for the rest.
Not here: running them, files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS, Column, Severity
from data_platform.core.sql_text import literal
from data_platform.core.text import VISIBLE
from data_platform.sources import grammar
from data_platform.sources.files.json_rows import RE_SPELT
from data_platform.sources.landing_source import LandingSource

NO_JSON = r",\s*[\]}]|[:,\[]\s*-?(?i:nan|inf)"
"""What DuckDB's JSON parser accepts although it is no JSON: trailing commas, and NaN and infinity in any case. Lines
that look like it get a second, strict look in Python (about 5 µs a line); well-made files match only inside texts."""

BLANK_LINE = "blank_line"
IN_FUTURE = "_in_future"
"""How reasons end that hold by the clock alone."""

JSON_TEXT = "TRY(json(line))::VARCHAR || E'\\n'"
"""The line without spaces between its parts, as DuckDB writes it: numbers as the nearest double, some escapes anew."""

MICROSECONDS_OF_A_DAY = 86_400_000_000

TRAILING_COMMA = r",\s*[\]}]"


@dataclass(frozen=True)
class Habit:
    """How a producer writes its lines: known fields in this order, absent values left out or null, spaces or not."""

    fields: tuple[str, ...]
    omits_absent: bool
    spaced: bool
    always: frozenset[str] = frozenset()
    """Fields that no line is expected to lack: putting them back needs no look at each value."""


def habit_of(lines: Iterable[bytes], source: LandingSource) -> Habit | None:
    """The habit seen in a few lines; None when none of them has all required fields. A wrong guess costs time alone."""
    required = {field.name for field in source.fields() if not field.nullable}
    known = {field.name for field in source.fields()}
    seen: list[list[str]] = []
    always = set(known)
    spaced = False
    for line in lines:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and required <= found.keys():
            seen.append([name for name in found if name in known])
            always &= {name for name, value in found.items() if value is not None}
            spaced |= b'": ' in line
    if not seen:
        return None
    order: list[str] = []
    for names in seen:
        for before, name in zip([None, *names], names, strict=False):
            if name not in order:
                order.insert(order.index(before) + 1 if before else 0, name)
    return Habit(tuple(order), any(len(names) < len(order) for names in seen), spaced, frozenset(always))


def plain_sql(source: LandingSource, habit: Habit, all_json: bool = False) -> str:
    """One SELECT over the relation `lines` that yields every line's typed fields of the habit, and whether the line is
    plain: surely acceptable, and its values surely right. What it says of a line that is not plain means nothing.
    With `all_json` it fails where a line is no JSON, and costs a tenth less.

    A line is plain when putting its parsed values back between the keys gives the line again, byte for byte: that rules
    out escapes, wrong types, unknown and repeated fields, all at once, and fields that are not in the habit. Whole
    numbers are parsed as such: one that was written in any other way is put back differently. 1.5 µs for a line of 15
    fields, where the careful query takes 5.
    """
    fields = {field.name: field for field in source.fields()}
    usual = {name: fields[name] for name in habit.fields}
    shape = json.dumps({name: _shape(field) for name, field in usual.items()})
    line = JSON_TEXT if habit.spaced else "line"
    plain = [f"{line} = {_put_back(usual, habit)}"]
    # Removing spaces removes trailing commas, too.
    plain += [f"NOT regexp_matches(line, '{TRAILING_COMMA}')"] if habit.spaced else []
    plain += [f"{_spaceless(JSON_TEXT)} = {_spaceless('line')}"] if habit.spaced else []
    plain += [condition for field in usual.values() for condition in _is_plain(field, habit)]
    plain += ["false" for name, field in fields.items() if name not in usual and not field.nullable]
    moment = f'"{source.time_field}"'
    # A cast of a moment to a date asks a calendar: 53 ns a line against 12. Plain moments are of 2000 or later.
    day = f"(DATE '1970-01-01' + (epoch_us({moment}) // {MICROSECONDS_OF_A_DAY})::INTEGER)"
    if source.takes_announcements:
        day = f"least({day}, $received_day::DATE)"
    else:
        plain.append(f"{moment} <= $latest")
    if source.clamp_to_first_day:
        day = f"greatest({day}, $first_day::DATE)"
    else:
        plain.append(f"{day} >= $first_day::DATE")
    raw = ", ".join(f'found."{name}"{_as_text(field)} AS "{name}_json"' for name, field in usual.items())
    typed = ", ".join(f'{_plain_value(field)} AS "{name}"' for name, field in usual.items())
    typed += "" if source.time_field in usual else f", NULL::TIMESTAMPTZ AS {moment}"
    found = f"json_transform(line, '{shape}')"
    if not all_json:  # TRY costs an exception a line where there is no JSON
        found = f"CASE WHEN starts_with(line, '{{') THEN TRY({found}) END"
    return f"""
WITH parsed AS (
  SELECT line_number, line, {found} AS found FROM lines
), fields AS (
  SELECT line_number, line, {raw} FROM parsed
), typed AS (
  SELECT *, {typed} FROM fields
)
SELECT line_number, {day} AS "{source.table.partition}", {", ".join(f'"{name}"' for name in usual)},
  coalesce({" AND ".join(plain)}, false) AS plain
FROM typed
"""


def _spaceless(text: str) -> str:
    return f"replace({text}, ' ', '')"


def _is_text(field: Column) -> bool:
    """Whether the field's values are JSON strings."""
    return not (field.is_json or field.is_position) and field.dtype in (pl.String(), UTC_MICROSECONDS)


def _is_whole(field: Column) -> bool:
    return field.dtype == pl.Int64() and not field.is_position


def _shape(field: Column) -> str:
    """What the JSON parser is to make of a field of a plain line."""
    return "VARCHAR" if _is_text(field) else "BIGINT" if _is_whole(field) else "JSON"


def _as_text(field: Column) -> str:
    return "" if _is_whole(field) else "::VARCHAR"


def _put_back(fields: Mapping[str, Column], habit: Habit) -> str:
    """The line that a producer of this habit writes of the values: key, value, the comma before it."""
    parts: list[str] = []
    between = "{"  # what stands between two values is one text: a quarter of the time of putting a line together
    for number, (name, field) in enumerate(fields.items()):
        value, key = f'"{name}_json"', f'{"," if number else ""}"{name}":'
        quote = '"' if _is_text(field) else ""
        if not field.nullable or name in habit.always:
            parts += [f"'{between}{key}{quote}'", value]
            between = quote
            continue
        if habit.omits_absent and number:
            absent, before = "''", key + quote
        else:
            absent, before, between = "'null'", quote, between + key
        parts.append(f"'{between}'")
        parts.append(f"CASE WHEN {value} IS NULL THEN {absent} ELSE concat('{before}', {value}, '{quote}') END")
        between = ""
    parts.append(f"E'{between}}}\\n'")
    return f"concat({', '.join(parts)})"


def _plain_value(field: Column) -> str:
    """The typed value of a field of a plain line."""
    value = f'"{field.name}_json"'
    if field.dtype == UTC_MICROSECONDS:
        return f"TRY_CAST({value} AS TIMESTAMPTZ)"
    return value if _is_text(field) or field.is_json or _is_whole(field) else _typed(field)


def _is_plain(field: Column, habit: Habit) -> list[str]:
    """What the contract asks of a field's value; absent optional values are plain."""
    raw, value = f'"{field.name}_json"', f'"{field.name}"'
    if field.is_json:
        # What the parser takes for JSON and also writes back as it was.
        terms = [f"starts_with({raw}, '{{')", f"NOT contains({raw}, 'NaN')", f"NOT contains({raw}, 'Infinity')"]
    elif field.is_position:
        terms = [f"{value} IS NOT NULL"]
    elif field.dtype == pl.String():
        # An id that begins with a letter, a digit or a sign of ASCII surely shows: 14 ns a value against 43.
        terms = [f"ascii({value}) BETWEEN 33 AND 126"] if field.min_length else []
    elif field.dtype == UTC_MICROSECONDS:
        terms = [f"{raw} LIKE '{grammar.PLAIN_MOMENT}'", f"strlen({raw}) <= 30", f"{value} IS NOT NULL"]
        terms += [f"NOT contains({raw}, ' ')", f"NOT contains({raw}, '.Z')"]
    else:
        terms = [f"{value} IS NOT NULL"]
    terms += [condition for _, condition in _asked(field, value)]
    always = field.name in habit.always  # without quotes around it, a missing value would be put back as nothing
    return [f"({raw} IS NULL OR {term})" if field.nullable and not always else term for term in terms]


def _literals(values: tuple[Any, ...] | None) -> str:
    return ", ".join(literal(str(value)) for value in values or ())


def careful_sql(source: LandingSource) -> str:
    """One SELECT over the relation `lines` that yields every line with its typed fields and a reason (null: good).

    Built from the contract alone; nothing received enters the text of the query.
    """
    fields = source.fields()
    names = [field.name for field in fields]
    shape = json.dumps({name: "JSON" for name in names})
    known = json.dumps({name: None for name in names})
    moment = f'"{source.time_field}_value"'
    partition = f"{moment}::DATE"
    reasons = [_reason(field) for field in fields]
    if source.takes_announcements:
        partition = f"least({partition}, $received_day::DATE)"
    else:
        reasons.append(f"WHEN {moment} > $latest THEN '{source.time_field}{IN_FUTURE}'")
    if source.clamp_to_first_day:
        partition = f"greatest({partition}, $first_day::DATE)"
    else:
        reasons.append(f"WHEN {moment}::DATE < $first_day::DATE THEN '{source.time_field}_before_first_day'")
    present = " + ".join(f'("{name}_json" IS NOT NULL)::INT' for name in names)
    typed = ",\n    ".join(f'{_typed(field)} AS "{field.name}_value"' for field in fields)
    values = ",\n  ".join(f'"{field.name}_value" AS "{field.name}"' for field in fields)
    as_floats = " OR ".join(_written_as_float(field) for field in fields if field.dtype == pl.Int64()) or "false"
    # Trimming every line would cost as much as parsing it (0.2 s per 90,000 lines): only broken ones are trimmed.
    return f"""
WITH parsed AS (
  SELECT line_number, line,
    CASE WHEN json_valid(line) THEN TRY(json_transform(line, '{shape}')) END AS found,
    CASE WHEN json_valid(line) THEN len(TRY(json_keys(line))) END AS keys
  FROM lines
), fields AS (
  SELECT line_number, line, keys, found IS NULL AS not_json,
    {", ".join(f'found."{name}"::VARCHAR AS "{name}_json"' for name in names)}
  FROM parsed
), typed AS (
  SELECT *, {typed},
    CASE WHEN keys > {present} THEN nullif(json_merge_patch(line, '{known}')::VARCHAR, '{{}}') END AS extra_fields
  FROM fields
), judged AS (
  SELECT *,
    CASE WHEN not_json THEN CASE trim(line, E' \t\r\n')
        WHEN '' THEN '{BLANK_LINE}' WHEN 'null' THEN 'not_an_object' ELSE 'invalid_json' END
      WHEN ltrim(line, E' \t\r')[1] <> '{{' THEN 'not_an_object'
      {" ".join(reasons)} END AS reason,
    regexp_matches(line, '{NO_JSON}') AS doubtful, coalesce({as_floats}, false) AS whole_as_float,
    CASE WHEN not_json THEN false -- TRY costs an exception a line where there is no JSON: 8.8 µs instead of 1
      WHEN {_spaceless(JSON_TEXT)} <> {_spaceless("line")} THEN regexp_matches(line, {literal(RE_SPELT)})
      ELSE false END AS re_spelt
  FROM typed
)
SELECT line_number, CASE WHEN reason IS NOT NULL OR doubtful OR whole_as_float OR re_spelt THEN line END AS line,
  doubtful, whole_as_float, re_spelt, reason,
  {partition} AS "{source.table.partition}",
  {values},
  extra_fields
FROM judged
"""


def _text(name: str) -> str:
    """The string inside a JSON string; json_extract only where there is something to unescape."""
    value = f'"{name}_json"'
    return f"CASE WHEN contains({value}, '\\') THEN json_extract_string({value}, '$') ELSE {value}[2:-2] END"


def _typed(field: Column) -> str:
    """The value of a field, null for what is not written as its type is (see `grammar`)."""
    value = f'"{field.name}_json"'
    if field.is_json:
        return f"CASE WHEN {value}[1] = '{{' THEN {value} END"
    if field.is_position:
        return _position(value)
    if field.dtype == pl.String():
        return f"CASE WHEN {value}[1] = '\"' THEN {_text(field.name)} END"
    if field.dtype == UTC_MICROSECONDS:
        text = _text(field.name)
        moment = f"TRY_CAST({text} AS TIMESTAMPTZ)"
        written = f"{value}[1] = '\"' AND regexp_full_match({text}, '{grammar.MOMENT}')"
        return f"CASE WHEN {written} AND {_in_years(moment)} THEN {moment} END"
    number = f"CASE WHEN {value}[1] BETWEEN '0' AND '9' OR {value}[1] = '-' THEN TRY_CAST({value} AS DOUBLE) END"
    if field.dtype == pl.Float64():
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    if field.dtype == pl.Int64():
        exact = f"{_written_as_float(field)} AND abs({number}) < {grammar.LARGEST_EXACT_FLOAT}"
        written = f"regexp_full_match({value}, '{grammar.WHOLE}') OR {exact}"
        return f"CASE WHEN {written} THEN TRY_CAST({value} AS BIGINT) END"
    raise TypeError(f"{field.table}.{field.name}: lines cannot carry a {field.dtype}")


def _in_years(moment: str) -> str:
    return f"{moment} >= TIMESTAMPTZ '{grammar.FIRST_MOMENT}' AND {moment} < TIMESTAMPTZ '{grammar.AFTER_LAST_MOMENT}'"


def _written_as_float(field: Column) -> str:
    return f"regexp_full_match(\"{field.name}_json\", '{grammar.WHOLE_AS_FLOAT}')"


def _position(value: str) -> str:
    """Decimal digits without leading zeros: of two positions the longer is the later, of equally long ones the larger
    text."""
    text = f"trim({value}, '\"')"
    digits = f"CASE WHEN ltrim({text}, '0') = '' THEN '0' ELSE ltrim({text}, '0') END"
    high, low = (f"TRY_CAST('0x' || split_part({text}, '/', {half}) AS HUGEINT)" for half in (1, 2))
    return (
        f"CASE WHEN regexp_full_match({value}, '{grammar.POSITION}') THEN {digits} "
        f"WHEN regexp_full_match({value}, '{grammar.POSTGRES_POSITION}') THEN ({high} * {2**32} + {low})::VARCHAR END"
    )


def _reason(field: Column) -> str:
    """WHEN branches for one field: missing or empty though required, of the wrong type, or not what its contract
    asks of every row."""
    raw, value, name = f'"{field.name}_json"', f'"{field.name}_value"', field.name
    branches = []
    if not field.nullable:
        branches.append(f"WHEN {raw} IS NULL THEN 'missing_{name}'")
    branches.append(f"WHEN {raw} IS NOT NULL AND {value} IS NULL THEN 'wrong_type_{name}'")
    if field.min_length and not field.nullable:
        branches.append(f"WHEN NOT regexp_matches({value}, '{VISIBLE}') THEN 'missing_{name}'")
    branches += [f"WHEN NOT ({condition}) THEN '{fault}_{name}'" for fault, condition in _asked(field, value)]
    return " ".join(branches)


def _asked(field: Column, value: str) -> list[tuple[str, str]]:
    """(what is wrong otherwise, condition) of every bound that a row must keep to be taken in."""
    if field.severity != Severity.ERROR:
        return []
    asked = []
    if field.isin:
        asked.append(("unknown", f"{value} IN ({_literals(field.isin)})"))
    if field.ge is not None:
        asked.append(("out_of_range", f"{value} >= {field.ge}"))
    if field.le is not None:
        asked.append(("out_of_range", f"{value} <= {field.le}"))
    return asked
