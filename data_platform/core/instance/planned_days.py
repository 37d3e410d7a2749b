"""What a run is to write, told to Dagster before it begins. Not here: which days a run computes (chosen_days)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import dagster as dg

# Planned materialisations have no public name.
from dagster._core.events import AssetMaterializationPlannedData, DagsterEventBatchMetadata, generate_event_batch_id


def plan_days(
    instance: dg.DagsterInstance, job: str, run_id: str, steps: Mapping[dg.AssetKey, tuple[str, Collection[str]]]
) -> None:
    """Tell Dagster what a run that tells for itself is to write (asset → its step and days, `""` for a table without),
    as it does by itself for others: so that these days are shown as under way, are not asked for twice, and are failed
    when the step fails."""
    planned = [
        dg.DagsterEvent.build_asset_materialization_planned_event(
            job, step, AssetMaterializationPlannedData(key, partition=day or None, partitions_subset=None)
        )
        for key, (step, days) in steps.items()
        for day in sorted(days)
    ]
    batch = generate_event_batch_id()  # type: ignore[no-untyped-call]
    for at, event in enumerate(planned, 1):
        instance.report_dagster_event(
            event, run_id, logging.DEBUG, DagsterEventBatchMetadata(batch, at == len(planned))
        )
