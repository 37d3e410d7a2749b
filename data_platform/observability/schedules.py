"""When the platform looks at itself: freshness every 5 minutes, alerts every minute, yesterday's report at 00:20, the
summary at 08:00. Not here: any of these looks."""

from __future__ import annotations

from data_platform.core.discovery import landing_sources
from data_platform.core.orchestration.schedules import TODAY, YESTERDAY, by_the_clock, job_of
from data_platform.observability.alerts.sensor import alert_sensor, daily_alert_summary
from data_platform.observability.contracts import DailyReport, Freshness, ServiceLevels

look_at_freshness = job_of(
    "look_at_freshness", "How fresh every table is, by event time; recorded in quality/freshness.", Freshness
)
daily_report = job_of(
    "daily_report", "What the checks of a day said, and which service levels were kept.", DailyReport, ServiceLevels
)
alerts = alert_sensor(landing_sources(), announced_jobs=["daily_tables"])

freshness_every_five_minutes = by_the_clock(
    "freshness_every_five_minutes",
    look_at_freshness,
    "*/5 * * * *",
    "Every 5 minutes: how fresh is every table?",
    run_key=lambda moment: f"freshness-{moment:%Y-%m-%dT%H:%M}",
    partition=TODAY,
)
daily_report_after_midnight = by_the_clock(
    "daily_report_after_midnight",
    daily_report,
    "20 0 * * *",
    "00:20 UTC: what yesterday was like.",
    run_key=lambda moment: f"report-{YESTERDAY(moment)}",
    partition=YESTERDAY,
)
alert_summary_at_eight = by_the_clock(
    "alert_summary_at_eight",
    daily_alert_summary,
    "0 8 * * *",
    "08:00 UTC: the daily summary of the alerts.",
    run_key=lambda moment: f"summary-{TODAY(moment)}",
)
