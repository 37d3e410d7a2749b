"""A company's own price file, CSV or JSON: its contracts and discounts, in the fields of `raw/model_prices`.
Not here: lists that others publish (published, genai)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from data_platform.core.errors import PlatformError
from data_platform.core.moments import read_moment
from data_platform.domains.metering.currencies import DECIMALS
from data_platform.domains.metering.price_lists.lines import PriceLine
from data_platform.domains.metering.token_classes import TOKEN_CLASSES
from data_platform.domains.metering.transforms.price_changes import unit_price, whole_name

REQUIRED = ("provider", "model", "token_class", "currency")
TEXTS = (*REQUIRED, "model_pattern", "tenant_id", "region", "service_tier", "source")
MOMENTS = ("valid_from", "valid_to", "known_from")
NUMBERS = ("per_tokens", "from_input_tokens")
FIELDS = (*TEXTS, *MOMENTS, *NUMBERS, "unit_price")
PROBLEMS = {
    "invalid_price": "is no decimal number",
    "negative_price": "is below 0",
    "price_too_large": "is more than 1000 for one token",
    "price_too_fine": "has more than 18 decimals for one token",
    "invalid_per_tokens": "is for no tokens: per_tokens must be 1 or more",
}


def read_company(
    rows: Sequence[tuple[int, Mapping[str, Any]]], valid_from: dt.datetime | None, source: str
) -> list[PriceLine]:
    """Lines of a file whose rows (number, fields) have the fields of `raw/model_prices`; an empty field is none.

    Raises PlatformError for the first row that could be no price, naming row and field: nothing of the file is taken.
    """
    return [_line(number, {k: _filled(v) for k, v in row.items()}, valid_from, source) for number, row in rows]


def _filled(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _line(number: int, row: Mapping[Any, Any], valid_from: dt.datetime | None, source: str) -> PriceLine:
    if None in row:  # what csv calls fields beyond the header
        raise _wrong(number, "the end", "has more fields than the header")
    if unknown := [name for name in row if name not in FIELDS]:
        raise _wrong(number, str(unknown[0]), f"is no field of a price; there are {', '.join(FIELDS)}")
    for name in REQUIRED:
        if row.get(name) is None:
            raise _wrong(number, name, "is missing")
    texts = {name: _text(number, name, row.get(name)) for name in TEXTS}
    moments = {name: _moment(number, name, row.get(name)) for name in MOMENTS}
    numbers = {name: _number(number, name, row.get(name)) for name in NUMBERS}
    begin = moments["valid_from"] or valid_from
    if begin is None:
        raise _wrong(number, "valid_from", "is missing: write it, or give --valid-from for all")
    if moments["valid_to"] and moments["valid_to"] <= begin:
        raise _wrong(number, "valid_to", "is not after valid_from")
    if texts["token_class"] not in TOKEN_CLASSES:
        raise _wrong(number, "token_class", f"{texts['token_class']!r} is none of {', '.join(TOKEN_CLASSES)}")
    if texts["currency"] not in DECIMALS:
        raise _wrong(number, "currency", f"{texts['currency']!r} is no currency of ISO 4217")
    if (numbers["from_input_tokens"] or 0) < 0:
        raise _wrong(number, "from_input_tokens", "is below 0")
    _require_pattern(number, texts["model_pattern"])
    per_tokens = 1 if numbers["per_tokens"] is None else numbers["per_tokens"]
    price = _price(number, row.get("unit_price"), per_tokens)
    return PriceLine(
        valid_from=begin,
        valid_to=moments["valid_to"],
        known_from=moments["known_from"],
        provider=str(texts["provider"]),
        model=str(texts["model"]),
        model_pattern=texts["model_pattern"],
        tenant_id=texts["tenant_id"],
        region=texts["region"],
        service_tier=texts["service_tier"],
        from_input_tokens=numbers["from_input_tokens"] or 0,
        token_class=str(texts["token_class"]),
        unit_price=price,
        per_tokens=per_tokens,
        currency=str(texts["currency"]),
        source=texts["source"] or source,
    )


def _price(number: int, stated: Any, per_tokens: int) -> Decimal | None:
    """As it is written; JSON's numbers come as decimals, never as floats."""
    text = stated if isinstance(stated, str) or stated is None else str(stated)
    problem = "invalid_price" if isinstance(stated, bool) else unit_price(text, per_tokens)
    if isinstance(problem, str):
        raise _wrong(number, "unit_price", f"{stated!r} {PROBLEMS[problem]}")
    return None if text is None else Decimal(text.strip())


def _text(number: int, name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _wrong(number, name, f"{value!r} is no text")
    return value.strip() if value is not None else None


def _number(number: int, name: str, value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,15}\s*", value):
        return int(value)
    raise _wrong(number, name, f"{value!r} is no whole number")


def _moment(number: int, name: str, value: Any) -> dt.datetime | None:
    if value is None:
        return None
    try:
        return read_moment(str(value).strip())
    except ValueError:
        raise _wrong(number, name, f"{value!r} is no date, as 2024-03-01, or moment, as 2024-03-01T12:00:00Z") from None


def _require_pattern(number: int, pattern: str | None) -> None:
    import polars as pl

    if pattern is not None:
        try:
            pl.Series([""]).str.contains(whole_name(pattern))
        except pl.exceptions.PolarsError as error:
            raise _wrong(number, "model_pattern", f"{pattern!r} is no regular expression: {error}") from None


def _wrong(number: int, field: str, what: str) -> PlatformError:
    return PlatformError(f"Row {number}, {field}: {what}.", "Correct the file; nothing of it was taken.")
