"""The code location: what every domain and room declares, found. `dagster dev` loads this module.
Not here: any list of them, any table, any rule."""

from __future__ import annotations

import logging

import dagster as dg

from data_platform.core.importing import freeze_imported, importing
from data_platform.core.orchestration.automation_runs import AutomationInFewRuns
from data_platform.core.orchestration.io_manager import LakeResource, NoHandover
from data_platform.core.orchestration.specs import history_specs
from data_platform.core.packages import modules_called
from data_platform.core.private_files import close_home, write_for_owner_alone
from data_platform.core.settings import settings
from data_platform.warehouse.starting import DbtAhead

write_for_owner_alone()  # the process of a run, or of the code server
close_home(settings().home, settings().parts)

automation_sensor = AutomationInFewRuns(
    "automation",
    target=dg.AssetSelection.all(include_sources=False),
    minimum_interval_seconds=5,  # the daemon looks no more often
    use_user_code_server=True,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Computes exactly the days that depend on an input day that was written again.",
)


@dg.logger(dg.Field({"log_level": dg.Field(str, default_value="INFO"), "name": dg.Field(str, default_value="dagster")}))
def console(context: dg.InitLoggerContext) -> logging.Logger:
    """Dagster's console log without its own 40 lines a step: what runs read and wrote, and what went wrong."""
    return dg.colored_console_logger.logger_fn(context)


def found() -> dg.Definitions:
    """Everything declared. A function's, because Dagster wants one Definitions in a module."""
    # Assets first: schedules choose among them.
    assets = dg.load_assets_from_modules(modules_called("assets"), include_specs=True)
    clock = dg.load_definitions_from_modules(modules_called("schedules"))
    return dg.Definitions(
        assets=[*assets, *history_specs()],
        jobs=clock.jobs,
        schedules=clock.schedules,
        sensors=[*(clock.sensors or ()), automation_sensor],
        resources={"io_manager": NoHandover(), "lake": LakeResource(), "dbt": DbtAhead()},
        loggers={"console": console},
        executor=dg.in_process_executor,
    )


with importing():
    defs = found()
freeze_imported()
