"""What could be saved, as an asset. Not here: how it is worked out (transforms/savings)."""

from __future__ import annotations

from data_platform.core.orchestration.assets import asset
from data_platform.domains.metering.contracts.costs import UsageCosts
from data_platform.domains.metering.contracts.prices import RateCards
from data_platform.domains.metering.contracts.savings import RawModelClasses, SavingsOpportunities
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.transforms.savings import savings_opportunities

opportunities_to_save = asset(
    SavingsOpportunities,
    savings_opportunities,
    usage=LlmUsage,
    costs=UsageCosts,
    cards=RateCards,
    classes=RawModelClasses.until(),
)
