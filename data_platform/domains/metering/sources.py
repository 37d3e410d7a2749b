"""The landing folders of metering: what was used, and what it costs. Not here: how a folder is read."""

from __future__ import annotations

from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.domains.metering.contracts.billing import RawBilledCharges, RawBilledChargesRejected
from data_platform.domains.metering.contracts.budgets import RawBudgets, RawBudgetsRejected
from data_platform.domains.metering.contracts.invoices import RawProviderInvoices, RawProviderInvoicesRejected
from data_platform.domains.metering.contracts.model_names import RawModelNames, RawModelNamesRejected
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


def _valid_from(name: str, table: type[ReceivedLines], rejected: type[RejectedLines]) -> LandingSource:
    """What holds from a moment on: from before the first day, or from a day to come that is announced today."""
    return LandingSource(
        name, table, rejected, time_field="valid_from", clamp_to_first_day=True, takes_announcements=True
    )


MODEL_NAMES = _valid_from("model_names", RawModelNames, RawModelNamesRejected)
MODEL_PRICES = _valid_from("model_prices", RawModelPrices, RawModelPricesRejected)

SHARED_COSTS = LandingSource(
    "shared_costs", RawSharedCosts, RawSharedCostsRejected, time_field="starts_at", takes_announcements=True
)
ALLOCATION_RULES = _valid_from("allocation_rules", RawAllocationRules, RawAllocationRulesRejected)
PROVIDER_INVOICES = LandingSource(
    "provider_invoices", RawProviderInvoices, RawProviderInvoicesRejected, time_field="period_start"
)
BUDGETS = _valid_from("budgets", RawBudgets, RawBudgetsRejected)
MODEL_CLASSES = _valid_from("model_classes", RawModelClasses, RawModelClassesRejected)
BILLED_CHARGES = LandingSource("billed_charges", RawBilledCharges, RawBilledChargesRejected, time_field="closed_at")

SOURCES = (
    LLM_USAGE,
    MODEL_PRICES,
    MODEL_NAMES,
    SHARED_COSTS,
    ALLOCATION_RULES,
    PROVIDER_INVOICES,
    BUDGETS,
    MODEL_CLASSES,
    BILLED_CHARGES,
)
