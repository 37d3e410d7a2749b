"""What takes in files that landed, and reads systems while no worker does: jobs, a sensor and a schedule.
Not here: taking files in (ingestion), reading systems (streams, worker)."""

from __future__ import annotations

import dagster as dg

from data_platform.core.discovery import landing_sources
from data_platform.core.orchestration.schedules import by_the_clock
from data_platform.core.settings import settings
from data_platform.sources.assets import ingestion, reading
from data_platform.sources.ingestion import landing_sensor
from data_platform.sources.worker_state import worker_lives

ingest_landing_files = dg.define_asset_job("ingest_landing_files", dg.AssetSelection.assets(ingestion))
landing_files = landing_sensor(landing_sources(), ingest_landing_files)


def _worker_reads() -> str | None:
    return "A worker reads them." if worker_lives(settings().worker) else None


if reading is not None:
    read_all_sources = dg.define_asset_job(
        "read_all_sources",
        dg.AssetSelection.assets(reading),
        description="The configured systems read until nothing more is there.",
    )
    every_five_minutes = by_the_clock(
        "read_sources_without_worker",
        read_all_sources,
        "*/5 * * * *",
        "Reads the configured systems while no worker does.",
        run_key=lambda moment: moment.isoformat(timespec="minutes"),
        unless=_worker_reads,
    )
