"""Prices and costs through Dagster on a temporary lake: a price that changes computes exactly its days again, in any
batches as in one; what has no price is told. Not here: what a call costs (test_cost_oracle).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract.table import Table
from data_platform.domains.metering.contracts.billing import TenantSkuCosts
from data_platform.domains.metering.contracts.costs import (
    CostAdjustments,
    TenantDailyCosts,
    TenantHourlyCosts,
    UnpricedUsage,
    UsageCosts,
)
from data_platform.domains.metering.contracts.prices import (
    ModelPrices,
    PriceChanges,
    PriceChangesRejected,
    RateCards,
    RawModelPrices,
    RawModelPricesRejected,
)
from data_platform.domains.metering.contracts.rollups import (
    TenantDays,
    TenantFeatureDays,
    TenantModelDays,
    TenantModelMonths,
    TenantUserMonths,
    TokenHistograms,
)
from data_platform.domains.metering.transforms.rollups import bucket_bounds
from data_platform.observability.alerts.problems import Level, Problem, failed_checks
from data_platform_tests.support.homes import Home
from data_platform_tests.support.jumping_clock import JumpingClock
from data_platform_tests.support.usage_rows import usage

TABLES: tuple[type[Table], ...] = (
    PriceChanges, PriceChangesRejected, ModelPrices, RateCards, UsageCosts, UnpricedUsage, TenantHourlyCosts,
    TenantDailyCosts, TenantFeatureDays, TenantModelDays, TenantDays, TenantModelMonths, TenantUserMonths,
    TokenHistograms, TenantSkuCosts,
)  # fmt: skip
EVERY = ["clean/llm_usage", *(table.key for table in (*TABLES, CostAdjustments))]
FEW = [
    "clean/llm_usage",
    "clean/price_changes",
    RateCards.key,
    UsageCosts.key,
    TenantDailyCosts.key,
    CostAdjustments.key,
]
DAYS = range(3, 8)


def price(token_class: str, dollars: str | None, since: str = "2023-06-01", **more: Any) -> dict[str, Any]:
    return {
        "valid_from": f"{since}T00:00:00Z", "provider": "openai", "model": "gpt-5-mini", "token_class": token_class,
        "unit_price": dollars, "per_tokens": 1_000_000, "currency": "USD", "source": "a list", **more,
    }  # fmt: skip


def call(day: int, number: int = 0, **more: Any) -> dict[str, Any]:
    name = f"{day}-{number}"
    return usage(usage_id=f"u-{name}", request_id=f"r-{name}", started_at=f"2024-01-{day:02}T10:00:00Z", **more)


def drop(home: Home, number: int, batch: Mapping[str, Iterable[dict[str, Any]]]) -> None:
    for folder, lines in batch.items():
        home.drop(f"{number}.ndjson", lines, folder=folder)


def written(home: Home, table: type[Table]) -> dict[str, int]:
    found = home.instance.get_latest_storage_id_by_partition(
        dg.AssetKey(table.key.split("/")), dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    return dict(found)


def days_written_since(before: dict[str, int], home: Home, table: type[Table]) -> list[int]:
    return sorted(int(day[-2:]) for day, at in written(home, table).items() if at > before.get(day, 0))


def unpriced_alerts(home: Home) -> list[Problem]:
    """What alerts would tell of calls without a price."""
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    key = f"check:{UsageCosts.key}:every_call_has_a_price"
    return [problem for problem in failed_checks(home.lake, yesterday) if problem.key == key]


def test_a_price_that_changes_retroactively_computes_exactly_its_days_again(home: Home) -> None:
    listed = [price("input", "1"), price("output", "10")]
    strange = call(7, 1, model="new-model"), call(7, 2, reasoning_tokens=7)
    drop(home, 1, {"model_prices": listed, "llm_usage": [*(call(day) for day in DAYS), *strange]})
    home.build(FEW)
    costs = dict(home.rows(UsageCosts).select("usage_id", "cost").iter_rows())
    assert costs == {f"u-{day}-0": Decimal("0.0003") for day in DAYS} | {"u-7-1": None, "u-7-2": None}
    assert home.rows(CostAdjustments).is_empty()
    unpriced = home.rows(UnpricedUsage).sort("usage_id", "token_class")
    assert unpriced.select("usage_id", "token_class", "tokens", "reason").rows() == [
        ("u-7-1", "input", 100, "unknown_model"),
        ("u-7-1", "output", 20, "unknown_model"),
        ("u-7-2", "reasoning", 7, "unknown_class"),
    ]
    told = home.verdicts(UsageCosts, "every_call_has_a_price")
    assert {day: one.passed for day, one in told.items() if day} == {
        f"2024-01-{day:02}": day != 7 for day in range(1, 8)
    }
    bad = told["2024-01-07"]
    assert bad.severity == dg.AssetCheckSeverity.WARN
    assert bad.metadata["unpriced_calls"].value == 2
    assert "openai/new-model (unknown_model, 1 calls)" in str(bad.metadata["models"].value)
    (alert,) = unpriced_alerts(home)
    assert (alert.level, alert.failed_rows) == (Level.WARNING, 2)

    cards, priced, sums = (written(home, table) for table in (RateCards, UsageCosts, TenantDailyCosts))
    later = [price("input", "3", "2024-01-04"), price("input", "1", "2024-01-06")]
    new = [price(name, "2", "2024-01-07", model="new-model") for name in ("input", "output")]
    drop(home, 2, {"model_prices": [*later, *new, price("reasoning", "10", "2024-01-07")]})
    home.build(FEW)
    assert days_written_since(cards, home, RateCards) == [4, 5, 7]
    assert days_written_since(priced, home, UsageCosts) == [4, 5, 7]
    assert days_written_since(sums, home, TenantDailyCosts) == [4, 5, 7]
    assert home.rows(UnpricedUsage).is_empty(), "priced when a price came"
    assert home.rows(UsageCosts)["cost"].null_count() == 0
    assert unpriced_alerts(home) == []
    adjusted = home.rows(CostAdjustments).filter(pl.col("usage_date") < dt.date(2024, 1, 7)).sort("usage_date")
    assert adjusted.select("usage_date", "cost_before", "cost_after", "amount", "why").rows() == [
        (dt.date(2024, 1, day), Decimal("0.0003"), Decimal("0.0005"), Decimal("0.0002"), "price") for day in (4, 5)
    ]
    assert set(home.rows(CostAdjustments)["why"]) == {"price"}
    assert home.build(FEW).runs == 0, "all is up to date, the cards that were not written too"


def test_a_deployment_is_priced_as_the_model_that_the_company_says_it_is(home: Home) -> None:
    """From the day on from which it is said, and only those days are computed again."""
    listed = [price("input", "1"), price("output", "10")]
    drop(home, 1, {"model_prices": listed, "llm_usage": [call(day, model="prod-chat") for day in (3, 4, 5)]})
    home.build(FEW)
    assert home.rows(UsageCosts)["cost"].null_count() == 3
    before = written(home, UsageCosts)
    named = {"valid_from": "2024-01-04T09:00:00Z", "provider": "OpenAI", "name": "prod-chat", "model": "gpt-5-mini"}
    drop(home, 2, {"model_names": [named]})
    home.build(FEW)
    assert days_written_since(before, home, UsageCosts) == [4, 5]
    costs = home.rows(UsageCosts).sort("usage_date")
    assert costs["cost"].to_list() == [None, Decimal("0.0003"), Decimal("0.0003")]
    assert set(costs["model"]) == {"prod-chat"}


def test_a_price_announced_today_holds_from_its_day_on(home: Home) -> None:
    """Known before, said again before, as a line that only the careful parser takes: nothing before its day is computed
    again, and on its day nobody has to do anything."""
    now = dt.datetime.now(dt.UTC)
    with JumpingClock() as clock:
        clock.jump_to(dt.datetime(2024, 1, 3, 12, tzinfo=dt.UTC) - now)
        listed = [price("input", "1"), price("output", "10"), price("input", "3", "2024-01-07")]
        drop(home, 1, {"model_prices": listed, "llm_usage": [call(3)]})
        home.build(FEW)
        assert home.rows(RawModelPricesRejected).is_empty()
        filed = home.rows(RawModelPrices).sort("valid_from").select("valid_from", "valid_date")
        assert filed.row(-1) == (dt.datetime(2024, 1, 7, tzinfo=dt.UTC), dt.date(2024, 1, 3))

        clock.jump_to(dt.datetime(2024, 1, 5, 12, tzinfo=dt.UTC) - now)
        tables = (RateCards, UsageCosts, TenantDailyCosts)
        before = [written(home, table) for table in tables]
        drop(home, 2, {"model_prices": [price("input", "5", "2024-01-07", note="\u00fc")], "llm_usage": [call(5)]})
        home.build([*FEW, ModelPrices.key])
        assert [days_written_since(*one) for one in zip(before, [home] * 3, tables, strict=True)] == [[4, 5]] * 3
        assert home.rows(RawModelPrices)["extra_fields"].null_count() == 3

        clock.jump_to(dt.datetime(2024, 1, 7, 12, tzinfo=dt.UTC) - now)
        before = [written(home, table) for table in tables]
        drop(home, 3, {"llm_usage": [call(7)]})
        home.build(FEW)
        assert [days_written_since(*one) for one in zip(before, [home] * 3, tables, strict=True)] == [[6, 7]] * 3
    costs = dict(home.rows(UsageCosts).select("usage_id", "cost").iter_rows())
    assert costs == {"u-3-0": Decimal("0.0003"), "u-5-0": Decimal("0.0003"), "u-7-0": Decimal("0.0007")}
    held = home.rows(ModelPrices).filter(pl.col("token_class") == "input").sort("valid_from")
    assert held["unit_price"].to_list() == [Decimal("0.000001"), Decimal("0.000005")]
    assert held["valid_to"].to_list() == [dt.datetime(2024, 1, 7, tzinfo=dt.UTC), None]


@pytest.mark.soak
def test_any_batches_equal_one_build(home: Home, tmp_path: Path) -> None:
    """Prices before and after calls, late calls, a price that ends, a correction of a correction."""
    ends = price("output", None, "2024-01-07")
    batches: list[dict[str, list[dict[str, Any]]]] = [
        {"llm_usage": [call(day, user_id=f"user-{day % 2}") for day in DAYS]},
        {"model_prices": [price("input", "1"), price("output", "10"), ends, price("input", "x", "2024-01-05")]},
        {
            "llm_usage": [call(3, 1, output_tokens=900), call(3, 1, output_tokens=901), call(5, 2, status="error")],
            "model_prices": [price("input", "4", "2024-01-03", valid_to="2024-01-05T10:00:00Z")],
        },
    ]
    other = Home(tmp_path / "other")
    for number, batch in enumerate(batches):
        drop(home, number, batch)
        home.build(EVERY)
        drop(other, number, batch)
    other.build(EVERY)
    for table in TABLES:
        known = [name for name in table.columns if name != "known_from"]
        mine, theirs = (one.rows(table).select(known).sort(pl.all()) for one in (home, other))
        assert mine.equals(theirs), table.key
    total = home.rows(UsageCosts)["cost"].sum()
    summed_up = (TenantHourlyCosts, TenantDailyCosts, TenantFeatureDays, TenantModelDays, TenantDays, TenantModelMonths)
    for summed in (*summed_up, TenantUserMonths, TenantSkuCosts):
        assert home.rows(summed)["cost"].sum() == total, summed.key
    assert set(home.rows(TenantUserMonths)["user_id"]) == {"user-0", "user-1"}
    assert home.rows(TokenHistograms)["calls"].sum() == len(home.rows(UsageCosts)) == len(DAYS) + 2
    assert home.rows(PriceChangesRejected)["reason"].to_list() == ["invalid_price"]
    assert home.rows(CostAdjustments)["amount"].sum() == total, "what was said first is that nothing has a price"


def test_buckets_hold_what_they_say() -> None:
    bounds = bucket_bounds().to_list()
    for power, least in enumerate(bounds):
        assert least**8 >= 2**power
        assert least == 1 or (least - 1) ** 8 < 2**power
