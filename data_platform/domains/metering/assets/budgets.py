"""How budgets stand, as an asset. Not here: the forecast (transforms/budgets), alerts (notices)."""

from __future__ import annotations

from data_platform.core.orchestration.assets import asset
from data_platform.domains.metering.contracts.budgets import LONGEST_PERIOD, BudgetStatus, RawBudgets
from data_platform.domains.metering.contracts.rollups import TenantFeatureDays
from data_platform.domains.metering.transforms.budgets import budget_status

status_of_budgets = asset(
    BudgetStatus,
    budget_status,
    budgets=RawBudgets.until(),
    feature_days=TenantFeatureDays.days(1 - LONGEST_PERIOD, 0),
)
