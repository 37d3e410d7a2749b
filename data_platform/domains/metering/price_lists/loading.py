"""A price list of whatever kind put into landing, as lines of `model_prices`.
Not here: any kind's own shape, what becomes of the lines."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from data_platform.core.errors import PlatformError
from data_platform.domains.metering.price_lists.company import read_company
from data_platform.domains.metering.price_lists.genai import read_genai_prices
from data_platform.domains.metering.price_lists.lines import PriceLine, ReadPrices
from data_platform.domains.metering.price_lists.published import read_langfuse, read_litellm
from data_platform.domains.metering.providers import provider_called
from data_platform.domains.metering.sources import MODEL_PRICES
from data_platform.domains.metering.transforms.price_changes import unit_price

GENAI_PRICES = "genai-prices"


def read_prices(
    listed: str,
    valid_from: dt.datetime | None,
    source: str | None = None,
    provider: str | None = None,
    tenant: str | None = None,
) -> ReadPrices:
    """Lines of `genai-prices`, or of a file, told by its content: a company's CSV or JSON, Langfuse's, LiteLLM's JSON.

    `provider` is that of a list that names none, `tenant` whose prices they are. Raises PlatformError for what is no
    price list.
    """
    provider = provider_called(provider) if provider else None
    if listed == GENAI_PRICES:
        found = read_genai_prices(_required(valid_from), source)
    else:
        found = _of_file(Path(listed), valid_from, source, provider)
    lines = [replace(line, tenant_id=tenant) for line in found.lines] if tenant else found.lines
    lines, left_out = _exact(lines, found.left_out)
    if not lines:
        raise PlatformError(f"{listed} has no prices.", "See `data-platform prices load --help` for what can be read.")
    return ReadPrices(lines, left_out)


def _exact(lines: list[PriceLine], left_out: Mapping[str, int]) -> tuple[list[PriceLine], dict[str, int]]:
    """The lines of models all of whose prices can be kept as they are, and how many models have others. Without one of
    its prices a model would go on at the price before it, or at that of a shorter prompt."""
    inexact = {(line.provider, line.model) for line in lines if isinstance(_kept(line), str)}
    kept = [line for line in lines if (line.provider, line.model) not in inexact]
    return kept, {**left_out, "models with a price that could not be kept exactly": len(inexact)}


def _kept(line: PriceLine) -> Decimal | str | None:
    return unit_price(None if line.unit_price is None else format(line.unit_price, "f"), line.per_tokens)


def _of_file(path: Path, valid_from: dt.datetime | None, source: str | None, provider: str | None) -> ReadPrices:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise PlatformError(f"{path} is no text in UTF-8.", "Save it as CSV or JSON in UTF-8.") from None
    except OSError as error:
        raise PlatformError(f"{path} cannot be read: {error.strerror}.", "Is the path right?") from None
    named = source or path.stem
    try:
        if path.suffix.lower() == ".csv":
            rows = list(enumerate(csv.DictReader(io.StringIO(text), strict=True), 2))
            return ReadPrices(read_company(rows, valid_from, named))
        if path.suffix.lower() in (".ndjson", ".jsonl"):
            lines = [(number, _json(line, number)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
            return ReadPrices(read_company([_object(*line) for line in lines], valid_from, named))
        content = _json(text, None)
        if isinstance(content, list) and any(isinstance(one, Mapping) and "pricingTiers" in one for one in content):
            return read_langfuse(content, _required(valid_from), named, provider)
        if isinstance(content, Mapping) and any(isinstance(one, Mapping) for one in content.values()):
            for name, facts in content.items():
                _object(name, facts)
            return read_litellm(content, _required(valid_from), named, provider)
        if isinstance(content, list):
            return ReadPrices(read_company([_object(*row) for row in enumerate(content, 1)], valid_from, named))
    except csv.Error as error:
        raise PlatformError(f"{path} is no CSV: {error}.", "Write a header and one price per row.") from None
    except PlatformError as error:
        raise PlatformError(f"{path}: {error.problem}", error.remedy) from None
    raise PlatformError(f"{path} is no price list.", "See `data-platform prices load --help` for what can be read.")


def _json(text: str, line: int | None) -> Any:
    """Numbers with a point are decimals as they are written, not the floats next to them."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_number)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"Line {line}" if line else f"Line {getattr(error, 'lineno', '?')}"
        raise PlatformError(f"{where} is no JSON: {getattr(error, 'msg', 'too deep')}.", "Correct the file.") from None


def _no_number(name: str) -> Any:
    raise PlatformError(f"{name} is no number.", "Write a decimal.")


def _object(where: int | str, row: Any) -> tuple[Any, Mapping[str, Any]]:
    if not isinstance(row, Mapping):
        raise PlatformError(f"Row {where} is no object of fields.", "Write one price per row.")
    return where, row


def _required(valid_from: dt.datetime | None) -> dt.datetime:
    if valid_from is None:
        raise PlatformError("The list does not say from when on its prices hold.", "Give it: --valid-from 2024-01-01.")
    return valid_from


def land(lines: list[PriceLine], landing: Path) -> Path:
    """Put the lines into landing, whole or not at all; the same lines twice are the same file, taken in once."""
    content = "".join(json.dumps(line.as_json(), sort_keys=True) + "\n" for line in lines).encode()
    folder = landing / MODEL_PRICES.name
    folder.mkdir(parents=True, exist_ok=True)
    name = f"prices-{hashlib.blake2b(content, digest_size=8).hexdigest()}.ndjson"
    hidden = folder / f".{name}.{os.getpid()}"
    hidden.write_bytes(content)
    hidden.rename(folder / name)
    return folder / name
