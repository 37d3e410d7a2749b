"""When published tables are brought to PostgreSQL, where there is one. Not here: publishing."""

from __future__ import annotations

import dagster as dg

from data_platform.bi.assets import assets
from data_platform.core.orchestration.schedules import by_the_clock

if assets:
    publish_analytics = dg.define_asset_job(
        "publish_analytics",
        dg.AssetSelection.assets(*assets),
        description="Months of published tables that changed, into PostgreSQL.",
    )
    publish_analytics_at_half_past = by_the_clock(
        "publish_analytics_at_half_past",
        publish_analytics,
        # Half an hour after the daily tables; in between for what came late. A look that finds nothing takes a second.
        "30 * * * *",
        "Every hour at half past: what changed in published tables, into PostgreSQL.",
        run_key=lambda moment: f"publish-{moment:%Y-%m-%dT%H:%M}",
    )
