"""A field of JSON objects as text, whatever is in the others. Not here: what a field means."""

from __future__ import annotations

import json
from typing import Any

import polars as pl


def json_field(objects: pl.Series, name: str) -> pl.Series:
    """A field of minified JSON objects as text, by the field's name; null where it is absent or null."""
    found = objects.str.json_path_match(f"$.{name}")
    # Half of a surrogate pair, or JSON of 128 levels, is nothing to that parser: Python takes a second look.
    doubtful = (found.is_null() & objects.str.contains(f'"{name}":', literal=True)).arg_true()
    if doubtful.is_empty():
        return found.alias(name)
    second = [_field_of(data, name) for data in objects.gather(doubtful)]
    return found.scatter(doubtful, pl.Series(second, dtype=pl.String)).alias(name)


def as_words(value: Any) -> str:
    """A JSON value as text that can be stored: half of a surrogate pair is a question mark."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()


def _field_of(data: str, name: str) -> str | None:
    try:
        value = json.loads(data).get(name)
    except (ValueError, RecursionError):
        return None
    return None if value is None else as_words(value)
