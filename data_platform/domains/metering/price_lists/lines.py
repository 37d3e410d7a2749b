"""A line of `landing/model_prices`, and what every reader of a price list needs to make some.
Not here: any particular list."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

MILLION = 1_000_000
ANY_PROVIDER = "*"


@dataclass(frozen=True)
class PriceLine:
    """What one class of one model costs from a moment on; fields as in `raw/model_prices`. No price ends the price."""

    valid_from: dt.datetime
    provider: str
    model: str
    token_class: str
    unit_price: Decimal | None
    currency: str
    source: str
    per_tokens: int = 1
    model_pattern: str | None = None
    tenant_id: str | None = None
    region: str | None = None
    service_tier: str | None = None
    from_input_tokens: int = 0
    valid_to: dt.datetime | None = None
    known_from: dt.datetime | None = None

    def as_json(self) -> dict[str, str | int]:
        """The fields that say something; a price is text, which no reader of JSON rounds."""
        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        price = None if self.unit_price is None else format(self.unit_price, "f")
        moments = {name: value.isoformat() for name, value in said.items() if isinstance(value, dt.datetime)}
        return {name: value for name, value in {**said, **moments, "unit_price": price}.items() if value is not None}


@dataclass(frozen=True)
class ReadPrices:
    """What was read of a list."""

    lines: list[PriceLine]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why models, prices or names of models have no lines → how many."""


def by_class(stated: Mapping[str, Decimal], keys: Mapping[str, Iterable[str]]) -> dict[str, Decimal]:
    """Prices by our classes: of each the first of its keys that the list has."""
    found = {}
    for token_class, names in keys.items():
        price = next((stated[name] for name in names if name in stated), None)
        if price is not None:
            found[token_class] = price
    return found


def other_prices(kinds: Counter[str]) -> dict[str, int]:
    """What is said to be left out of prices by anything but a class of tokens: requests, searches, cached sound."""
    return {f"prices of what is no class of tokens ({', '.join(sorted(kinds))})": kinds.total()} if kinds else {}
