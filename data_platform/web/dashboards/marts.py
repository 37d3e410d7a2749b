"""What the panels show, kept in memory: rows by day, read again only where a commit changed the day's files.
Belongs here: reading the lake, in the background. Not here: periods and sums (series), drawing."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.panels import Chart, Panel
from data_platform.core.contract.table import Table
from data_platform.core.lake.schema import require_stored_types
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import Lake

log = logging.getLogger(__name__)

KEPT_DAYS = 2 * 365
"""The longest period, and the one before it that it is compared with."""
ROWS_AT_ONCE = 8_000_000
"""Most rows that are read in one go: two columns of them take 128 MB."""


@dataclass(frozen=True)
class Mart:
    """What is known of one panel's table."""

    rows: pl.DataFrame
    """Of the last KEPT_DAYS, in order of days: day, what the panel tells apart by, what it shows; see `summary`."""
    version: int | None = None
    """The table's commit; None before the first one."""
    failure: str | None = None
    """What kind of error the last look gave; `rows` are then those of the look before."""
    files: dict[str, frozenset[str]] = field(default_factory=dict)
    """Day → files that its rows came from."""


class Marts:
    """Looks at the tables of the panels every few seconds. Answers never wait for it but for the very first one."""

    def __init__(self, lake: Lake, panels: Sequence[Panel], every: float) -> None:
        self.lake, self.panels, self.every = lake, list(panels), every
        self.generation = 0
        """Grows with each look that found something new."""
        self._known: dict[Panel, Mart] = {}
        self._looking = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="dashboard-marts", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(self.every)

    def of(self, panel: Panel) -> Mart:
        if panel not in self._known:
            self.look(only_the_first=True)
        return self._known[panel]

    def look(self, only_the_first: bool = False) -> None:
        """Read what is new. A table that cannot be read keeps what it had, and hides no other."""
        with self._looking:
            if only_the_first and self._known:
                return
            snapshots: dict[type[Table], Snapshot] = {}
            for panel in self.panels:
                before = self._known.get(panel) or Mart(summary(panel, pl.LazyFrame(schema=panel.table.schema())))
                try:
                    found = self._mart(panel, before, snapshots)
                except Exception as error:
                    log.warning("cannot read %s: %s", panel.table.key, type(error).__name__)
                    failure = type(error).__name__
                    found = before if before.failure == failure else replace(before, failure=failure)
                if found is not self._known.get(panel):
                    self._known[panel] = found
                    self.generation += 1

    def _mart(self, panel: Panel, before: Mart, snapshots: dict[type[Table], Snapshot]) -> Mart:
        if panel.table not in snapshots:
            snapshots[panel.table] = self.lake.snapshot(panel.table)
        snapshot = snapshots[panel.table]
        if snapshot.version == before.version and before.failure is None:
            return before
        if snapshot.delta:
            require_stored_types(snapshot.delta, panel.table)
        first = str(today_utc() - dt.timedelta(KEPT_DAYS))
        live = snapshot.files.filter(pl.col("partition") >= first)
        by_day = live.group_by("partition").agg("path", pl.col("num_records").sum())
        files = {day: frozenset(paths) for day, paths in by_day.select("partition", "path").iter_rows()}
        changed = by_day.filter(
            pl.Series([before.files.get(day) != files[day] for day in by_day["partition"]], dtype=pl.Boolean)
        )
        kept = [dt.date.fromisoformat(day) for day, paths in files.items() if before.files.get(day) == paths]
        old = before.rows.filter(pl.col(panel.day).is_in(kept))
        new = [summary(panel, self.lake.scan_files(panel.table, paths)) for paths in _portions(changed)]
        return Mart(pl.concat([old, *new]).sort(panel.day), snapshot.version, None, files)


def _portions(days: pl.DataFrame) -> list[list[str]]:
    """Whole days' files, as many days together as make ROWS_AT_ONCE. In: path (list), num_records."""
    place = days.select(pl.col("num_records").cum_sum() // ROWS_AT_ONCE).to_series()
    return [part["path"].explode().to_list() for part in days.with_columns(p=place).partition_by("p") if len(part)]


def summary(panel: Panel, rows: pl.LazyFrame) -> pl.DataFrame:
    """What is kept of whole days of a table: the panel's columns, or for bands the number of rows in each."""
    if panel.chart != Chart.BANDS:
        measured = [
            pl.col(column.name).cast(pl.Float64) for column in panel.series.values() if column.dtype.is_decimal()
        ]
        return rows.select(panel.needed).with_columns(measured).collect()
    (column,) = panel.columns.values()
    value = pl.col(column.name)
    counts = [
        _inside(value, above, most).sum().cast(pl.Int64).alias(name) for name, (above, most) in panel.bands.items()
    ]
    return rows.group_by(panel.day).agg(counts).collect()


def _inside(value: pl.Expr, above: int | None, most: int | None) -> pl.Expr:
    after = pl.lit(True) if above is None else value > above
    return after & (pl.lit(True) if most is None else value <= most)
