"""What freshness and service levels are judged by, collected from the lake, Dagster's records and landing.
Belongs here: looking. Not here: any judgement (freshness, reports)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from data_platform.core.contract.calendar import midnight
from data_platform.core.contract.lineage import computed_with, inputs_of, upstream_of
from data_platform.core.contract.received import IngestionLedger, RejectedRows
from data_platform.core.contract.table import Days, Table, contracts
from data_platform.core.instance.materialisations import WHOLE, Materialisations
from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.observability.freshness import FreshnessFacts, FreshnessVerdict, judge_freshness
from data_platform.operations.staleness import in_build_order, stale_days
from data_platform.sources.landing_files import pending_files
from data_platform.sources.landing_source import HEARTBEAT, LandingSource

if TYPE_CHECKING:
    import dagster as dg

LEDGER_DAYS = 2
"""How far back files without lines are looked for: an older sign of life is none."""
WRITES_ASKED = 30
"""Most changed input days whose first write is asked for, per table and input: those that changed longest ago."""


def look_at_tables(
    lake: Lake, history: Materialisations, sources: Sequence[LandingSource], now: dt.datetime
) -> dict[str, FreshnessVerdict]:
    """Key → how fresh it is, for every table with a freshness promise."""
    promised = [table for table in contracts().values() if table.fresh]
    facts = table_facts(upstream_of(promised), lake, history, sources, now)
    return judge_freshness(facts, now, settings().first_day)


def table_facts(
    tables: Iterable[type[Table]],
    lake: Lake,
    history: Materialisations,
    sources: Sequence[LandingSource],
    now: dt.datetime,
) -> dict[str, FreshnessFacts]:
    """Key → facts, of the given tables; everything they are computed from must be among them."""
    tables = sorted(tables, key=lambda table: table.key)
    landed = {source.table.key: source for source in sources}
    written = {table.key: history.newest(table) for table in tables}
    waiting = _waiting_since(history, tables, written)
    facts: dict[str, FreshnessFacts] = {}
    for table in tables:
        sizes = lake.partitions(table).filter(pl.col("rows") > 0)
        newest = max((day for day in sizes["partition"] if day), default=None)
        needed = inputs_of(table)
        if needed:
            newest = max(filter(None, (newest, *written[table.key])), default=None)
        day = dt.date.fromisoformat(newest) if newest else None
        source = landed.get(table.key)
        facts[table.key] = FreshnessFacts(
            promise=table.fresh,
            inputs=tuple(days.table.key for days in needed),
            built=day is not None if table.partition else lake.exists(table),
            newest=day,
            newest_event=_newest_event(lake, source, day) if source and day else None,
            heartbeat=_heartbeat(lake, source, now) if source and table.fresh else None,
            waiting_since=waiting.get(computed_with(table).key),
        )
    return facts


def _newest_event(lake: Lake, source: LandingSource, day: dt.date) -> dt.datetime | None:
    newest = lake.scan(source.table, day, day).select(pl.col(source.time_field).max()).collect().item()
    return newest if isinstance(newest, dt.datetime) else None


def _heartbeat(lake: Lake, source: LandingSource, now: dt.datetime) -> dt.datetime | None:
    """When the source last said that it is alive without sending an event: a file without lines, or a touched heartbeat
    file. A file with events is no such sign: it may be a backfill. What still waits in landing is not taken in, so
    nothing after it counts."""
    folder = settings().landing / source.name
    since = now.astimezone(dt.UTC).date() - dt.timedelta(LEDGER_DAYS)
    empty = lake.scan(IngestionLedger, since).filter(pl.col("source") == source.name, pl.col("received_lines") == 0)
    signs = [empty.select(pl.col("received_at").max()).collect().item(), _changed(folder / HEARTBEAT)]
    newest = max((sign for sign in signs if sign is not None), default=None)
    if newest is None:
        return None
    waiting = [changed for changed in map(_changed, pending_files(folder)) if changed is not None]
    oldest: dt.datetime = min([newest, *waiting])
    return oldest


def _changed(path: Path) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except FileNotFoundError:
        return None


# ---------------------------------------------------------------------------- what waits to be computed
def _waiting_since(
    history: Materialisations, tables: Iterable[type[Table]], written: Mapping[str, Mapping[str, int]]
) -> dict[str, dt.datetime]:
    """Key → time of the oldest write of an input day that is not computed into the table, also through other tables."""
    stale = stale_days(history, tables)
    waiting: dict[str, dt.datetime] = {}
    for table in in_build_order(tables):
        days = stale.get(table)
        if not days:
            continue
        moments = [waiting[needed.table.key] for needed in inputs_of(table) if needed.table.key in waiting]
        for needed in inputs_of(table):
            own = history.confirmed(table) if table.only_changed else written[table.key]
            after = _not_computed(needed, days, own, written[needed.table.key])
            oldest_first = sorted(after, key=lambda day: written[needed.table.key][day])[:WRITES_ASKED]
            moments += [history.first_after(needed.table, day, after[day]) for day in oldest_first]
        if moments:
            waiting[table.key] = min(moments)
    return waiting


def _not_computed(
    needed: Days, days: Sequence[str], own: Mapping[str, int], written: Mapping[str, int]
) -> dict[str, int]:
    """Input day that was written after an out-of-date day that depends on it → id of the oldest such day's write."""
    numbers = {day: dt.date.fromisoformat(day).toordinal() for day in {*days, *written} if day != WHOLE}

    def depends(day: str, input_day: str) -> bool:
        if WHOLE in (day, input_day):
            return True
        apart = numbers[input_day] - numbers[day]
        return apart <= needed.last and (needed.first is None or apart >= needed.first)

    found: dict[str, int] = {}
    for day in days:
        computed = own.get(day, 0)
        for input_day, newest in written.items():
            if newest > computed and depends(day, input_day):
                found[input_day] = min(computed, found.get(input_day, computed))
    return found


# -------------------------------------------------------------------------------- what a day was like
def finished_runs(instance: dg.DagsterInstance, day: dt.date) -> tuple[int, int]:
    """(runs that succeeded, runs that failed) of those that were created on the UTC day."""
    import dagster as dg

    start = midnight(day)

    def count(status: dg.DagsterRunStatus) -> int:
        wanted = dg.RunsFilter(statuses=[status], created_after=start, created_before=start + dt.timedelta(days=1))
        return instance.get_runs_count(wanted)

    return count(dg.DagsterRunStatus.SUCCESS), count(dg.DagsterRunStatus.FAILURE)


def received_and_rejected(lake: Lake, day: dt.date) -> tuple[int, int]:
    """(lines received on the day, those rejected at receipt and the rows of the day that were rejected later)."""
    ledger = lake.scan(IngestionLedger, day, day).select(pl.sum("received_lines"), pl.sum("rejected_lines"))
    received, rejected = ledger.collect().row(0)
    later = [
        int(lake.partitions(table).filter(pl.col("partition") == day.isoformat())["rows"].sum())
        for table in contracts().values()
        if issubclass(table, RejectedRows)
    ]
    return int(received), int(rejected) + sum(later)


def stored_bytes(lake: Lake) -> int:
    """Size of the live files of all tables."""
    return sum(int(lake.partitions(table)["bytes"].sum()) for table in contracts().values())
