"""What people look at of the shop: revenue, what is given back, orders.
Not here: what the numbers are (contracts), how they are drawn (web/dashboards)."""

from __future__ import annotations

from data_platform.core.contract.panels import Chart, Dashboard, Panel
from data_platform.domains.commerce.contracts.metrics import MvDailyMetrics

DASHBOARD = Dashboard(
    "Shop",
    (
        Panel(
            "Revenue and refunds",
            "Paid orders upwards; credit notes and refunds downwards, on the day they were made. Each currency by "
            "itself, nothing is converted.",
            Chart.BARS,
            {"gross revenue": MvDailyMetrics.gross_revenue},
            below={"refunds": MvDailyMetrics.refunds, "returns": MvDailyMetrics.returns},
            by=MvDailyMetrics.currency,
        ),
        Panel(
            "Orders",
            "Paid orders by day and currency.",
            Chart.BARS,
            {"orders": MvDailyMetrics.orders},
            by=MvDailyMetrics.currency,
        ),
    ),
    position=20,
)
