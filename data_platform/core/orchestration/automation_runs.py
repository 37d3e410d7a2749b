"""The automation's requests made into few runs, of what is connected: Dagster starts one for each range of days.
Not here: which days are requested (automation)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

import dagster as dg

from data_platform.core.contract.day_slices import BRIDGED_DAYS, BRIDGED_ROWS, without_gaps
from data_platform.core.contract.table import contracts
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.partitions import as_days
from data_platform.core.quality.connected import connected

MOST_RANGES = 3
"""So many runs of a table are left as they are: exactly the days that are due, and no others."""


class AutomationInFewRuns(dg.AutomationConditionSensorDefinition):
    """Dagster's, whose backfills of days that lie apart go over the short gaps between them.

    Days in between are computed again, with the same rows, and so are the days that depend on them, which lie between
    days that are due as well: so it settles. Dagster has no runs over chosen days, and each run is a process of some
    seconds: 600 late days were 480 ranges of every table. Evaluated by the code server, whose answer can be changed.
    """

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        from dagster_shared.record import copy  # what a tick found is a record that nothing public can change

        found = super().evaluate_tick(context)
        if not found.run_requests:
            return found
        lake, tables = configured_lake(), contracts().values()
        absent = {asset_key(table) for table in {*tables} - connected(lake, tables)}
        requests = [_in_few_ranges(request, absent, lake) for request in found.run_requests]
        return copy(found, run_requests=[request for request in requests if request])


def _in_few_ranges(request: dg.RunRequest, absent: Collection[dg.AssetKey], lake: Lake) -> dg.RunRequest | None:
    asked: Any = request.asset_graph_subset
    if asked is None:
        selected = [key for key in request.asset_selection or () if key not in absent]
        return request.with_replaced_attrs(asset_selection=selected) if selected else None
    days = {key: subset for key, subset in asked.partitions_subsets_by_asset_key.items() if key not in absent}
    whole = asked.non_partitioned_asset_keys - absent
    if not days and not whole:
        return None
    subset = asked._replace(partitions_subsets_by_asset_key=in_few_ranges(days, lake), non_partitioned_asset_keys=whole)
    return dg.RunRequest.for_asset_graph_subset(subset, tags=request.tags)


def in_few_ranges(requested: Mapping[dg.AssetKey, Any], lake: Lake) -> dict[dg.AssetKey, Any]:
    """The requested partitions of each table, and short gaps between them where they are in many ranges."""
    return {key: _bridged(key, subset, lake) for key, subset in requested.items()}


def _bridged(key: dg.AssetKey, subset: Any, lake: Lake) -> Any:
    days = as_days(sorted(subset.get_partition_keys()))
    gaps = [
        [str(day) for day in between] for one, other in pairwise(days) if (between := without_gaps([one, other])[1:-1])
    ]
    table = contracts().get("/".join(key.path))
    if len(gaps) < MOST_RANGES or table is None or not lake.exists(table):
        return subset
    rows = lake.rows(table)
    short = [gap for gap in gaps if len(gap) <= BRIDGED_DAYS and sum(rows.get(day, 0) for day in gap) <= BRIDGED_ROWS]
    return subset.with_partition_keys(day for gap in short for day in gap)
