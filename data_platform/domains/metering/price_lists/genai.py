"""The price list of the package genai-prices: dated prices, steps by length of the prompt, tiers, names as clauses.
Not here: other lists (published), what a class is."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from data_platform.core.contract.calendar import midnight
from data_platform.core.errors import PlatformError
from data_platform.domains.metering.price_lists.lines import MILLION, PriceLine, ReadPrices, other_prices
from data_platform.domains.metering.providers import provider_called

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

KEYS: Mapping[str, tuple[str, ...]] = {
    "input": ("input_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_write": ("cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "audio_input": ("input_audio_mtok", "input_mtok"),
    "image_input": ("input_image_mtok", "input_mtok"),
    "output": ("output_mtok",),
    "reasoning": ("output_reasoning_mtok", "output_mtok"),
    "audio_output": ("output_audio_mtok", "output_mtok"),
    "image_output": ("output_image_mtok", "output_mtok"),
}
"""Class → where its price stands, dollars for a million: tokens of a class without a price of its own are, to the list
itself, plain tokens of the prompt or the answer."""
TIERS: Mapping[tuple[tuple[str, str], ...], str] = {
    (("processing", "batch"),): "batch",
    (("service_tier", "flex"),): "flex",
    (("service_tier", "priority"),): "priority",
    (("service_tier", "fast"),): "fast",
    (("speed", "fast"),): "fast",
}
"""What a call must say of itself for other prices → the tier by which we call that."""
Step = tuple[str | None, int, str]
"""Tier, shortest prompt, class."""


def read_genai_prices(valid_from: dt.datetime, source: str | None = None) -> ReadPrices:
    """Lines of the whole list as it stands, from `valid_from` on; of dated prices each from its date on.

    Left out: prices of what is no class of tokens; models whose price depends on the time of day, which are no periods;
    names that only an expression with a look ahead could tell.
    """
    try:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot
    except ModuleNotFoundError as error:
        raise PlatformError(
            "The price list genai-prices is not installed.", "Install it: pip install 'data-platform[metering]'."
        ) from error
    named = source or f"genai-prices {genai_prices.__version__}"
    left_out: Counter[str] = Counter()
    others: Counter[str] = Counter()
    lines: list[PriceLine] = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            pattern = _pattern(model.match, left_out)
            others.update(_others(model.get_prices(valid_from)))
            for moment, changes in _timeline(model, valid_from, left_out):
                for (tier, length, token_class), price in changes.items():
                    lines.append(
                        PriceLine(
                            valid_from=moment,
                            provider=provider_called(provider.id),
                            model=model.id,
                            model_pattern=pattern,
                            service_tier=tier,
                            from_input_tokens=length,
                            token_class=token_class,
                            unit_price=price,
                            per_tokens=MILLION,
                            currency="USD",
                            source=named,
                        )
                    )
    return ReadPrices(lines, left_out | other_prices(others))


def _others(prices: ModelPrice) -> Iterator[str]:
    """Prices that no class has. One of cached sound or pictures that is that of cached text is no other."""
    known = {name for names in KEYS.values() for name in names}
    for name, price in vars(prices).items():
        if price is not None and name not in known and not ("cache" in name and price == prices.cache_read_mtok):
            yield name


def _timeline(
    model: ModelInfo, valid_from: dt.datetime, left_out: Counter[str]
) -> Iterator[tuple[dt.datetime, dict[Step, Decimal | None]]]:
    """Moments at which prices of the model begin, each with the prices that are others from then on."""
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

    dated = model.prices if isinstance(model.prices, list) else []
    constraints = [one.constraint for one in (*dated, *(model.price_variants or ()))]
    if any(isinstance(one, TimeOfDateConstraint) for one in constraints):
        left_out["models whose price depends on the time of day"] += 1
        return
    starts = {one.start_date for one in constraints if isinstance(one, StartDateConstraint)}
    begins = [midnight(day) for day in sorted(starts)]
    held: dict[Step, Decimal] = {}
    for moment in [valid_from, *(begin for begin in begins if valid_from < begin)]:
        current = _prices_at(model, moment, left_out if moment == valid_from else Counter())
        changes: dict[Step, Decimal | None] = {key: price for key, price in current.items() if held.get(key) != price}
        yield moment, changes | dict.fromkeys(held.keys() - current.keys())
        held = current


def _prices_at(model: ModelInfo, moment: dt.datetime, left_out: Counter[str]) -> dict[Step, Decimal]:
    found = _steps(None, model.get_prices(moment))
    for variant in model.price_variants or ():
        when = tuple(sorted(variant.when.items()))
        if when == (("service_tier", "default"),):
            continue
        if (tier := TIERS.get(when)) is None:
            left_out["variants of a price that are no service tier"] += 1
        elif variant.constraint is None or variant.constraint.active(moment):
            found |= _steps(tier, model.get_prices(moment, variant.when))
    return found


def _steps(tier: str | None, prices: ModelPrice) -> dict[Step, Decimal]:
    """Of every length from which a price is another the prices of all classes: a step is for the whole prompt."""
    stated: dict[str, Any] = {name: value for name, value in vars(prices).items() if value is not None}
    starts = {tier.start + 1 for value in stated.values() for tier in getattr(value, "tiers", ())}
    found = {}
    for length in (0, *sorted(starts)):
        for token_class, names in KEYS.items():
            value = next((stated[name] for name in names if name in stated), None)
            if value is not None:
                found[tier, length, token_class] = _at_length(value, length)
    return found


def _at_length(value: Any, length: int) -> Decimal:
    price: Decimal = getattr(value, "base", value)
    for step in getattr(value, "tiers", ()):
        if length > step.start:
            price = step.price
    return price


# ------------------------------------------------------------------------------------------------- names
def _pattern(clause: Any, left_out: Counter[str]) -> str | None:
    """The clause as an expression of the whole name, in whatever case; None where no name can be told."""
    parts = [part for part in _alternatives(clause, left_out) if part]
    return f"(?i:{'|'.join(parts)})" if parts else None


def _alternatives(clause: Any, left_out: Counter[str]) -> Iterator[str]:
    kind = type(clause).__name__
    if kind == "ClauseOr":
        for one in clause.or_:
            yield from _alternatives(one, left_out)
    elif kind == "ClauseEquals":
        yield re.escape(clause.equals)
    elif kind == "ClauseStartsWith":
        yield f"{re.escape(clause.starts_with)}.*"
    elif kind == "ClauseEndsWith":
        yield f".*{re.escape(clause.ends_with)}"
    elif kind == "ClauseContains":
        yield f".*{re.escape(clause.contains)}.*"
    elif kind == "ClauseRegex" and "(?" not in clause.regex:
        begins, ends = clause.regex.startswith("^"), clause.regex.endswith("$")
        yield f"{'' if begins else '.*'}(?:{clause.regex.removeprefix('^').removesuffix('$')}){'' if ends else '.*'}"
    else:
        left_out["names that only a look ahead could tell"] += 1
