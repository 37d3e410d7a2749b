"""The code location: assets of all domains, what runs them and when. `dagster dev` loads this module.
Not here: any table, any rule."""

from __future__ import annotations

import logging
import warnings

import dagster as dg

# Partitioned check specs, backfill policies and lenient partition mappings are marked preview or beta in Dagster 1.13;
# one line of log per use would bury everything else.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from data_platform.alerts.sensor import alert_sensor, alert_summary_at_eight, daily_alert_summary  # noqa: E402
from data_platform.commerce import assets as commerce  # noqa: E402
from data_platform.core.assets import history_specs, spec_for  # noqa: E402
from data_platform.core.automation_runs import AutomationInFewRuns  # noqa: E402
from data_platform.core.io_manager import LakeIOManager, LakeResource  # noqa: E402
from data_platform.core.moved_rows import MovedRows  # noqa: E402
from data_platform.core.private_files import write_for_owner_alone  # noqa: E402
from data_platform.domains import SOURCES  # noqa: E402
from data_platform.gameplay import assets as gameplay  # noqa: E402
from data_platform.learning import assets as learning  # noqa: E402
from data_platform.operations.maintenance import compact_tables  # noqa: E402
from data_platform.operations.scrubbing import scrub_lake  # noqa: E402
from data_platform.quality import assets as quality  # noqa: E402
from data_platform.schedules import asset_jobs, schedules  # noqa: E402
from data_platform.serving import assets as serving  # noqa: E402
from data_platform.serving.publication.assets import publication  # noqa: E402
from data_platform.sources.ingestion import ingestion_assets, landing_sensor  # noqa: E402
from data_platform.warehouse.foreign import foreign_projects  # noqa: E402

write_for_owner_alone()  # the process of a run, or of the code server

ingestion = ingestion_assets(SOURCES)
ingest_landing_job = dg.define_asset_job("ingest_landing_files", dg.AssetSelection.assets(ingestion))

automation_sensor = AutomationInFewRuns(
    "automation",
    target=dg.AssetSelection.all(include_sources=False),
    minimum_interval_seconds=10,
    use_user_code_server=True,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Computes exactly the days that depend on an input day that was written again.",
)


@dg.logger(dg.Field({"log_level": dg.Field(str, default_value="INFO"), "name": dg.Field(str, default_value="dagster")}))
def console(context: dg.InitLoggerContext) -> logging.Logger:
    """Dagster's console log without its own 40 lines a step: what runs read and wrote, and what went wrong."""
    return dg.colored_console_logger.logger_fn(context)


published, publishing_jobs, publishing_schedules = publication()

defs = dg.Definitions(
    assets=[
        ingestion,
        *dg.load_assets_from_modules([gameplay, commerce, quality, learning, serving]),
        quality.freshness_asset(SOURCES),
        *quality.RECORDED,
        *history_specs(),
        spec_for(MovedRows),
        *published,
        *foreign_projects(),
    ],
    jobs=[ingest_landing_job, *asset_jobs, compact_tables, scrub_lake, daily_alert_summary, *publishing_jobs],
    schedules=[*schedules, alert_summary_at_eight, *publishing_schedules],
    sensors=[
        landing_sensor(SOURCES, ingest_landing_job),
        automation_sensor,
        alert_sensor(SOURCES, told_jobs=["daily_tables"]),
    ],
    resources={"io_manager": LakeIOManager(), "lake": LakeResource()},
    loggers={"console": console},
    executor=dg.in_process_executor,
)
