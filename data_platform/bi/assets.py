"""Published tables as assets downstream of the lake's: all of one step, none without a database to publish to.
Not here: publishing itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from data_platform.core.contract.table import Table
from data_platform.core.discovery import known_contracts
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.publication import DELTA_VERSION
from data_platform.core.orchestration.specs import column_schema
from data_platform.core.orchestration.steps import StepRun, step_of_events
from data_platform.core.settings import settings

GROUP = "analytics"


def _step(tables: list[type[Table]]) -> dg.AssetsDefinition:
    @step_of_events(*map(_spec, tables), name="analytics__published_tables", can_subset=True)
    def publish_analytics(run: StepRun) -> Iterator[Any]:
        from data_platform.bi.publishing import publish, require_published
        from data_platform.bi.server import analytics_url

        wanted = [table for table in tables if _published_key(table) in run.context.selected_asset_keys]
        done = publish(run.lake, analytics_url(settings()), wanted)
        for one in done:
            if one.problem is None:
                metadata: dict[str, Any] = {
                    "dagster/row_count": one.total,
                    "rows_loaded": one.rows,
                    "partitions_loaded": list(one.loaded),
                    "summaries_refreshed": list(one.summaries),
                    DELTA_VERSION: str(one.version),
                    "seconds": one.seconds,
                    "readers_waited_seconds": one.swap_seconds,
                    "nul_rows": dict(one.nul_rows),
                    "notes": list(one.notes),
                }
                yield dg.MaterializeResult(asset_key=_published_key(one.table), metadata=metadata)
        require_published(done)

    return publish_analytics


def _spec(table: type[Table]) -> dg.AssetSpec:
    assert table.published is not None
    columns = table.published.columns(table)
    schema = [column for column in column_schema(table).columns if column.name in columns]
    lineage = {name: [dg.TableColumnDep(asset_key(table), name)] for name in columns}
    return dg.AssetSpec(
        _published_key(table),
        deps=[asset_key(table)],
        group_name=GROUP,
        description=table.table_description(),
        owners=[table.owner],
        kinds={"postgres"},
        tags={"domain": table.owner.removeprefix("team:")},
        metadata={
            "dagster/column_schema": dg.TableSchema(columns=schema),
            "dagster/column_lineage": dg.TableColumnLineage(lineage),
            "dagster/table_name": f"{GROUP}.{table.table_name()}",
            "grain": ", ".join(table.primary_key),
        },
    )


def _published_key(table: type[Table]) -> dg.AssetKey:
    return dg.AssetKey([GROUP, table.table_name()])


published = [table for table in known_contracts().values() if table.published]
assets = [_step(published)] if published and settings().analytics_url else []
"""None without a database to publish to."""
