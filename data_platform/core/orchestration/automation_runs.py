"""The automation's requests made into few runs that begin at once, of what is connected. Dagster would start one for
each range of days, and hand tables of unlike days to a backfill, which is looked after every 30 seconds.
Not here: which days are requested (automation)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from itertools import pairwise
from typing import Any

import dagster as dg

from data_platform.core.contract.calendar import without_gaps
from data_platform.core.contract.day_ranges import consecutive
from data_platform.core.contract.day_slices import BRIDGED_DAYS, BRIDGED_ROWS
from data_platform.core.contract.table import contracts
from data_platform.core.instance.materialisations import RANGE_END, RANGE_START
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.partitions import as_days
from data_platform.core.quality.connected import connected

PARTITION = "dagster/partition"
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
        graph = context.repository_def.asset_graph if context.repository_def else None
        begun = [run for request in requests if request for run in _begun_at_once(request, graph)]
        return copy(found, run_requests=begun)


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


def _begun_at_once(request: dg.RunRequest, graph: Any) -> list[dg.RunRequest]:
    """Runs instead of a backfill, of the requested tables that need no other requested one of unlike days.

    The others are left out: they are requested again once what they need is written, at the next tick. A backfill is
    looked after every 30 s, and holds the tables it has finished for as long: an event was in the churn features after
    14 s (median) and 37 s (p95), and is after 10 to 19 s now. A request of days in many ranges stays a backfill.
    """
    asked: Any = request.asset_graph_subset
    if asked is None or graph is None:
        return [request]
    days = {key: frozenset(s.get_partition_keys()) for key, s in asked.partitions_subsets_by_asset_key.items()}
    days |= dict.fromkeys(asked.non_partitioned_asset_keys, frozenset())
    runs = []
    for keys in first_to_run(days, graph):
        ranges = consecutive(sorted(days[keys[0]]))
        if len(ranges) > MOST_RANGES:
            return [request]
        runs += [_run(keys, span, request.tags or {}) for span in ranges or [[]]]
    return runs or [request]


def _run(keys: list[dg.AssetKey], span: list[str], tags: Mapping[str, str]) -> dg.RunRequest:
    """A run of these tables over days without a gap, or of tables without days."""
    one = span[0] if len(span) == 1 else None
    of_days = {PARTITION: one} if one else {RANGE_START: span[0], RANGE_END: span[-1]} if span else {}
    return dg.RunRequest(asset_selection=keys, partition_key=one, tags={**tags, **of_days})


def first_to_run(days: Mapping[dg.AssetKey, frozenset[str]], graph: Any) -> list[list[dg.AssetKey]]:
    """The requested tables in runs, each of tables of the same days (none: a table without) that need no requested
    table outside their run. Tables of one step are in one run, or in none."""
    within = set(days)
    while late := {key for key in within if _waits(key, days, within, graph)}:
        within -= late
    runs: dict[frozenset[str], list[dg.AssetKey]] = {}
    for key in sorted(within):
        runs.setdefault(days[key], []).append(key)
    return list(runs.values())


def _waits(key: dg.AssetKey, days: Mapping[dg.AssetKey, frozenset[str]], within: Set[dg.AssetKey], graph: Any) -> bool:
    node = graph.get(key)
    others = (node.parent_keys | node.execution_set_asset_keys) & days.keys() - {key}
    return any(other not in within or days[other] != days[key] for other in others)
