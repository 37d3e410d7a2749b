"""Savings of a month in sentences that need no table in front of them. Not here: how they are worked out."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from data_platform.core.errors import counted
from data_platform.domains.metering.currencies import DECIMALS
from data_platform.domains.metering.money import rounded

MOST_TOLD = 20
WHAT_TO_DO = {
    "cheaper_model": "call {instead} instead of {model}",
    "prompt_caching": "let {model} cache prompts that begin alike",
    "batch": "send calls of {model} as batches",
    "no_failed_calls": "prevent calls of {model} that fail",
}


def summed_up(opportunities: pl.LazyFrame, tenant: str | None = None) -> pl.DataFrame:
    """SavingsOpportunities by tenant, kind, model and what instead, the largest first."""
    key = ["tenant_id", "kind_of_saving", "provider", "model", "instead", "currency"]
    wanted = opportunities if tenant is None else opportunities.filter(pl.col("tenant_id") == tenant)
    summed = wanted.group_by(key).agg(
        pl.col("calls", "cost", "would_cost", "saved").sum(), days=pl.col("usage_date").n_unique()
    )
    return summed.sort("saved", *key, descending=[True, *([False] * len(key))]).collect()


def in_words(found: pl.DataFrame) -> Iterator[str]:
    """A sentence for each of the largest, money in whole cents; then how many are left out."""
    for row in found.head(MOST_TOLD).iter_rows(named=True):
        cost, would, saved = (_money(row[name], row["currency"]) for name in ("cost", "would_cost", "saved"))
        what = WHAT_TO_DO[row["kind_of_saving"]].format(
            model=f"{row['provider']} {row['model']}", instead=row["instead"]
        )
        yield (
            f"{row['tenant_id']} saves {saved}: {what}. {counted(row['calls'], 'call')} on "
            f"{counted(row['days'], 'day')} cost {cost} and would have cost {would}."
        )
    if len(found) > MOST_TOLD:
        yield f"And {len(found) - MOST_TOLD} smaller ones (--json shows all)."


def _money(amount: Decimal, currency: str) -> str:
    """Whole cents; more digits where that would be nothing."""
    short = rounded(amount, DECIMALS.get(currency, 2))
    return f"{short:,f} {currency}" if short or not amount else f"{amount.normalize():f} {currency}"
