"""What models cost in the pretend world, as lines of a price list and as whole numbers to count true costs with.
Prices resemble real ones; one model becomes cheaper on a day, and one tenant has a contract of its own.
Not here: who calls them (tenants)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from data_platform.domains.metering.simulation.tenants import MODERATION
from data_platform.simulation.text import Ints, iso

PICO = 10**12
"""Parts of a dollar that true costs are counted in: a whole number of them for every price here, so sums are exact."""
_PER_TOKENS = 1_000_000
UNPRICED_MODEL = "experimental-xl"
"""Called by some, and on no price list."""


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens of each class of a model."""

    provider: str
    model: str
    dollars: Mapping[str, str]
    tier: str | None = None
    tenant: str | None = None

    def pico(self, token_class: str) -> int:
        """Of one token."""
        exact = Decimal(self.dollars[token_class]) * PICO / _PER_TOKENS
        assert exact == int(exact), self
        return int(exact)


_CLAUDE = {"input": "3", "cache_read": "0.3", "cache_write": "3.75", "output": "15"}
_CHEAPER = {"input": "2", "cache_read": "0.2", "cache_write": "2.5", "output": "10"}
_GPT_5 = {"input": "1.25", "cache_read": "0.125", "output": "10", "reasoning": "10"}
_GPT_5_MINI = {"input": "0.25", "cache_read": "0.025", "output": "2", "reasoning": "2"}

AT_FIRST = (
    Price("anthropic", "claude-sonnet-4-5", _CLAUDE),
    Price("openai", "gpt-5", _GPT_5),
    Price("openai", "gpt-5-mini", _GPT_5_MINI),
    Price("openai", "gpt-5-mini", {"input": "0.125", "cache_read": "0.0125", "output": "1", "reasoning": "1"}, "batch"),
    Price("google", "gemini-2.5-flash", {"input": "0.3", "cache_read": "0.03", "output": "2.5", "reasoning": "2.5"}),
    Price("bedrock", "amazon.nova-lite-v1:0", {"input": "0.06", "output": "0.24"}),
    Price("bedrock", "amazon.nova-lite-v1:0", {"input": "0.05", "output": "0.2"}, tenant=MODERATION.name),
)
CHANGED = (Price("anthropic", "claude-sonnet-4-5", _CHEAPER),)


def price_lines(prices: tuple[Price, ...], valid_from: int, source: str) -> pl.Series:
    """Lines of a price list that holds from a moment (milliseconds) on, one JSON object each."""
    rows = [
        {"valid_from": valid_from, "provider": price.provider, "model": price.model, "tenant_id": price.tenant,
         "service_tier": price.tier, "token_class": name, "unit_price": dollars, "per_tokens": _PER_TOKENS,
         "currency": "USD", "source": source}
        for price in prices
        for name, dollars in price.dollars.items()
    ]  # fmt: skip
    listed = pl.DataFrame(rows, schema_overrides={"tenant_id": pl.String, "service_tier": pl.String})
    written = listed.with_columns(iso("valid_from").alias("valid_from")).write_ndjson()
    return pl.Series(written.splitlines(), dtype=pl.String)


def true_costs(calls: pl.DataFrame, changed_at: int) -> Ints:
    """What each call costs, in parts of a dollar (PICO); -1 where its model has no price.

    Each price is laid over the calls that it is for, one after the other, those of a tenant's own last.
    """
    costs: Ints = pl.Series([-1], dtype=pl.Int64).new_from_index(0, len(calls)).to_numpy().copy()
    started = calls["started_at"].to_numpy()
    for price in (*AT_FIRST, *CHANGED):
        meant = (calls["provider"] == price.provider) & (calls["model"] == price.model)
        meant &= calls["service_tier"].eq_missing(pl.Series([price.tier], dtype=pl.String))
        if price.tenant is not None:
            meant &= calls["tenant_id"].fill_null("") == price.tenant
        cost: Ints = sum((calls[name].to_numpy() * price.pico(name) for name in price.dollars), start=0 * started)
        chosen = meant.to_numpy() & ((started >= changed_at) | (price not in CHANGED))
        costs[chosen] = cost[chosen]
    return costs
