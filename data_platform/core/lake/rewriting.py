"""The same rows in other files: small files merged, a table given the types its contract has now.
Not here: replacing rows (store), when it is done (operations)."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence

import polars as pl
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import RemoveAction

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake.commits import StagedFile, add_actions, partition_values
from data_platform.core.lake.schema import migrated_schema, other_types, stored_schema
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import COMMIT_ATTEMPTS, Lake

MERGED_ROWS = 1_000_000
"""Most rows of a merged file: about 0.5 GB in memory."""
MERGED = "merged"
"""How names of merged files begin: their time says nothing of when their rows came."""


def compact(lake: Lake, table: type[Table], at_least_files: int = 8) -> int:
    """Merge the small files of each partition that has many; files merged. Readers and writers go on meanwhile, and a
    partition that one of them replaced in the meantime is left to the next time."""
    if not lake.exists(table):
        return 0
    snapshot = lake.snapshot(table)
    merged = 0
    for (partition,), files in snapshot.files.group_by("partition", maintain_order=True):
        if len(files) >= at_least_files:
            groups = [group for group in _groups(files) if len(group) > 1]
            merged += sum(_merge(snapshot, partition, group) for group in groups)
    return merged


def _groups(files: pl.DataFrame) -> Iterator[list[str]]:
    """Paths of files that make up to MERGED_ROWS together."""
    group: list[str] = []
    rows = 0
    for path, held in files.sort("num_records", "path").select("path", "num_records").iter_rows():
        if group and rows + held > MERGED_ROWS:
            yield group
            group, rows = [], 0
        group.append(path)
        rows += held
    yield group


def _merge(snapshot: Snapshot, partition: str | None, paths: Sequence[str]) -> int:
    lake, table = snapshot.lake, snapshot.table
    delta = lake.open(table)
    stored = stored_schema(delta, table)
    staged = [lake.stage_file(table, partition, lake.scan_files(table, paths, stored).collect(), MERGED)]
    for attempt in range(COMMIT_ATTEMPTS):
        live = Snapshot(lake, table, delta).files.filter(pl.col("path").is_in(paths))
        if len(live) < len(paths):
            return 0
        now = int(time.time() * 1000)
        removes = [
            RemoveAction(
                path=path,
                data_change=False,
                deletion_timestamp=now,
                partition_values=partition_values(table, partition),
                size=size,
            )
            for path, size in live.select("path", "size_bytes").iter_rows()
        ]
        try:
            lake.commit_actions(table, delta, [*add_actions(table, staged, changes=False), *removes])
        except CommitFailedError:
            time.sleep(random.random() * min(0.5, 0.01 * 1.3**attempt))
            delta.update_incremental()
            continue
        return len(paths)
    return 0


def migrate(lake: Lake, table: type[Table], empty: bool = False) -> int:
    """Rewrite the table with the types of its contract, in one commit, or leave it `empty` with these; rows rewritten.

    Raises PlatformError for a value that the new type cannot hold, naming the column, and when the table was written
    in the meantime: nothing is changed then.
    """
    delta = lake.open(table)
    if not (differing := other_types(delta, table)):
        return 0
    stored = stored_schema(delta, table)
    staged: list[StagedFile] = []
    kept = Snapshot(lake, table, delta).files.head(0) if empty else Snapshot(lake, table, delta).files
    for path, partition in kept.select("path", "partition").iter_rows():
        rows = lake.scan_files(table, [path], stored).collect()
        staged.append(lake.stage_file(table, partition, _converted(table, rows, differing)))
    schema = migrated_schema(delta, table)
    try:
        lake.commit_actions(table, delta, add_actions(table, staged), schema=schema)
    except CommitFailedError:
        raise PlatformError(f"{table.key} was written meanwhile; nothing was changed.", "Run it again.") from None
    return sum(file.rows for file in staged)


def _converted(table: type[Table], rows: pl.DataFrame, differing: Iterable[str]) -> pl.DataFrame:
    """The rows with the contract's types, every value what it was."""
    for name in differing:
        was, wanted = rows[name], table.schema()[name]
        try:
            now = was.cast(wanted)
            same = now.cast(was.dtype).equals(was)
        except pl.exceptions.PolarsError:
            same = False
        if not same:
            raise PlatformError(
                f"{table.key}: values of {name} do not fit {wanted}; nothing was changed.",
                f"Keep the column as {was.dtype} and declare a new one beside it, or, for a table that is computed, "
                f"empty it (`data-platform lake migrate {table.key} --empty`) and compute its days again.",
            )
        rows = rows.with_columns(now)
    return rows
