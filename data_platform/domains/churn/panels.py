"""What people look at of churn: how many players are about to leave, by snapshot day.
Not here: what the numbers are (contracts), how they are drawn (web/dashboards)."""

from __future__ import annotations

from data_platform.core.contract.panels import Chart, Dashboard, Panel
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.contracts.learning import ChurnRisk

DASHBOARD = Dashboard(
    "Churn",
    (
        Panel(
            "Churn risk",
            "Active players by how likely they are to leave, foretold each night for the day before by the newest "
            "baseline model; the first one is trained on the 16th of the month after the first whole one.",
            Chart.LAYERS,
            {
                "75 % and more": ChurnRisk.very_likely,
                "50 to 75 %": ChurnRisk.likely,
                "25 to 50 %": ChurnRisk.possible,
                "below 25 %": ChurnRisk.unlikely,
            },
        ),
        Panel(
            "Active days",
            "Players by the days on which they played in the 30 days ending with the snapshot day. Those with 0 have "
            "lapsed; a layer that widens at few days is a wave of them to come.",
            Chart.BANDS,
            {"active days": PlayerChurnFeatures.unique_days_active},
            limits=(0, 3, 10),
        ),
    ),
    position=30,
)
