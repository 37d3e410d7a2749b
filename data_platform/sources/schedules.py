"""What takes in files that landed: a job, and the sensor that starts it. Not here: taking them in (ingestion)."""

from __future__ import annotations

import dagster as dg

from data_platform.core.discovery import landing_sources
from data_platform.sources.assets import ingestion
from data_platform.sources.ingestion import landing_sensor

ingest_landing_files = dg.define_asset_job("ingest_landing_files", dg.AssetSelection.assets(ingestion))
landing_files = landing_sensor(landing_sources(), ingest_landing_files)
