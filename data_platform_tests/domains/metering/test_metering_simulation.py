"""The pretend company's usage, built into tables, is what the simulation says is true: lines, calls, and every tenant's
costs to the last digit."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_platform.core.contract.received import IngestionLedger
from data_platform.domains.metering.contracts.costs import UsageCosts
from data_platform.domains.metering.contracts.usage import LlmUsage, LlmUsageRejected, RawLlmUsageRejected
from data_platform.domains.metering.simulation.price_list import AT_FIRST, PICO, UNPRICED_MODEL
from data_platform.domains.metering.simulation.usage import ModelCalls
from data_platform.simulation import simulate
from data_platform_tests.support.homes import FIRST_DAY, Home

DAYS = 10
TABLES = ["clean/llm_usage", "clean/llm_usage_rejected", "clean/price_changes", "clean/price_changes_rejected"]
COSTS = [
    "metering/model_prices",
    "metering/rate_cards",
    "metering/usage_costs",
    "metering/unpriced_usage",
    "metering/tenant_daily_costs",
]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, dict[str, Any]]]:
    """A dirty company of ten days, built; and what is true of it."""
    home = Home(tmp_path_factory.mktemp("metering"))
    with home.used():
        truth = simulate(150, DAYS, 1, FIRST_DAY, home.landing, dirty=True)
        home.build([*TABLES, *COSTS])
        yield home, json.loads(truth.read_text())["metering"]


def test_every_line_is_counted(company: tuple[Home, dict[str, Any]]) -> None:
    home, truth = company
    ledger = home.rows(IngestionLedger).filter(pl.col("source") == "llm_usage")
    assert ledger["received_lines"].sum() == truth["received"]
    assert ledger["rejected_lines"].sum() == truth["rejected_lines"] == len(home.rows(RawLlmUsageRejected))
    assert len(home.rows(LlmUsage)) == truth["calls"]
    assert len(home.rows(LlmUsageRejected)) == truth["rejected"]
    assert ledger["stored_lines"].sum() == truth["calls"] + truth["rejected"] + truth["duplicates"]
    assert min(truth[name] for name in ("rejected_lines", "rejected", "duplicates", "unpriced_calls")) > 0


def test_costs_are_true_to_the_last_digit(company: tuple[Home, dict[str, Any]]) -> None:
    home, truth = company
    costs = home.rows(UsageCosts)
    assert costs["cost"].null_count() == truth["unpriced_calls"]
    days = costs.drop_nulls("cost").group_by("usage_date", "tenant_id").agg(pl.col("cost").sum())
    found = {(str(day), tenant): cost for day, tenant, cost in days.iter_rows()}
    true = {(day, name): Decimal(of) for day, each in truth["costs_by_day"].items() for name, of in each.items()}
    assert found == true
    assert len({tenant for _, tenant in found}) == 8, "five tenants, two of the studio's, and calls of nobody named"


def test_the_demo_tells_each_tenant_s_cost(company: tuple[Home, dict[str, Any]]) -> None:
    home, truth = company
    told = "\n".join(ModelCalls.told(home.lake, {"metering": truth}))
    assert all(
        f"  {tenant} " in told and f"{cost} USD, as simulated" in told for tenant, cost in truth["costs"].items()
    )
    unpriced = re.findall(r"([\d,]+) calls of a model without a price", told)
    assert sum(int(number.replace(",", "")) for number in unpriced) == truth["unpriced_calls"]
    wrong = truth | {"costs": truth["costs"] | {"reports": "0.01"}}
    assert "USD, simulated: 0.01" in "\n".join(ModelCalls.told(home.lake, {"metering": wrong}))
    assert not [*ModelCalls.told(home.lake, {})], "a company that was simulated before there was usage"


def test_tenants_have_their_habits(company: tuple[Home, dict[str, Any]]) -> None:
    calls = company[0].rows(LlmUsage).with_columns(half=pl.col("usage_date") >= FIRST_DAY + dt.timedelta(DAYS // 2))
    stories = calls.filter(pl.col("tenant_id") == "story-lab")
    assert stories.sort("started_at")["model"].unique(maintain_order=True).to_list() == ["gpt-5", "gpt-5-mini"]
    cached = calls.filter(pl.col("tenant_id") == "support-desk").group_by("half").agg(pl.col("cache_read_tokens").sum())
    assert {half: read > 0 for half, read in cached.iter_rows()} == {False: False, True: True}
    bots = calls.filter(pl.col("tenant_id") == "guild-bots").group_by("usage_date").len()
    assert bots["len"].max() > 3 * bots["len"].median()
    assert UNPRICED_MODEL in calls["model"]


def test_equal_arguments_give_equal_files_and_prices_are_exact(tmp_path: Path) -> None:
    first, second = (simulate(20, 3, 1, FIRST_DAY, tmp_path / name).parent for name in "ab")
    for folder in ("llm_usage", "model_prices"):
        files = sorted(path.name for path in (first / folder).iterdir())
        assert files
        assert all((first / folder / name).read_bytes() == (second / folder / name).read_bytes() for name in files)
    written = gzip.decompress((first / "model_prices" / f"{FIRST_DAY}-1.ndjson.gz").read_bytes())
    key = ("provider", "model", "tenant_id", "service_tier", "token_class")
    told = {tuple(line[name] for name in key): line for line in map(json.loads, written.splitlines())}
    for price in AT_FIRST:
        for name in price.dollars:
            line = told[price.provider, price.model, price.tenant, price.tier, name]
            assert Decimal(line["unit_price"]) / line["per_tokens"] * PICO == price.pico(name)
