"""Usage held against invoices, as an asset. Not here: the comparison (transforms/invoices)."""

from __future__ import annotations

from data_platform.core.orchestration.assets import asset
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.contracts.invoices import InvoiceReconciliation, RawProviderInvoices
from data_platform.domains.metering.contracts.prices import RateCards
from data_platform.domains.metering.transforms.invoices import invoice_reconciliation

reconciled_invoices = asset(
    InvoiceReconciliation,
    invoice_reconciliation,
    daily_costs=TenantDailyCosts,
    invoices=RawProviderInvoices,
    cards=RateCards,
)
