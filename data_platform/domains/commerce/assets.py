"""The tables of commerce as assets: each is computed by the dbt model of the same name from the days named here, the
features by a transform. Not here: the SQL (dbt/models), transforms, what the tables promise (contracts)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import datetime as dt

import polars as pl

from data_platform.core.orchestration.assets import asset_for
from data_platform.domains.commerce.contracts import metrics, sources, star
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.commerce.contracts.metrics import SETTLEMENT_DAYS
from data_platform.domains.commerce.reporting_currency import planning_rates
from data_platform.domains.commerce.transforms import player_features
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.snapshots import WINDOW_DAYS
from data_platform.warehouse.assets import dbt_asset

dim_users = dbt_asset(star.DimUsers, sources.RawUserChanges)
dim_products = dbt_asset(star.DimProducts, sources.RawProductChanges)
dim_date = dbt_asset(star.DimDate, sources.RawOrderChanges)

# Facts name the version of a dimension that held at the time; it follows from the changes up to that day.
fct_orders = dbt_asset(star.FctOrders, sources.RawOrderChanges, sources.RawUserChanges.until())
fct_order_versions = dbt_asset(star.FctOrderVersions, sources.RawOrderChanges)
fct_order_items = dbt_asset(
    star.FctOrderItems, sources.RawOrderItemChanges, sources.RawOrderChanges, sources.RawProductChanges.until()
)
balance_transactions = dbt_asset(star.BalanceTransactions, sources.RawStripePayouts)
fct_payments = dbt_asset(star.FctPayments, sources.RawStripeCharges, sources.RawStripeRefunds, star.BalanceTransactions)
fct_events = dbt_asset(star.FctEvents, PlayerEvents, sources.RawUserChanges.until())
fct_email_engagement = dbt_asset(star.FctEmailEngagement, sources.RawSendgridEvents)
rejected_rows = dbt_asset(
    star.RejectedRows,
    sources.RawOrderChanges,
    sources.RawOrderItemChanges,
    sources.RawStripeCharges,
    sources.RawStripeRefunds,
    sources.RawStripePayouts,
    sources.RawSendgridEvents,
    sources.RawProductChanges,
)

fct_daily_active_users = dbt_asset(metrics.FctDailyActiveUsers, PlayerDailyActivity.days(-29, 0))
mv_daily_metrics = dbt_asset(metrics.MvDailyMetrics, star.FctOrders, star.FctPayments, PlayerDailyActivity)
# The day after settlement is needed for no amount: payments of that day come when this one has closed, and have it
# judged again. Otherwise a day computed while it was open would stay open.
revenue_reconciliation_differences = dbt_asset(
    metrics.RevenueReconciliationDifferences,
    star.FctOrders.days(-SETTLEMENT_DAYS, 0),
    star.FctPayments.days(-SETTLEMENT_DAYS, SETTLEMENT_DAYS + 1),
    star.BalanceTransactions.days(0, SETTLEMENT_DAYS),
)
revenue_reconciliation = dbt_asset(
    metrics.RevenueReconciliation, star.FctOrders, star.FctPayments, metrics.RevenueReconciliationDifferences
)
payment_exceptions = dbt_asset(metrics.PaymentExceptions, star.FctPayments, star.BalanceTransactions)
revenue_retention_cohorts = dbt_asset(metrics.RevenueRetentionCohorts, star.FctOrders)
customer_lifetime = dbt_asset(metrics.CustomerLifetime, star.FctOrderVersions)
customer_lifetime_snapshots = dbt_asset(metrics.CustomerLifetimeSnapshots, star.FctOrderVersions.until())


@asset_for(
    PlayerCommerceFeatures,
    order_versions=star.FctOrderVersions.days(1 - WINDOW_DAYS, 0),
    payments=star.FctPayments.days(1 - WINDOW_DAYS, 0),
    email_engagement=star.FctEmailEngagement.days(1 - WINDOW_DAYS, 0),
)
def player_commerce_features(
    order_versions: pl.LazyFrame, payments: pl.LazyFrame, email_engagement: pl.LazyFrame, days: list[dt.date]
) -> pl.LazyFrame:
    return player_features.commerce_features(order_versions, payments, email_engagement, planning_rates(), days)
