"""What came in, as assets: the systems that are read, one step for the landing folders of every domain, and what is
remembered of rows that moved. Not here: taking files in (ingestion), reading systems (streams)."""

from __future__ import annotations

from data_platform.core.discovery import landing_sources
from data_platform.core.lake.moved_rows import MovedRows
from data_platform.core.orchestration.specs import spec_for
from data_platform.sources.ingestion import ingestion_assets
from data_platform.sources.streams import configured_sections, read_into, reading_assets

_configured = configured_sections()
ingestion = ingestion_assets(landing_sources(), read_into(_configured))
reading = reading_assets(_configured, landing_sources())
moved_rows = spec_for(MovedRows)
