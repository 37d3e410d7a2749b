"""Shared costs spread over tenants, as an asset. Not here: rules and methods (transforms/shared_costs)."""

from __future__ import annotations

from functools import partial

from data_platform.core.orchestration.assets import asset
from data_platform.core.settings import settings
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.contracts.shared_costs import CostAllocation, RawAllocationRules, RawSharedCosts
from data_platform.domains.metering.transforms.shared_costs import cost_allocation

LONGEST_MONTH = 31

cost_allocation_of_months = asset(
    CostAllocation,
    partial(cost_allocation, first_day=settings().first_day),
    shared_costs=RawSharedCosts.until(LONGEST_MONTH - 1),
    rules=RawAllocationRules.until(),
    daily_costs=TenantDailyCosts.days(0, LONGEST_MONTH - 1),
)
