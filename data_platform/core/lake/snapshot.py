"""One version of a table of the lake: which files it is, and their rows.
Not here: opening it (store), what is wrong with a file (damage)."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from deltalake import DeltaTable

from data_platform.core.contract.table import Table
from data_platform.core.lake.schema import require_stored_types

if TYPE_CHECKING:
    from data_platform.core.lake.store import Lake


@dataclass(frozen=True)
class Snapshot:
    """One version of a table. Its files are fixed: however often it is read, the rows are the same and the log is
    opened once."""

    lake: Lake
    table: type[Table]
    delta: DeltaTable | None

    @functools.cached_property
    def files(self) -> pl.DataFrame:
        """path, size_bytes, num_records, partition (text, null when unpartitioned) of each file."""
        if self.delta is None:
            return pl.DataFrame(
                schema={"path": pl.String, "size_bytes": pl.Int64, "num_records": pl.Int64, "partition": pl.String}
            )
        return live_files(self.delta, self.table)

    @property
    def version(self) -> int | None:
        """None before the first write."""
        return self.delta.version() if self.delta else None

    def position(self, source: str) -> int | None:
        """How far `source` had been committed to the table; None when never."""
        return self.delta.transaction_version(source) if self.delta else None

    def scan(self, first: dt.date | None = None, last: dt.date | None = None) -> pl.LazyFrame:
        """The rows, of the days `first`..`last` where given."""
        return self.lake.scan_files(self.table, self.paths(first, last))

    def paths(
        self, first: dt.date | None = None, last: dt.date | None = None, beside: Collection[str] = ()
    ) -> list[str]:
        """The files in the table's folder that hold them, and those of days `beside`: for engines that read Parquet
        themselves.

        Raises StoredOtherwise when they hold a column with a type that the contract no longer has."""
        if self.delta:
            require_stored_types(self.delta, self.table)
        live = self.files
        if self.table.partition is not None:
            day, wanted = pl.col("partition").str.to_date(), pl.lit(True)
            if first is not None:
                wanted &= day >= first
            if last is not None:
                wanted &= day <= last
            live = live.filter(wanted | pl.col("partition").is_in(list(beside)))
        return sorted(live["path"])


def live_files(delta: DeltaTable, table: type[Table]) -> pl.DataFrame:
    """path, size_bytes, num_records, partition (text) of every file of the snapshot."""
    actions: Any = delta.get_add_actions(flatten=True)
    files = pl.DataFrame(actions)
    label = pl.col(f"partition.{table.partition}").cast(pl.String) if table.partition else pl.lit(None, dtype=pl.String)
    return files.select("path", "size_bytes", "num_records", partition=label)
