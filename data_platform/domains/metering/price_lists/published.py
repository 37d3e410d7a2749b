"""Price lists that others publish as JSON: Langfuse's default model prices, and the one of LiteLLM and tokencost.
Not here: the package genai-prices (genai), a company's own file (company)."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from data_platform.core.errors import PlatformError
from data_platform.domains.metering.price_lists.lines import ANY_PROVIDER, PriceLine, ReadPrices, by_class, other_prices
from data_platform.domains.metering.providers import provider_called

LANGFUSE: Mapping[str, tuple[str, ...]] = {
    "input": ("input", "input_tokens", "input_text", "input_text_tokens"),
    "cache_read": ("input_cache_read", "cache_read_input_tokens", "input_cached_tokens", "input_cached_text_tokens"),
    "cache_write": (
        "input_cache_creation_5m", "input_cache_creation", "cache_creation_input_tokens", "cache_write_tokens",
    ),
    "cache_write_1h": ("input_cache_creation_1h",),
    "audio_input": ("input_audio", "input_audio_tokens"),
    "image_input": ("input_image",),
    "output": ("output", "output_tokens", "output_text", "output_text_tokens"),
    "reasoning": ("output_reasoning", "output_reasoning_tokens", "reasoning_tokens", "output", "output_tokens"),
    "audio_output": ("output_audio", "output_audio_tokens"),
}  # fmt: skip
"""Class → keys of Langfuse's prices. Its reasoning is output, where it has no price of its own."""
LITELLM: Mapping[str, tuple[str, ...]] = {
    "input": ("input_cost_per_token",),
    "cache_read": ("cache_read_input_token_cost", "input_cost_per_token_cache_hit"),
    "cache_write": ("cache_creation_input_token_cost",),
    "cache_write_1h": ("cache_creation_input_token_cost_above_1hr",),
    "audio_input": ("input_cost_per_audio_token",),
    "image_input": ("input_cost_per_image_token",),
    "output": ("output_cost_per_token",),
    "reasoning": ("output_cost_per_reasoning_token", "output_cost_per_token"),
    "audio_output": ("output_cost_per_audio_token",),
    "image_output": ("output_cost_per_image_token",),
}
ABOVE = re.compile(r"_above_(\d+)k_tokens")
SUFFIXES = {"_batches": "batch", "_flex": "flex", "_priority": "priority"}
"""How LiteLLM's keys end → the tier."""
REGIONAL = re.compile(r"(bedrock|azure)/([^/]+)/(.+)")


# ---------------------------------------------------------------------------------------------- Langfuse
def read_langfuse(models: Sequence[Any], valid_from: dt.datetime, source: str, provider: str | None) -> ReadPrices:
    """Lines of Langfuse's list, which names no providers: for usage of whichever, or of the one that is given."""
    left_out: Counter[str] = Counter()
    others: Counter[str] = Counter()
    lines: list[PriceLine] = []
    for number, model in enumerate(models, 1):
        where = f"model {number}"
        name = _said(model, "modelName", where)
        for tier in _said(model, "pricingTiers", where):
            stated = {
                key: _price(value, f"{where} ({name})", key) for key, value in _said(tier, "prices", where).items()
            }
            others.update(_others(stated, LANGFUSE))
            terms = _langfuse_terms(tier.get("conditions") or [])
            if terms is None:
                left_out["tiers with conditions that are no service tier and no length"] += 1
            for service_tier, length in terms or ():
                for token_class, price in by_class(stated, LANGFUSE).items():
                    lines.append(
                        PriceLine(
                            valid_from=valid_from,
                            provider=provider or ANY_PROVIDER,
                            model=name,
                            model_pattern=model.get("matchPattern"),
                            service_tier=service_tier,
                            from_input_tokens=length,
                            token_class=token_class,
                            unit_price=price,
                            currency="USD",
                            source=source,
                        )
                    )
    return ReadPrices(lines, left_out | other_prices(others))


def _langfuse_terms(conditions: Sequence[Mapping[str, Any]]) -> list[tuple[str | None, int]] | None:
    """The service tiers and the length that a tier is for; None for what is neither."""
    tiers: list[str | None] = [None]
    length = 0
    for condition in conditions:
        operator, value = condition.get("operator"), condition.get("value")
        if condition.get("key") in ("service_tier", "speed") and operator == "in":
            tiers = list(condition.get("values") or [])
        elif "usageDetailPattern" in condition and operator == "gt" and isinstance(value, int):
            length = value + 1
        else:
            return None
    return [(tier, length) for tier in tiers]


# ----------------------------------------------------------------------------------------------- LiteLLM
def read_litellm(models: Mapping[str, Any], valid_from: dt.datetime, source: str, provider: str | None) -> ReadPrices:
    """Lines of the list that LiteLLM and tokencost share: prices of a token, in dollars."""
    left_out: Counter[str] = Counter()
    others: Counter[str] = Counter()
    lines: list[PriceLine] = []
    for name, facts in models.items():
        if name == "sample_spec":
            continue
        prices = {
            key: _price(value, f"model {name}", key)
            for key, value in facts.items()
            if "cost" in key and isinstance(value, int | Decimal)
        }
        others.update(_others({_without_terms(key) for key in prices}, LITELLM))
        found = list(_litellm_terms(prices))
        if not found:
            left_out["models without a price of tokens"] += 1
        region, model, pattern = _place(name)
        for tier, length, token_class, price in found:
            lines.append(
                PriceLine(
                    valid_from=valid_from,
                    provider=provider or _litellm_provider(facts.get("litellm_provider")),
                    model=model,
                    model_pattern=pattern,
                    region=region,
                    service_tier=tier,
                    from_input_tokens=length,
                    token_class=token_class,
                    unit_price=price,
                    currency="USD",
                    source=source,
                )
            )
    return ReadPrices(lines, left_out | other_prices(others))


def _litellm_terms(prices: Mapping[str, Decimal]) -> Iterator[tuple[str | None, int, str, Decimal]]:
    """Tier, shortest prompt, class and price. A step has the prices of all classes, those that it does not change too:
    it is for the whole prompt."""
    lengths = sorted({int(found[1]) * 1000 for key in prices if (found := ABOVE.search(key))})
    for length in (0, *lengths):
        stated = {key: price for key, price in prices.items() if not ABOVE.search(key)}
        for step in lengths:
            mark = f"_above_{step // 1000}k_tokens"
            if step <= length:
                stated |= {key.replace(mark, ""): price for key, price in prices.items() if mark in key}
        for token_class, price in by_class(stated, LITELLM).items():
            yield None, length + 1 if length else 0, token_class, price
    for suffix, tier in SUFFIXES.items():
        stated = {key.removesuffix(suffix): price for key, price in prices.items() if key.endswith(suffix)}
        for token_class, price in by_class(stated, LITELLM).items():
            yield tier, 0, token_class, price


def _without_terms(key: str) -> str:
    """The key of the same price for interactive calls of any length."""
    plain = ABOVE.sub("", key)
    return next((plain.removesuffix(suffix) for suffix in SUFFIXES if plain.endswith(suffix)), plain)


def _others(stated: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Keys of prices that no class has."""
    yield from (key for key in stated if not any(key in names for names in known.values()))


def _place(name: str) -> tuple[str | None, str, str | None]:
    """Region, model, and what else it is called: `bedrock/us-east-1/anthropic.claude-v2` and `azure/eu/gpt-4o` name
    one; `gemini/gemini-2.5-pro` is called `gemini-2.5-pro` by Google, which may also be another entry."""
    if found := REGIONAL.fullmatch(name):
        return found[2], found[3], re.escape(name)
    first, _, rest = name.partition("/")
    return None, name, re.escape(rest) if rest and first else None


def _litellm_provider(named: str | None) -> str:
    """Our word; of `vertex_ai-language-models` what is before the kind of model."""
    return provider_called(str(named).split("-")[0] if str(named).startswith("vertex_ai") else str(named))


# ---------------------------------------------------------------------------------------------- what is wrong
def _said(of: Any, name: str, where: str) -> Any:
    if not isinstance(of, Mapping) or name not in of:
        raise PlatformError(f"{where} of the price list has no {name}.", "Is it the list that it is taken for?")
    return of[name]


def _price(value: Any, where: str, field: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or Decimal(value) < 0:
        raise PlatformError(f"{where}, {field}: {value!r} is no price.", "Write a number of 0 or more.")
    return Decimal(value)
