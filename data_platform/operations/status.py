"""Facts about every table for people on call: rows, newest day, freshness, last verdicts, rejected rows.
Belongs here: collecting them from the Delta logs and Dagster's records. Not here: showing them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from data_platform.core.checks import asset_key
from data_platform.core.contract import Table, contracts
from data_platform.core.lake import Lake
from data_platform.core.received import RejectedLines, RejectedRows
from data_platform.quality.contracts import FreshnessState
from data_platform.quality.freshness import Look
from data_platform.quality.observations import look_at_tables
from data_platform.sources.landing_source import LandingSource

VERDICTS_LOOKED_AT = 400
"""A run over a year leaves one verdict per day."""


@dataclass(frozen=True)
class TableStatus:
    """One table as of now. `freshness` is judged by event time and the newest expected day, never by when a run wrote;
    it is empty for a table that promises none."""

    key: str
    owner: str
    rows: int
    bytes: int
    partitions: int
    newest: str | None
    freshness: str
    age: dt.timedelta | None
    reason: str
    """Why the freshness is what it is, in one sentence."""
    failed_checks: tuple[str, ...]
    checks: int


def table_status(table: type[Table], look: Look | None, lake: Lake, instance: dg.DagsterInstance) -> TableStatus:
    partitions = lake.partitions(table)
    days = [day for day in partitions["partition"].to_list() if day]
    verdicts = _latest_verdicts(table, instance)
    return TableStatus(
        key=table.key,
        owner=table.owner,
        rows=int(partitions["rows"].sum()),
        bytes=int(partitions["bytes"].sum()),
        partitions=len(days),
        newest=max(days, default=None),
        freshness=look.state if look else "" if lake.exists(table) else FreshnessState.NOT_BUILT,
        age=look.age if look else None,
        reason=look.reason if look else "",
        failed_checks=tuple(sorted(name for name, passed in verdicts.items() if not passed)),
        checks=len(verdicts),
    )


def all_status(
    lake: Lake, instance: dg.DagsterInstance, sources: Sequence[LandingSource], now: dt.datetime
) -> list[TableStatus]:
    """Every table, in key order."""
    looks = look_at_tables(lake, instance, sources, now)
    return [table_status(table, looks.get(key), lake, instance) for key, table in contracts().items()]


def rejected_share(statuses: Sequence[TableStatus]) -> dict[str, int]:
    """Rows in each rejected table that has any, by key."""
    tables = contracts()
    rejecting = {s.key: s.rows for s in statuses if issubclass(tables[s.key], (RejectedLines, RejectedRows))}
    return {key: rows for key, rows in rejecting.items() if rows}


def _latest_verdicts(table: type[Table], instance: dg.DagsterInstance) -> dict[str, bool]:
    """Check name → whether it passed in every partition that the newest run with verdicts judged."""
    verdicts: dict[str, bool] = {}
    storage = instance.event_log_storage
    for key in _check_keys(table):
        judged: dict[str, list[bool]] = {}
        for record in storage.get_asset_check_execution_history(check_key=key, limit=VERDICTS_LOOKED_AT):
            event = record.event.dagster_event if record.event else None
            # A check that was planned by a run that died or failed before it has no verdict.
            if event and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                judged.setdefault(record.run_id, []).append(event.asset_check_evaluation_data.passed)
        if judged:
            verdicts[key.name] = all(next(iter(judged.values())))
    return verdicts


def _check_keys(table: type[Table]) -> list[dg.AssetCheckKey]:
    from data_platform.definitions import defs

    keys = defs.resolve_asset_graph().asset_check_keys
    if table.journal:  # its checks are about the other tables
        return []
    return sorted((key for key in keys if key.asset_key == asset_key(table)), key=lambda key: key.name)
