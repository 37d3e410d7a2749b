"""What came in, as assets: one step for the landing folders of every domain, and what is remembered of rows that moved.
Not here: taking files in (ingestion)."""

from __future__ import annotations

from data_platform.core.discovery import landing_sources
from data_platform.core.lake.moved_rows import MovedRows
from data_platform.core.orchestration.specs import spec_for
from data_platform.sources.ingestion import ingestion_assets

ingestion = ingestion_assets(landing_sources())
moved_rows = spec_for(MovedRows)
