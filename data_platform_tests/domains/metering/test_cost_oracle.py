"""Costs against a naive oracle over a thousand random histories: equal to the last digit, in whatever batches they were
received; what corrections made of them sums up to the difference. Not here: the same through Dagster (test_cost_days).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from unittest import mock

import polars as pl
import pytest

from data_platform.core.lake.bitemporal import changed_rows
from data_platform.domains.metering.contracts.billing import TenantSkuCosts
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.money import EXACT
from data_platform.domains.metering.transforms import parts
from data_platform.domains.metering.transforms.adjustments import adjustments
from data_platform.domains.metering.transforms.clean_usage import clean_usage
from data_platform.domains.metering.transforms.costs import PricedCalls, price_calls
from data_platform.domains.metering.transforms.price_changes import sort_prices
from data_platform.domains.metering.transforms.rate_cards import rate_cards
from data_platform.domains.metering.transforms.rollups import daily_costs
from data_platform.domains.metering.transforms.sku_costs import sku_costs
from data_platform_tests.support.cost_oracle import Prices, acceptable, billed
from data_platform_tests.support.price_histories import (
    BATCHES,
    DAYS,
    History,
    history,
    raw_names,
    raw_prices,
    raw_usage,
)

HISTORIES, TOGETHER = 1000, 100
DAY = pl.col("usage_date")


def received(histories: list[History], batches: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Raw prices, raw names and raw usage of the first so many batches."""
    lines = [line for one in histories for batch in one.prices[:batches] for line in batch]
    names = [line for one in histories for batch in one.names[:batches] for line in batch]
    reports = [report for one in histories for batch in one.reports[:batches] for report in batch]
    return raw_prices(lines), raw_names(names), raw_usage(reports)


def computed(
    prices: pl.DataFrame, names: pl.DataFrame, usage: pl.DataFrame, days: list[dt.date]
) -> tuple[pl.DataFrame, pl.DataFrame, PricedCalls]:
    """Rate cards, calls and costs of the days, each from what the assets give a day."""
    until = pl.col("valid_date") <= days[-1]
    cards = rate_cards(sort_prices(prices).changes.lazy().filter(until), names.lazy().filter(until), days)
    around = usage.filter(DAY.is_in([days[0] - dt.timedelta(1), days[-1] + dt.timedelta(1)]))
    calls = clean_usage(usage.filter(DAY.is_in(days)), around.lazy()).clean
    return cards, calls, price_calls(calls, cards)


def ordered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(pl.all())


@pytest.mark.parametrize("first", range(0, HISTORIES, TOGETHER))
def test_every_cost_equals_the_oracle(first: int) -> None:
    histories = [history(seed) for seed in range(first, first + TOGETHER)]
    prices, names, usage = received(histories, BATCHES)
    cards, calls, priced = computed(prices, names, usage, DAYS)
    found = {(row["usage_id"], row["tenant_id"]): row for row in priced.costs.iter_rows(named=True)}
    missing: dict[tuple[str, str], set[tuple[str, int, str]]] = {}
    for row in priced.unpriced.iter_rows(named=True):
        key = (row["usage_id"], row["tenant_id"])
        missing.setdefault(key, set()).add((row["token_class"], row["tokens"], row["reason"]))
    expected = 0
    for one in histories:
        known = Prices(*([line for batch in said for line in batch] for said in (one.prices, one.names)))
        for call in billed([report for batch in one.reports for report in batch]):
            said, key = known.cost(call), (call["usage_id"], call["tenant_id"])
            assert found[key]["cost"] == said.cost, (call, said, found[key])
            assert found[key]["currency"] == said.currency, (call, said, found[key])
            assert missing.get(key, set()) == set(said.missing), (call, said)
            assert (found[key]["cost"] is None) == bool(said.missing)
            expected += 1
    assert len(found) == expected
    lines = [line for one in histories for batch in one.prices for line in batch]
    rejected = sort_prices(prices).rejected
    assert len(rejected) <= sum(not acceptable(line) for line in lines), "equal lines are rejected once"
    assert rejected.is_empty() == all(map(acceptable, lines))
    assert_skus_sum_to_the_costs(calls, cards, priced.costs)


def assert_skus_sum_to_the_costs(calls: pl.DataFrame, cards: pl.DataFrame, costs: pl.DataFrame) -> None:
    """Each row is whole tokens at one price of one thing, and together they are what the calls cost."""
    with mock.patch.object(parts, "PART_CALLS", len(costs) // 3):
        skus = sku_costs(calls.lazy(), costs.lazy(), cards.lazy())
    assert ordered(skus).equals(ordered(sku_costs(calls.lazy(), costs.lazy(), cards.lazy())))
    rows: dict[tuple[Any, ...], Decimal] = {}
    things: dict[tuple[str, str], tuple[str, Decimal]] = {}
    for row in skus.iter_rows(named=True):
        assert row["cost"] == EXACT.multiply(row["tokens"], row["unit_price"])
        key = tuple(row[name] for name in ("usage_date", "tenant_id", "provider", "model", "currency"))
        rows[key] = EXACT.add(rows.get(key, Decimal(0)), row["cost"])
        thing = (row["sku_id"], row["unit_price"])
        assert things.setdefault((row["price_id"], row["token_class"]), thing) == thing
    sums = daily_costs(costs.lazy()).filter(pl.col("currency") != "").collect()
    expected: dict[tuple[Any, ...], Decimal] = {}
    for row in sums.iter_rows(named=True):
        key = tuple(row[name] for name in ("usage_date", "tenant_id", "provider", "model", "currency"))
        expected[key] = EXACT.add(expected.get(key, Decimal(0)), row["cost"])
    assert {key: cost for key, cost in expected.items() if cost} == {key: cost for key, cost in rows.items() if cost}
    assert skus.select(TenantSkuCosts.primary_key).is_unique().all()


@pytest.mark.parametrize("first", [0, 500])
def test_any_batches_equal_one_build_and_adjustments_sum_to_the_difference(first: int) -> None:
    """Each batch computes the days again whose cards or calls changed, and no others."""
    histories = [history(seed) for seed in range(first, first + TOGETHER)]
    cards: dict[dt.date, pl.DataFrame] = {}
    seen: dict[dt.date, pl.DataFrame] = {}
    costs: dict[dt.date, pl.DataFrame] = {}
    sums: dict[dt.date, pl.DataFrame] = {}
    begun: dict[tuple[Any, ...], Decimal] = {}
    journal: list[pl.DataFrame] = []
    for batch in range(1, BATCHES + 1):
        prices, names, usage = received(histories, batch)
        at = dt.datetime(2024, 2, batch, tzinfo=dt.UTC)
        for day in DAYS:
            card, _, priced = computed(prices, names, usage, [day])
            near = ordered(usage.filter((DAY - day).dt.total_days().abs() <= 1))
            if day in cards and cards[day].equals(ordered(card)) and seen[day].equals(near):
                continue
            cards[day], seen[day], costs[day] = ordered(card), near, priced.costs
            now = daily_costs(priced.costs.lazy()).collect().sort(TenantDailyCosts.primary_key)
            if day in sums:
                was = changed_rows(TenantDailyCosts, sums[day], now)
                journal.append(was.with_columns(known_until=pl.lit(at).cast(pl.Datetime("us", "UTC"))))
            else:
                begun |= by_key(now)
            sums[day] = now
    prices, names, usage = received(histories, BATCHES)
    rebuilt = computed(prices, names, usage, DAYS)[2].costs
    assert ordered(pl.concat(costs.values())).equals(ordered(rebuilt))

    now = pl.concat(sums.values())
    adjusted = adjustments(pl.concat(journal, how="diagonal").lazy(), now.lazy()).collect()
    assert len(adjusted) > 50
    amounts: dict[tuple[Any, ...], Decimal] = {}
    for row in adjusted.iter_rows(named=True):
        key = tuple(row[name] for name in TenantDailyCosts.primary_key)
        amounts[key] = amounts.get(key, Decimal(0)) + row["amount"]
        assert row["amount"] == row["cost_after"] - row["cost_before"]
    ended = by_key(now)
    for key in begun.keys() | ended.keys() | amounts.keys():
        assert begun.get(key, Decimal(0)) + amounts.get(key, Decimal(0)) == ended.get(key, Decimal(0)), key
    assert set(adjusted["why"]) == {"price", "usage"}


def by_key(sums: pl.DataFrame) -> dict[tuple[Any, ...], Decimal]:
    return {tuple(row[n] for n in TenantDailyCosts.primary_key): row["cost"] for row in sums.iter_rows(named=True)}
