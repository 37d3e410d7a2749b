"""What can be asked of metering over HTTP: what tenants used and what it cost.
Not here: the tables (contracts), answering (web/query)."""

from __future__ import annotations

from data_platform.core.contract.queries import Query, Sum
from data_platform.domains.metering.contracts.costs import TenantDailyCosts, TenantHourlyCosts, UsageCosts
from data_platform.domains.metering.contracts.usage import LlmUsage

DIMENSIONS = {
    "tenant_id": "The tenant.",
    "project_id": "Its project; empty where calls name none.",
    "feature": "What of the product called; empty where calls name none.",
    "user_id": "Whose requests; empty where calls name none.",
    "provider": "Who ran the model.",
    "model": "The model.",
    "hour": "Start of the hour (UTC).",
    "currency": "ISO 4217 code; empty for calls without a price.",
}
COUNTED = (Sum("calls"), Sum("failed_calls"), Sum("unpriced_calls"))
TOKENS = (Sum("input_tokens"), Sum("cache_read_tokens"), Sum("output_tokens"), Sum("total_tokens"))

COSTS = Query(
    "costs",
    "What calls cost, by tenant, project, feature, model, user and time.",
    tables=(TenantDailyCosts, TenantHourlyCosts),
    monthly=(),
    dimensions=DIMENSIONS,
    measures=(Sum("cost"), *COUNTED, *TOKENS),
    shown=("cost", "calls", "unpriced_calls"),
    rows=UsageCosts,
    currency="currency",
)
USAGE = Query(
    "usage",
    "What was used: calls, tokens, users.",
    tables=(TenantDailyCosts, TenantHourlyCosts),
    monthly=(),
    dimensions=DIMENSIONS,
    measures=(*COUNTED, *TOKENS),
    shown=("calls", "total_tokens"),
    rows=LlmUsage,
)
QUERIES = (COSTS, USAGE)
