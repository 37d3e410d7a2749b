"""Tables of tenants as the query API reads them: the one place in `web` that does, so that no row passes by the guard.
Belongs here: snapshots, files of a period, whose rows. Not here: sums (answering), which table is asked (planning)."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.http.tenants import Reach
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import Lake
from data_platform.web.query.questions import Period

LOOK_SECONDS = 1.0
"""How often the newest version of a table is looked for: opening one with a year of days takes 5 to 20 ms."""


@dataclass(frozen=True)
class _Looked:
    at: float
    snapshot: Snapshot


class TenantTables:
    """The lake, read for somebody. Safe to use from several threads."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._looked: dict[type[Table], _Looked] = {}
        self._looking = threading.Lock()

    def version(self, table: type[Table]) -> int | None:
        """None before the first write."""
        return self._snapshot(table).version

    def row_count(self, table: type[Table], period: Period) -> int:
        """Rows of everybody in files of the period, as the log says."""
        return int(self._files(table, period)["num_records"].sum())

    def scan(
        self, table: type[Table], reach: Reach, period: Period | None, filters: Mapping[str, tuple[str, ...]]
    ) -> pl.LazyFrame:
        """The rows that may be seen, of the period (None: all), with one of the values in each of the filters' columns.

        Raises Problem 403 for a table that is not for a tenant."""
        allowed = reach.rows(table)
        chosen = [pl.col(name).is_in(list(values)) for name, values in filters.items()]
        rows = self._lake.scan_files(table, self.paths(table, period))
        return rows.filter(allowed, *chosen)

    def paths(self, table: type[Table], period: Period | None) -> list[str]:
        return sorted(self._files(table, period)["path"])

    def _files(self, table: type[Table], period: Period | None) -> pl.DataFrame:
        files = self._snapshot(table).files
        if period is None or table.partition is None:
            return files
        return files.filter(pl.col("partition").is_between(pl.lit(str(period.first)), pl.lit(str(period.last))))

    def _snapshot(self, table: type[Table]) -> Snapshot:
        with self._looking:
            looked = self._looked.get(table)
            if looked is None or time.monotonic() - looked.at > LOOK_SECONDS:
                looked = self._looked[table] = _Looked(time.monotonic(), self._lake.snapshot(table))
                looked.snapshot.paths()  # raises where it is stored otherwise than the contract says
            return looked.snapshot
