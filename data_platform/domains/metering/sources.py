"""The landing folders of metering: what was used, and what it costs. Not here: how a folder is read."""

from __future__ import annotations

from data_platform.domains.metering.contracts.budgets import RawBudgets, RawBudgetsRejected
from data_platform.domains.metering.contracts.invoices import RawProviderInvoices, RawProviderInvoicesRejected
from data_platform.domains.metering.contracts.prices import RawModelPrices, RawModelPricesRejected
from data_platform.domains.metering.contracts.savings import RawModelClasses, RawModelClassesRejected
from data_platform.domains.metering.contracts.shared_costs import (
    RawAllocationRules,
    RawAllocationRulesRejected,
    RawSharedCosts,
    RawSharedCostsRejected,
)
from data_platform.domains.metering.contracts.usage import RawLlmUsage, RawLlmUsageRejected
from data_platform.sources.landing_source import LandingSource

LLM_USAGE = LandingSource("llm_usage", RawLlmUsage, RawLlmUsageRejected, time_field="started_at")

# A price that held before the first day holds on the first day: it is not rejected as too old.
MODEL_PRICES = LandingSource(
    "model_prices", RawModelPrices, RawModelPricesRejected, time_field="valid_from", clamp_to_first_day=True
)

SHARED_COSTS = LandingSource("shared_costs", RawSharedCosts, RawSharedCostsRejected, time_field="starts_at")
ALLOCATION_RULES = LandingSource(
    "allocation_rules", RawAllocationRules, RawAllocationRulesRejected, time_field="valid_from", clamp_to_first_day=True
)
PROVIDER_INVOICES = LandingSource(
    "provider_invoices", RawProviderInvoices, RawProviderInvoicesRejected, time_field="period_start"
)
BUDGETS = LandingSource("budgets", RawBudgets, RawBudgetsRejected, time_field="valid_from", clamp_to_first_day=True)
MODEL_CLASSES = LandingSource(
    "model_classes", RawModelClasses, RawModelClassesRejected, time_field="valid_from", clamp_to_first_day=True
)

SOURCES = (LLM_USAGE, MODEL_PRICES, SHARED_COSTS, ALLOCATION_RULES, PROVIDER_INVOICES, BUDGETS, MODEL_CLASSES)
