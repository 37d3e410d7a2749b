"""What gameplay runs by the clock. Not here: tables of yesterday, which are everybody's (operations/schedules)."""

from __future__ import annotations

from data_platform.core.orchestration.schedules import TODAY, by_the_clock, job_of
from data_platform.domains.gameplay.contracts.activity import CampaignMetrics, PlayerEngagementMetrics

hourly_metrics = job_of(
    "hourly_metrics",
    "Engagement and campaign metrics of the day so far.",
    PlayerEngagementMetrics,
    CampaignMetrics,
)
hourly_metrics_on_the_hour = by_the_clock(
    "hourly_metrics_on_the_hour",
    hourly_metrics,
    "0 * * * *",
    "Every hour: engagement and campaign metrics of today.",
    run_key=lambda moment: f"hourly-{moment:%Y-%m-%dT%H}",
    partition=TODAY,
)
