"""How usage and prices become costs, sums of them, and what of these was corrected.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from functools import partial

import dagster as dg
import polars as pl

from data_platform.core.contract.calendar import midnight
from data_platform.core.contract.table import Severity, Table
from data_platform.core.lake.bitemporal import open_history
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.automation import when_inputs_change
from data_platform.core.orchestration.checks import CheckOutcome
from data_platform.core.orchestration.partitions import as_days
from data_platform.core.orchestration.specs import computed_by, spec_for
from data_platform.core.orchestration.steps import Check, StepRun, step
from data_platform.core.settings import settings
from data_platform.domains.metering.contracts.billing import TenantSkuCosts
from data_platform.domains.metering.contracts.costs import (
    CostAdjustments,
    TenantDailyCosts,
    TenantHourlyCosts,
    UnpricedUsage,
    UsageCosts,
)
from data_platform.domains.metering.contracts.prices import RateCards
from data_platform.domains.metering.contracts.rollups import (
    TenantDays,
    TenantFeatureDays,
    TenantModelDays,
    TenantModelMonths,
    TenantUserMonths,
    TokenHistograms,
)
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.transforms import adjustments, costs, rollups, sku_costs
from data_platform.domains.metering.transforms.parts import PART_CALLS, parts_of

PRICED_FROM = {"usage": LlmUsage, "cards": RateCards}
MOST_NAMED = 5


def _without_a_price(lake: Lake, days: Collection[str]) -> dict[str, CheckOutcome]:
    """How many calls of each day have no price, and of which models most."""
    rows = lake.rows(UsageCosts)
    wanted = as_days(sorted(days))
    found = lake.scan(UnpricedUsage, wanted[0], wanted[-1]) if wanted else lake.scan(UnpricedUsage).clear()
    calls = (
        found.filter(pl.col("usage_date").is_in(wanted))
        .group_by("usage_date", "provider", "model", "reason")
        .agg(calls=pl.struct("tenant_id", "usage_id").n_unique())
        .sort("calls", "provider", "model", "reason", descending=[True, False, False, False])
        .collect()
    )
    outcomes = {day: CheckOutcome(True, {"unpriced_calls": 0}, rows.get(day, 0)) for day in days}
    for (day,), models in calls.partition_by("usage_date", as_dict=True).items():
        most = [f"{provider}/{model} ({reason}, {n:,} calls)" for _, provider, model, reason, n in models.iter_rows()]
        total = int(models["calls"].sum())
        named = ", ".join(most[:MOST_NAMED]) + (f" and {len(most) - MOST_NAMED} more" if len(most) > MOST_NAMED else "")
        counts = {"unpriced_calls": total, "models": named}
        outcomes[str(day)] = CheckOutcome(False, counts, rows.get(str(day), 0), total)
    return outcomes


EVERY_CALL_HAS_A_PRICE = Check(
    "every_call_has_a_price",
    UsageCosts,
    "For each day: no call is without a price; those that are cost null, and wait in metering/unpriced_usage for one.",
    Severity.WARNING,
    found=_without_a_price,
)


def _priced(table: type[Table], computed_with: type[Table] | None = None) -> dg.AssetSpec:
    return computed_by(spec_for(table, PRICED_FROM, computed_with, when_inputs_change()), table, costs.price_calls)


@step(
    _priced(UsageCosts),
    _priced(UnpricedUsage, computed_with=UsageCosts),
    name="price_usage",
    checks=[EVERY_CALL_HAS_A_PRICE],
)
def price_usage(run: StepRun) -> None:
    """What each call costs, and what has no price, from one reading of usage and of the day's rate cards."""
    usage, cards = run.lake.snapshot(LlmUsage), run.lake.snapshot(RateCards)
    run.publication(UsageCosts).read = {LlmUsage.key: usage.version, RateCards.key: cards.version}
    rows = run.lake.rows(LlmUsage, usage.version)

    def price_days(days: list[dt.date]) -> None:
        calls = usage.scan(days[0], days[-1]).filter(pl.col("usage_date").is_in(days)).select(costs.READ)
        of_days = cards.scan(days[0], days[-1]).collect()
        unpriced: list[pl.DataFrame] = []

        def priced() -> Iterator[pl.DataFrame]:
            for part in parts_of(sum(rows.get(str(day), 0) for day in days)):
                found = costs.price_calls(part.collect(part.rows(calls)), of_days)
                unpriced.append(found.unpriced)
                yield found.costs

        if published := run.publish(UsageCosts, priced(), days):
            of_published = (part.filter(pl.col("usage_date").is_in(published)) for part in unpriced)
            run.publish(UnpricedUsage, of_published, published)

    run.compute_each(UsageCosts, {"usage": LlmUsage.days()}, price_days, PART_CALLS)


tenant_sku_costs = asset(TenantSkuCosts, sku_costs.sku_costs, usage=LlmUsage, costs=UsageCosts, cards=RateCards)
tenant_hourly_costs = asset(TenantHourlyCosts, rollups.hourly_costs, costs=UsageCosts)
tenant_daily_costs = asset(TenantDailyCosts, rollups.daily_costs, costs=UsageCosts)
tenant_model_days = asset(TenantModelDays, rollups.model_days, costs=TenantHourlyCosts)
tenant_feature_days = asset(TenantFeatureDays, rollups.feature_days, sums=TenantDailyCosts)
token_histograms = asset(TokenHistograms, rollups.token_histograms, costs=UsageCosts)
tenant_days = asset(
    TenantDays,
    partial(rollups.tenant_days, first_day=settings().first_day),
    sums=TenantModelDays.days(0, 30),
)
tenant_model_months = asset(
    TenantModelMonths,
    partial(rollups.model_months, first_day=settings().first_day),
    sums=TenantModelDays.days(0, 30),
)
tenant_user_months = asset(
    TenantUserMonths,
    partial(rollups.user_months, first_day=settings().first_day),
    sums=TenantDailyCosts.days(0, 30),
)


@step(
    computed_by(
        spec_for(CostAdjustments, {"costs": TenantDailyCosts}, automation_condition=when_inputs_change()),
        CostAdjustments,
        adjustments.adjustments,
    ),
    name="cost_adjustments",
)
def cost_adjustments(run: StepRun) -> None:
    """What corrections made of the costs of days that were over: from the daily costs and their history, which is
    written with them."""

    def adjust_days(days: list[dt.date]) -> None:
        history = open_history(run.lake, TenantDailyCosts)
        since = midnight(days[0])
        of_days = pl.col("usage_date").is_in(days)
        corrected = history.corrections(since, days[0], days[-1]).filter(of_days)
        now = history.table.scan(days[0], days[-1]).filter(of_days)
        run.publish(CostAdjustments, [adjustments.adjustments(corrected, now).collect()], days)

    run.compute_each(CostAdjustments, {"costs": TenantDailyCosts.days()}, adjust_days)
