"""Keep the tables' files few: merge small ones, delete those that no reader can need any more.
Not here: what the rows are, when it runs (schedules)."""

# No postponed annotations here: Dagster reads the annotations of ops at import.

from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg
from deltalake.exceptions import CommitFailedError

from data_platform.core.contract import contracts
from data_platform.core.io_manager import LakeResource
from data_platform.core.lake import Lake

KEPT_HOURS = 7 * 24
"""How long replaced and orphaned files stay: longer than any reader or any write that is under way."""


@dataclass(frozen=True)
class Maintained:
    """What was done to one table."""

    merged: int
    """Small files that were merged into bigger ones."""
    deleted: int
    """Files deleted: replaced, or left behind by a killed writer, more than a week ago."""


def maintain(lake: Lake, follow: Callable[[str, Maintained], None] | None = None) -> dict[str, Maintained]:
    """Merge and vacuum every table that exists; key → what was done. Rows are unchanged, readers and writers go on.

    A merge that loses to writers of the same files is left to the next time.
    """
    done: dict[str, Maintained] = {}
    for key, table in contracts().items():
        if not lake.exists(table):
            continue
        try:
            merged = lake.compact(table)
        except CommitFailedError:
            merged = 0
        # `full`: also the files that no commit ever named.
        deleted = lake.open(table).vacuum(retention_hours=KEPT_HOURS, dry_run=False, full=True)
        done[key] = Maintained(merged, len(deleted))
        if follow:
            follow(key, done[key])
    return done


@dg.op(description="Merges small files and deletes files nobody has needed for a week.")
def merge_and_vacuum(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    def told(key: str, table: Maintained) -> None:
        if table.merged or table.deleted:
            context.log.info(f"{key}: {table.merged} files merged, {table.deleted} deleted")

    done = maintain(lake.lake(), told)
    merged, deleted = sum(table.merged for table in done.values()), sum(table.deleted for table in done.values())
    context.log.info(f"{len(done)} tables: {merged} files merged, {deleted} deleted")
    context.add_output_metadata({"tables": len(done), "files_merged": merged, "files_deleted": deleted})


@dg.job(description="Small files of all tables merged, unneeded ones deleted.")
def compact_tables() -> None:
    merge_and_vacuum()
