"""The tables of commerce as assets: each is computed by the dbt model of the same name from the days named here, the
features by a transform. Not here: the SQL (dbt/models), transforms, what the tables promise (contracts)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.orchestration.assets import asset
from data_platform.domains.commerce.contracts import metrics, sources, star
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.commerce.contracts.metrics import SETTLEMENT_DAYS
from data_platform.domains.commerce.reporting_currency import planning_rates
from data_platform.domains.commerce.transforms import player_features
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.snapshots import WINDOW_DAYS
from data_platform.warehouse.models import Model, dbt_models

models = dbt_models(
    "commerce_models",
    Model(star.DimUsers, sources.RawUserChanges),
    Model(star.DimProducts, sources.RawProductChanges),
    Model(star.DimDate, sources.RawOrderChanges),
    # Facts name the version of a dimension that held at the time; it follows from the changes up to that day.
    Model(star.FctOrders, sources.RawOrderChanges, sources.RawUserChanges.until()),
    Model(star.FctOrderVersions, sources.RawOrderChanges),
    Model(star.FctOrderItems, sources.RawOrderItemChanges, sources.RawOrderChanges, sources.RawProductChanges.until()),
    Model(star.BalanceTransactions, sources.RawStripePayouts),
    Model(star.FctPayments, sources.RawStripeCharges, sources.RawStripeRefunds, star.BalanceTransactions),
    Model(star.FctEvents, PlayerEvents, sources.RawUserChanges.until()),
    Model(star.FctEmailEngagement, sources.RawSendgridEvents),
    Model(
        star.RejectedRows,
        sources.RawOrderChanges,
        sources.RawOrderItemChanges,
        sources.RawStripeCharges,
        sources.RawStripeRefunds,
        sources.RawStripePayouts,
        sources.RawSendgridEvents,
        sources.RawProductChanges,
    ),
    Model(metrics.FctDailyActiveUsers, PlayerDailyActivity.days(-29, 0)),
    Model(metrics.MvDailyMetrics, star.FctOrders, star.FctPayments, PlayerDailyActivity),
    # The day after settlement is needed for no amount: payments of that day come when this one has closed, and have it
    # judged again. Otherwise a day computed while it was open would stay open.
    Model(
        metrics.RevenueReconciliationDifferences,
        star.FctOrders.days(-SETTLEMENT_DAYS, 0),
        star.FctPayments.days(-SETTLEMENT_DAYS, SETTLEMENT_DAYS + 1),
        star.BalanceTransactions.days(0, SETTLEMENT_DAYS),
    ),
    Model(metrics.RevenueReconciliation, star.FctOrders, star.FctPayments, metrics.RevenueReconciliationDifferences),
    Model(metrics.PaymentExceptions, star.FctPayments, star.BalanceTransactions),
    Model(metrics.RevenueRetentionCohorts, star.FctOrders),
    Model(metrics.CustomerLifetime, star.FctOrderVersions),
    Model(metrics.CustomerLifetimeSnapshots, star.FctOrderVersions.until()),
)


def _at_planning_rates(
    order_versions: pl.LazyFrame, payments: pl.LazyFrame, email_engagement: pl.LazyFrame, days: list[dt.date]
) -> pl.LazyFrame:
    return player_features.commerce_features(order_versions, payments, email_engagement, planning_rates(), days)


player_commerce_features = asset(
    PlayerCommerceFeatures,
    _at_planning_rates,
    order_versions=star.FctOrderVersions.days(1 - WINDOW_DAYS, 0),
    payments=star.FctPayments.days(1 - WINDOW_DAYS, 0),
    email_engagement=star.FctEmailEngagement.days(1 - WINDOW_DAYS, 0),
)
