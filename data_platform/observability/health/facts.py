"""What the health page knows: one snapshot of all tables, taken in the background every few seconds.
Belongs here: collecting from the Delta logs and the ledgers. Not here: Dagster's records, showing anything."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import polars as pl
from deltalake import DeltaTable

from data_platform.core.contract.lineage import computed_with, inputs_of, upstream_of
from data_platform.core.contract.received import ReceivedLines, RejectedRows, sources_of_domain
from data_platform.core.contract.table import Table
from data_platform.core.lake.commits import StagedFile
from data_platform.core.lake.rewriting import MERGED
from data_platform.core.lake.store import Lake
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.observability.alerts.episodes import Episode
from data_platform.observability.alerts.problems import Problem
from data_platform.observability.contracts import Freshness, FreshnessState, ServiceLevels
from data_platform.observability.health import verdicts
from data_platform.observability.health.days import LONGEST, DayState, NeededDays, WrittenDays, day_states, written_days
from data_platform.observability.health.open_problems import OpenProblems, freshness_by_days
from data_platform.observability.health.verdicts import Counts
from data_platform.sources.landing_source import LandingSource

log = logging.getLogger(__name__)

REFRESH_SECONDS = 15.0
FRESHNESS_KEPT = dt.timedelta(minutes=30)
"""A look at freshness is believed for this long; after it, freshness follows from the newest day alone."""
NOT_CONNECTED = (None, "Nothing was ever received of what it is computed from.", None)
LEVELS_SHOWN = dt.timedelta(days=14)
HELD = ("asset", "asset_partition", "check_name", "status", "severity", "contract_version", "recorded_at")
NO_HISTORY = CheckResults.empty()
NO_VERDICTS = NO_HISTORY.select(HELD)
NO_PARTITIONS = pl.DataFrame(
    schema={"day": pl.Date, "rows": pl.Int64, "bytes": pl.Int64, "written_at": pl.Datetime("us", "UTC")}
)
MERGED_FILE = rf"(^|/)({MERGED}-|part-\d{{5}}-)[^/]*$"
"""What was merged from small files, by us or by delta-rs."""
T = TypeVar("T")


@dataclass(frozen=True)
class TableFreshness:
    """How fresh a table is. `looked_at` is None when it follows from the newest day alone."""

    state: FreshnessState | None
    reason: str
    age: dt.timedelta | None
    looked_at: dt.datetime | None = None


@dataclass(frozen=True)
class TableFacts:
    """One table as of the snapshot."""

    table: type[Table]
    built: bool
    rows: int
    bytes: int
    written: WrittenDays | None
    """None for a table without days."""
    states: Sequence[DayState]
    freshness: TableFreshness
    counts: Counts
    holding: pl.DataFrame
    """The verdict that holds of each day and rule."""
    history: pl.DataFrame
    """The last hundred verdicts, rows of CheckResults, newest first."""
    rejected_rows: int | None
    """None for a table from which nothing is rejected."""
    connected: bool = True
    """Whether anything was ever received of what it is computed from: a home without a shop has days of zeros."""
    unreadable: str | None = None
    """What kind of error reading its log gave."""

    @property
    def rejected_share(self) -> float | None:
        if self.rejected_rows is None or not self.rows + self.rejected_rows:
            return None
        return self.rejected_rows / (self.rows + self.rejected_rows)

    @property
    def quiet(self) -> bool:
        """It holds nothing and nothing was rejected from it, or what it holds is zeros."""
        return self.unreadable is None and (not self.connected or not (self.rows or self.rejected_rows))

    def days_in(self, state: DayState) -> list[dt.date]:
        return [day for day, found in zip(self.written.dates(), self.states, strict=True) if found == state] if (
            self.written
        ) else []  # fmt: skip


@dataclass(frozen=True)
class HealthSnapshot:
    """Everything the pages show, all of one moment."""

    as_of: dt.datetime
    seconds: float
    tables: Mapping[str, TableFacts]
    problems: Sequence[Problem]
    ended: Sequence[Episode]
    """Problems that are over, the newest first, as far as alerts remember them."""
    levels: Sequence[Mapping[str, Any]]
    """The newest row of ServiceLevels per name."""

    @property
    def empty(self) -> bool:
        """Nothing was ever built."""
        return not any(facts.built for facts in self.tables.values())


class Collector:
    """Takes snapshots of a lake, one after the other; only what was written since the last one is read again.

    `current()` never waits but for the very first snapshot. `start()` takes further ones in a thread of its own.
    """

    def __init__(
        self,
        lake: Lake,
        tables: Sequence[type[Table]],
        sources: Sequence[LandingSource] = (),
        every: float = REFRESH_SECONDS,
    ) -> None:
        self.lake, self.tables, self.every = lake, list(tables), every
        self.failure: str | None = None
        """What kind of error kept the last snapshot from being taken."""
        self._rejected = _rejected_tables(self.tables, sources)
        self._received = {table.key for table in self.tables if issubclass(table, ReceivedLines)}
        self._sources_of = {
            table.key: {source.key for source in sources_of_domain(table)}
            or self._received & {needed.key for needed in upstream_of([table]) - {table}}
            for table in self.tables
        }
        self._open_problems = OpenProblems(lake, sources)
        self._logs: dict[str, tuple[DeltaTable, pl.DataFrame]] = {}
        self._ledger_version: int | None = None
        self._ledger_files: set[str] = set()
        self._held = NO_VERDICTS
        self._unreadable: dict[str, str] = {}
        self._history = CheckResults.empty()
        self._snapshot: HealthSnapshot | None = None
        self._taking = threading.Lock()
        self._stopped = threading.Event()

    # ------------------------------------------------------------------------------------------ the clock
    def start(self) -> None:
        threading.Thread(target=self._run, name="health-facts", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.refresh()
                self.failure = None
            except Exception as error:  # the page goes on showing what it knew, and says how old that is
                self.failure = type(error).__name__
                log.exception("could not take a snapshot")
            self._stopped.wait(self.every)

    def current(self) -> HealthSnapshot:
        """The newest snapshot; the first caller takes it if there is none yet."""
        return self._snapshot or self.refresh(only_the_first=True)

    def refresh(self, only_the_first: bool = False) -> HealthSnapshot:
        with self._taking:
            if self._snapshot is None or not only_the_first:
                self._snapshot = self._take(dt.datetime.now(dt.UTC))
            return self._snapshot

    # -------------------------------------------------------------------------------------------- reading
    def _take(self, now: dt.datetime) -> HealthSnapshot:
        began = time.perf_counter()
        self._unreadable = {}
        partitions = {
            table.key: self._readable(table, partial(self._partitions, table), NO_PARTITIONS) for table in self.tables
        }
        held = self._readable(CheckResults, lambda: self._verdicts(now), NO_VERDICTS)
        holding = held.partition_by("asset", as_dict=True)
        histories = self._history.partition_by("asset", as_dict=True, maintain_order=True)
        counts, judged = verdicts.counts(held), verdicts.judged_days(held)
        looks: dict[str, TableFreshness] = self._readable(Freshness, lambda: self._freshness(now), {})
        written = {
            table.key: written_days(partitions[table.key], judged.get(table.key)) if table.partition else None
            for table in self.tables
        }
        totals = {key: (int(frame["rows"].sum()), int(frame["bytes"].sum())) for key, frame in partitions.items()}
        fed = {key for key in self._received if totals[key][0]}
        found = {}
        for table in self.tables:
            key, days = table.key, written[table.key]
            rejected = self._rejected.get(key)
            built = key in self._logs or key in self._unreadable
            newest = _newest_day(partitions[key])
            sources = self._sources_of[key]
            connected = not sources or not sources.isdisjoint(fed)
            by_days = freshness_by_days(table, built, newest, now) if connected else NOT_CONNECTED
            found[key] = TableFacts(
                table=table,
                built=built,
                rows=totals[key][0],
                bytes=totals[key][1],
                written=days,
                states=day_states(days, _needed(table, written)) if days else (),
                freshness=looks.get(key) or TableFreshness(*by_days),
                counts=counts.get(key, Counts()),
                holding=holding.get((key,), NO_VERDICTS),
                history=histories.get((key,), NO_HISTORY),
                rejected_rows=totals.get(rejected.key, (0, 0))[0] if rejected else None,
                connected=connected,
                unreadable=self._unreadable.get(key),
            )
        problems = self._open_problems.look(list(found.values()), bool(looks), now, self._ledger_version)
        levels: list[dict[str, Any]] = self._readable(ServiceLevels, lambda: self._levels(now), [])
        return HealthSnapshot(now, time.perf_counter() - began, found, problems, self._open_problems.ended, levels)

    def _readable(self, table: type[Table], read: Callable[[], T], otherwise: T) -> T:
        """What `read` gives; else note that the table cannot be read: one damaged table must not hide the others."""
        try:
            return read()
        except Exception as error:
            self._logs.pop(table.key, None)
            self._unreadable[table.key] = type(error).__name__
            log.warning("cannot read %s: %s", table.key, type(error).__name__)
            return otherwise

    def _partitions(self, table: type[Table]) -> pl.DataFrame:
        """day, rows, bytes, written_at of each live partition; read again only if the table has a newer version."""
        kept = self._logs.get(table.key)
        if kept is None:
            if not self.lake.exists(table):
                return NO_PARTITIONS
            handle = self.lake.open(table)
        else:
            handle, before = kept[0], kept[0].version()
            handle.update_incremental()
            if handle.version() == before:
                return kept[1]
        self._logs[table.key] = (handle, _live_partitions(handle, table))
        return self._logs[table.key][1]

    def _verdicts(self, now: dt.datetime) -> pl.DataFrame:
        """The verdicts that hold, of the last 400 days. A look reads the files that the one before did not see."""
        version = self.lake.version(CheckResults)
        if version is not None and version != self._ledger_version:
            actions: Any = self.lake.open(CheckResults).get_add_actions(flatten=True)
            first = (now - dt.timedelta(LONGEST)).date().isoformat()
            day = pl.col(f"partition.{CheckResults.partition}").cast(pl.String)
            live = set(pl.DataFrame(actions).filter(day >= first)["path"])
            if not self._ledger_files <= live:  # merged into others, or a new ledger: begin again
                self._ledger_files, self._held, self._history = set(), NO_VERDICTS, CheckResults.empty()
            new = [StagedFile(path, None, 0, 0) for path in sorted(live - self._ledger_files)]
            rows = self.lake.scan_staged(CheckResults, new)
            self._held = verdicts.newest(pl.concat([self._held.lazy(), rows.select(HELD)])).collect()
            self._history = verdicts.newest_first(pl.concat([self._history.lazy(), rows]))
            self._ledger_files, self._ledger_version = live, version
        return verdicts.of_the_applied_contract(self._held)

    def _freshness(self, now: dt.datetime) -> dict[str, TableFreshness]:
        looks = self.lake.scan(Freshness, (now - FRESHNESS_KEPT).date()).filter(
            pl.col("recorded_at") > now - FRESHNESS_KEPT
        )
        newest = looks.sort("recorded_at").unique("asset", keep="last").collect()
        return {
            row["asset"]: TableFreshness(
                FreshnessState(row["state"]),
                row["reason"],
                dt.timedelta(seconds=row["age_seconds"]) if row["age_seconds"] is not None else None,
                row["recorded_at"],
            )
            for row in newest.iter_rows(named=True)
        }

    def _levels(self, now: dt.datetime) -> list[dict[str, Any]]:
        levels = self.lake.scan(ServiceLevels, (now - LEVELS_SHOWN).date())
        return levels.sort("level_date").unique("name", keep="last").sort("name").collect().to_dicts()


def _live_partitions(handle: DeltaTable, table: type[Table]) -> pl.DataFrame:
    actions: Any = handle.get_add_actions(flatten=True)
    files = pl.DataFrame(actions)
    day = pl.col(f"partition.{table.partition}") if table.partition else pl.lit(None)
    # Text, a date or nothing at all, by what wrote the table.
    day = day.cast(pl.String).str.to_date(strict=False)
    # When a merged file was made says nothing of when its rows came.
    at = pl.when(~pl.col("path").str.contains(MERGED_FILE)).then("modification_time")
    grouped = files.select(day=day, rows="num_records", bytes="size_bytes", at=at).group_by("day")
    return grouped.agg(
        rows=pl.col("rows").sum().cast(pl.Int64),
        bytes=pl.col("bytes").sum().cast(pl.Int64),
        written_at=pl.from_epoch(pl.col("at").max(), "ms").dt.replace_time_zone("UTC").dt.cast_time_unit("us"),
    )


def _newest_day(partitions: pl.DataFrame) -> dt.date | None:
    return partitions["day"].max()  # type: ignore[return-value]


def _needed(table: type[Table], written: Mapping[str, WrittenDays | None]) -> list[NeededDays]:
    return [
        NeededDays(days, needed.first, needed.last)
        for needed in inputs_of(table)
        if (days := written.get(needed.table.key)) is not None
    ]


def _rejected_tables(tables: Sequence[type[Table]], sources: Sequence[LandingSource]) -> dict[str, type[Table]]:
    """Table → where what it rejects goes: of a landing source as it says, of a computed table what comes out beside."""
    found: dict[str, type[Table]] = {source.table.key: source.rejected for source in sources}
    return found | {computed_with(table).key: table for table in tables if issubclass(table, RejectedRows)}
