"""How prices hang together: lines of price lists, their history, and what each model cost on each day.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from data_platform.core.contract.table import Table
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.automation import when_inputs_change, when_inputs_change_or_a_day_begins
from data_platform.core.orchestration.specs import computed_by, spec_for
from data_platform.core.orchestration.steps import StepRun, step
from data_platform.domains.metering.contracts.model_names import RawModelNames
from data_platform.domains.metering.contracts.prices import (
    ModelPrices,
    PriceChanges,
    PriceChangesRejected,
    RateCards,
    RawModelPrices,
)
from data_platform.domains.metering.transforms import price_changes, rate_cards


def _from_lines(table: type[Table], computed_with: type[Table] | None = None) -> dg.AssetSpec:
    spec = spec_for(table, {"raw": RawModelPrices}, computed_with, when_inputs_change())
    return computed_by(spec, table, price_changes.sort_prices)


@step(
    _from_lines(PriceChanges),
    _from_lines(PriceChangesRejected, computed_with=PriceChanges),
    name="clean_price_changes",
)
def clean_price_changes(run: StepRun) -> None:
    """Prices, and lines that can be none, from one reading of the price lists."""

    def sort_days(days: list[dt.date]) -> None:
        found = price_changes.sort_prices(run.lake.scan(RawModelPrices, days[0], days[-1]).collect())
        if published := run.publish(PriceChanges, [found.changes], days):
            rejected = found.rejected.filter(found.rejected["event_date"].is_in(published))
            run.publish(PriceChangesRejected, [rejected], published)

    run.compute_each(PriceChanges, {"raw": RawModelPrices.days()}, sort_days)


model_prices = asset(ModelPrices, price_changes.price_history, changes=PriceChanges)
daily_rate_cards = asset(
    RateCards,
    rate_cards.rate_cards,
    when_inputs_change_or_a_day_begins(),
    changes=PriceChanges.until(),
    names=RawModelNames.until(),
)
