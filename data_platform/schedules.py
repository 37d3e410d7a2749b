"""What runs by the clock: daily tables at 02:00 UTC, current metrics every hour, looks at freshness every 5 minutes,
yesterday's report at 00:20, drift of features at 02:30, maintenance at 03:00, checksums on Sunday, last month's model
on the 16th.
Not here: what runs because data arrived (automation conditions, the landing sensor)."""

import datetime as dt
import importlib.util
from collections.abc import Sequence

import dagster as dg

from data_platform.core.contract.lineage import computed_with, inputs_of
from data_platform.core.contract.table import Table, contracts
from data_platform.core.orchestration.automation import utc_schedule
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.settings import settings
from data_platform.domains.churn.contracts import ChurnBaselineModel, ChurnFeatureDrift, ChurnTrainingSet
from data_platform.domains.gameplay.contracts.activity import CampaignMetrics, PlayerEngagementMetrics
from data_platform.features.contracts import ServedFeatures
from data_platform.features.skew.landing import waiting_files
from data_platform.observability.assets import LOOK_JOB
from data_platform.observability.contracts import DailyReport, Freshness, ServiceLevels
from data_platform.operations.maintenance import compact_tables
from data_platform.operations.scrubbing import scrub_lake

HOURLY_TABLES: Sequence[type[Table]] = (PlayerEngagementMetrics, CampaignMetrics)
REPORT_TABLES: Sequence[type[Table]] = (DailyReport, ServiceLevels)


def _computed_daily_tables() -> list[type[Table]]:
    """Everything that is computed by day; what arrives from outside is not, nor what reports on the others."""
    computed = [t for t in contracts().values() if t.partition and inputs_of(computed_with(t))]
    return [table for table in computed if table not in REPORT_TABLES]


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

report_job = dg.define_asset_job(
    "daily_report",
    dg.AssetSelection.assets(*map(asset_key, REPORT_TABLES)),
    description="What the checks of a day said, and which service levels were kept.",
)

served_job = dg.define_asset_job(
    "served_features",
    dg.AssetSelection.assets(asset_key(ServedFeatures)),
    description="The log of served feature vectors, taken into the lake.",
)

look_job = dg.define_asset_job(
    LOOK_JOB,
    dg.AssetSelection.assets(asset_key(Freshness)),
    description="How fresh every table is, by event time; recorded in quality/freshness.",
)


churn_model_job = dg.define_asset_job(
    "churn_model",
    dg.AssetSelection.assets(asset_key(ChurnTrainingSet), asset_key(ChurnBaselineModel)),
    description="A month's churn training set, and the baseline model trained and judged on it.",
)

drift_job = dg.define_asset_job(
    "feature_drift",
    dg.AssetSelection.assets(asset_key(ChurnFeatureDrift)),
    description="How far a day's features are from those the newest model was trained on.",
)


def _day_of(context: dg.ScheduleEvaluationContext, days_back: int) -> str:
    return (context.scheduled_execution_time.astimezone(dt.UTC).date() - dt.timedelta(days=days_back)).isoformat()


@utc_schedule(
    job=daily_tables_job,
    cron_schedule="0 2 * * *",
    description="02:00 UTC: every table of yesterday.",
)
def daily_tables_at_two(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    day = _day_of(context, days_back=1)
    return dg.RunRequest(run_key=f"daily-{day}", partition_key=day)


@utc_schedule(
    job=hourly_metrics_job,
    cron_schedule="0 * * * *",
    description="Every hour: engagement and campaign metrics of today.",
)
def hourly_metrics_on_the_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    day = _day_of(context, days_back=0)
    return dg.RunRequest(run_key=f"hourly-{context.scheduled_execution_time:%Y-%m-%dT%H}", partition_key=day)


@utc_schedule(
    job=look_job,
    cron_schedule="*/5 * * * *",
    description="Every 5 minutes: how fresh is every table?",
)
def freshness_every_five_minutes(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    moment = context.scheduled_execution_time.astimezone(dt.UTC)
    return dg.RunRequest(run_key=f"freshness-{moment:%Y-%m-%dT%H:%M}", partition_key=moment.date().isoformat())


@utc_schedule(
    job=served_job,
    cron_schedule="*/15 * * * *",
    description="Every 15 minutes, if any were logged: served feature vectors into the lake.",
)
def served_features_every_quarter(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    if not waiting_files(settings().served):
        return dg.SkipReason("No feature vectors were logged.")
    return dg.RunRequest(run_key=f"served-{context.scheduled_execution_time:%Y-%m-%dT%H:%M}")


@utc_schedule(
    job=report_job,
    cron_schedule="20 0 * * *",
    description="00:20 UTC: what yesterday was like.",
)
def daily_report_after_midnight(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    day = _day_of(context, days_back=1)
    return dg.RunRequest(run_key=f"report-{day}", partition_key=day)


@utc_schedule(
    job=compact_tables,
    cron_schedule="0 3 * * *",
    description="03:00 UTC: small files merged, unneeded ones deleted.",
)
def compact_tables_at_three(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_key=f"compact-{_day_of(context, days_back=0)}")


@utc_schedule(
    job=scrub_lake,
    cron_schedule="0 5 * * 0",
    description="Sunday, 05:00 UTC: every file of the lake compared with its checksum.",
)
def scrub_lake_on_sunday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_key=f"scrub-{_day_of(context, days_back=0)}")


@utc_schedule(
    job=drift_job,
    cron_schedule="30 2 * * *",
    description="02:30 UTC: do yesterday's features still look like those the model was trained on?",
)
def feature_drift_after_two(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    day = _day_of(context, days_back=1)
    return dg.RunRequest(run_key=f"drift-{day}", partition_key=day)


@utc_schedule(
    job=churn_model_job,
    # Labels look 14 days ahead: those of a month's last day are known when the 15th begins.
    cron_schedule="0 4 16 * *",
    description="On the 16th, 04:00 UTC: training set and baseline model of last month.",
)
def churn_model_on_the_sixteenth(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    if importlib.util.find_spec("sklearn") is None:
        return dg.SkipReason("scikit-learn is not installed: `pip install 'data-platform[ml]'`")
    this_month = context.scheduled_execution_time.astimezone(dt.UTC).date().replace(day=1)
    month = (this_month - dt.timedelta(days=1)).replace(day=1).isoformat()
    return dg.RunRequest(run_key=f"churn-{month}", partition_key=month)


schedules = [
    daily_tables_at_two,
    hourly_metrics_on_the_hour,
    freshness_every_five_minutes,
    served_features_every_quarter,
    daily_report_after_midnight,
    compact_tables_at_three,
    scrub_lake_on_sunday,
    feature_drift_after_two,
    churn_model_on_the_sixteenth,
]
asset_jobs = [daily_tables_job, hourly_metrics_job, report_job, look_job, served_job, churn_model_job, drift_job]
"""Besides these there are the jobs `compact_tables` and `scrub_lake`."""
