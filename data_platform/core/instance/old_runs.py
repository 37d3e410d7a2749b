"""Dagster's runs that ended long ago: which may be forgotten, and forgetting them.
Belongs here: what rests on a run. Not here: how long runs are kept, when (operations)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dagster as dg

from data_platform.core.instance.past_runs import PAGE, run_records

OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class OldRuns:
    """Ids of runs that ended before a moment."""

    free: tuple[str, ...]
    held: tuple[str, ...]
    """With them Dagster would forget that a day was ever written, and the platform would compute it again."""


def old_runs(instance: dg.DagsterInstance, before: dt.datetime) -> OldRuns:
    """The runs that are over and were last heard of before a moment.

    Held are those that were the last to write a partition of an asset, or the last to try and not to: Dagster keeps
    these facts in the run's own events.
    """
    ended = [
        one.dagster_run.run_id for one in run_records(instance, dg.RunsFilter(statuses=OVER, updated_before=before))
    ]
    if not ended:
        return OldRuns((), ())
    needed = {run for key in instance.all_asset_keys() for run in _rested_on(instance, key, before)}
    free, held = list[str](), list[str]()
    for run in ended:
        (held if run in needed else free).append(run)
    return OldRuns(tuple(free), tuple(held))


def forget_runs(instance: dg.DagsterInstance, ids: Iterable[str]) -> None:
    """Delete runs with their events and what their steps printed. Repeating it is safe."""
    for run_id in ids:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)


def _rested_on(instance: dg.DagsterInstance, key: dg.AssetKey, before: dt.datetime) -> Iterator[str]:
    """The runs of what holds of an asset, as far as it is that old."""
    for record in instance.get_asset_records([key]):
        entry = record.asset_entry
        yield from filter(None, (entry.last_run_id, entry.last_materialization and entry.last_materialization.run_id))
    storage = instance.event_log_storage
    tried = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    yield from (run_id for run_id, _ in tried.values())
    newest = storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    ids = sorted(newest.values())
    for start in range(0, len(ids), PAGE):
        wanted = dg.AssetRecordsFilter(key, storage_ids=ids[start : start + PAGE], before_timestamp=before.timestamp())
        yield from (record.run_id for record in instance.fetch_materializations(wanted, limit=PAGE).records)
