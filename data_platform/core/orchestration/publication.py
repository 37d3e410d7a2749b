"""What a step publishes of one table: written, judged by the contract, made visible in one commit.
Belongs here: write, audit, publish, slice by slice. Not here: Dagster, which days these are (steps)."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.lake import bitemporal
from data_platform.core.lake.commits import StagedFile
from data_platform.core.lake.store import Lake
from data_platform.core.quality.profile import PartialProfile, is_profiled, look
from data_platform.core.quality.profile_store import Past, judge_by_history, remember
from data_platform.core.quality.table_rules import judge_together
from data_platform.core.quality.validation import WHOLE_TABLE, Verdict, Verdicts, judge

DELTA_VERSION = "delta/version"
"""Metadata of materialisations, as text: a number would be plotted."""


@dataclass
class Publication:
    """What a run published of one table, gathered slice by slice."""

    table: type[Table]
    verdicts: Verdicts = field(default_factory=Verdicts)
    rows: dict[str, int] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)
    """Of a table that is written only when it changed: partitions among `rows` that have the rows they had."""
    bytes: dict[str, int] = field(default_factory=dict)
    version: int = 0
    failed: dict[str, Exception] = field(default_factory=dict)
    """Days that could not be computed at all."""
    read: dict[str, int | None] = field(default_factory=dict)
    """Input → the version that was read, where the step fixed one."""
    past: Past | None = None
    """The table's past as read before its first slice, which is held against it; later ones have the earlier in it."""
    noted: dict[str, Any] = field(default_factory=dict)
    """What else there is to say of it in Dagster."""
    started: float = field(default_factory=time.perf_counter)

    def publish(
        self,
        lake: Lake,
        frames: Iterable[pl.DataFrame],
        days: Sequence[dt.date],
        run_id: str,
        found: Iterable[Verdict] = (),
    ) -> None:
        """Write, audit, publish: the frames (together the whole content of the days) become visible in one commit.

        Days with failed error rules keep what they had; `found` are verdicts reached elsewhere (dbt's tests). Frames
        are judged one by one, so that a day too big for memory can come in parts; parts must not share a primary key.
        Raises ValueError for rows outside the days.
        """
        partitions = [day.isoformat() for day in days] or [WHOLE_TABLE]
        verdicts = Verdicts(rows=dict.fromkeys(partitions, 0))
        staged: list[StagedFile] = []
        looks: list[PartialProfile] = []
        profiled = is_profiled(self.table)
        # Files are written while rows and days are judged: compressing needs no interpreter.
        with ThreadPoolExecutor(max_workers=1) as writer:
            written: Future[list[StagedFile]] | None = None
            for frame in frames:
                staged += written.result() if written else []
                written = writer.submit(lake.stage, self.table, frame)
                verdicts.add(judge(self.table, frame, partitions))
                looks += [look(self.table, frame)] if profiled else []
            past, self.past = self.past, None
            unusual = judge_by_history(lake, self.table, looks, days, read_before=past) if profiled else None
            staged += written.result() if written else []
        outside = {file.partition for file in staged} - {*partitions, None}
        if outside:
            raise ValueError(f"{self.table.key}: rows of {sorted(map(str, outside))} in a write of {partitions}")
        if self.table.all_table_rules():
            together = judge_together(self.table, lake.scan_staged(self.table, staged), lake, verdicts.rows)
            verdicts.sort_in(together)
        if unusual:
            verdicts.sort_in(unusual.verdicts)
            remember(lake, self.table, unusual.measured, verdicts.blocked(), run_id)
        verdicts.sort_in(found)
        self.verdicts.add(verdicts)
        passed = [partition for partition in partitions if partition not in verdicts.blocked()]
        if not passed:
            return
        metadata = {"dagster_run_id": run_id, "contract": self.table.version()}
        kept = [file for file in staged if file.partition in passed or file.partition is None]
        if self.table.only_changed:
            kept, passed = self._changed(lake, kept, passed)
            if not passed:
                return
        if self.table.bitemporal:
            commit = bitemporal.commit(lake, self.table, kept, passed, metadata)
        else:
            commit = lake.commit(self.table, kept, replacing=passed, metadata=metadata)
        self.version = commit.version
        for partition in passed:
            self.rows[partition] = commit.rows.get(partition or None, 0)
            self.bytes[partition] = commit.bytes.get(partition or None, 0)

    def _changed(
        self, lake: Lake, staged: Sequence[StagedFile], partitions: Sequence[str]
    ) -> tuple[list[StagedFile], list[str]]:
        """The files and partitions whose rows are not what they were; of the others it is noted what they hold."""
        before = lake.snapshot(self.table)
        self.version = before.version or 0
        for partition in partitions:
            was = before.files.filter(pl.col("partition").eq_missing(partition or None))
            files = [file for file in staged if (file.partition or WHOLE_TABLE) == partition]
            if before.version is not None and same_rows(lake, self.table, was["path"].to_list(), files):
                self.unchanged.add(partition)
                self.rows[partition] = int(was["num_records"].sum())
                self.bytes[partition] = int(was["size_bytes"].sum())
        return (
            [file for file in staged if (file.partition or WHOLE_TABLE) not in self.unchanged],
            [partition for partition in partitions if partition not in self.unchanged],
        )

    def in_words(self) -> str:
        """What was read and written, for the run's log."""
        days = sorted(day for day in self.rows if day != WHOLE_TABLE)
        span = f" of {len(days)} day{'s' if len(days) > 1 else ''} ({days[0]} to {days[-1]})" if days else ""
        kept_back = f", {len(self.verdicts.blocked())} not published" if self.verdicts.blocked() else ""
        inputs = ", ".join(f"{key} at version {version}" for key, version in self.read.items() if version is not None)
        return (
            f"{self.table.key}: {sum(self.rows.values()):,} rows{span} written as version {self.version}{kept_back}"
            + (f", {len(self.unchanged)} of them unchanged and not written again" if self.unchanged else "")
            + f" in {time.perf_counter() - self.started:.1f} s"
            + (f"; read {inputs}" if inputs else "")
        )

    def metadata(self, partition: str) -> dict[str, Any]:
        count = "dagster/partition_row_count" if partition != WHOLE_TABLE else "dagster/row_count"
        numbers = {count: self.rows[partition], "size_bytes": self.bytes[partition], DELTA_VERSION: str(self.version)}
        return numbers | self.noted


def same_rows(lake: Lake, table: type[Table], paths: Sequence[str], staged: Sequence[StagedFile]) -> bool:
    """Whether staged files hold the rows that files of the table hold, in whatever order. A day without rows is the
    same as a day that was never written; what a damaged file holds is nothing."""
    if not paths or not staged:
        return not paths and not staged
    new = lake.scan_staged(table, staged).collect()
    try:
        old = lake.scan_files(table, sorted(paths)).collect()
    except (pl.exceptions.PolarsError, OSError):
        return False
    order = list(table.primary_key)
    return old.height == new.height and old.sort(order).equals(new.sort(order))
