"""What runs by the clock: daily tables at 02:00 UTC, current metrics every hour.
Not here: what runs because data arrived (automation conditions, the landing sensor)."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from data_platform.core.assets import computed_with, inputs_of
from data_platform.core.checks import asset_key
from data_platform.core.contract import Table, contracts
from data_platform.gameplay.contracts.activity import CampaignMetrics, PlayerEngagementMetrics

HOURLY_TABLES: Sequence[type[Table]] = (PlayerEngagementMetrics, CampaignMetrics)


def _computed_daily_tables() -> list[type[Table]]:
    """Everything that is computed by day; what arrives from outside is not."""
    return [t for t in contracts().values() if t.partition and inputs_of(computed_with(t))]


daily_tables_job = dg.define_asset_job(
    "daily_tables",
    dg.AssetSelection.assets(*map(asset_key, _computed_daily_tables())),
    description="All tables of one day. Catches what automation could not see: days on which nothing arrived.",
)

hourly_metrics_job = dg.define_asset_job(
    "hourly_metrics",
    dg.AssetSelection.assets(*map(asset_key, HOURLY_TABLES)),
    description="Engagement and campaign metrics of the day so far.",
)


def _day_of(context: dg.ScheduleEvaluationContext, days_back: int) -> str:
    return (context.scheduled_execution_time.astimezone(dt.UTC).date() - dt.timedelta(days=days_back)).isoformat()


@dg.schedule(
    job=daily_tables_job,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="02:00 UTC: every table of yesterday.",
)
def daily_tables_at_two(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    day = _day_of(context, days_back=1)
    return dg.RunRequest(run_key=f"daily-{day}", partition_key=day)


@dg.schedule(
    job=hourly_metrics_job,
    cron_schedule="0 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour: engagement and campaign metrics of today.",
)
def hourly_metrics_on_the_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    day = _day_of(context, days_back=0)
    return dg.RunRequest(run_key=f"hourly-{context.scheduled_execution_time:%Y-%m-%dT%H}", partition_key=day)


schedules = [daily_tables_at_two, hourly_metrics_on_the_hour]
