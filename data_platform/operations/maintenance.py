"""Keep the tables' files few: merge small ones, delete those that no reader can need any more.
Not here: what the rows are, when it runs (schedules)."""

# No postponed annotations here: Dagster reads the annotations of ops at import.

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import dagster as dg
from deltalake.exceptions import CommitFailedError, DeltaError

from data_platform.core.contract.table import Table, contracts
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.io_manager import LakeResource
from data_platform.features.training_sets.registry import pinned_versions

KEPT_HOURS = 7 * 24
"""How long replaced and orphaned files stay: longer than any reader or any write that is under way."""


@dataclass(frozen=True)
class Maintained:
    """What was done to one table."""

    merged: int
    """Small files that were merged into bigger ones."""
    deleted: int
    """Files deleted: replaced, or left behind by a killed writer, more than a week ago."""
    pins_lost: bool = False
    """A version that a training set was made of cannot be read, so nothing was deleted."""


def maintain(lake: Lake, follow: Callable[[str, Maintained], None] | None = None) -> dict[str, Maintained]:
    """Merge and vacuum every table that exists; key → what was done. Rows are unchanged, readers and writers go on.

    A merge that loses to writers of the same files is left to the next time. Files that registered training sets were
    made of stay; where they cannot be told, all files do.
    """
    done: dict[str, Maintained] = {}
    pinned = pinned_versions(lake)
    for key, table in contracts().items():
        if not lake.exists(table):
            continue
        try:
            merged = compact(lake, table)
        except CommitFailedError:
            merged = 0
        # `full`: also the files that no commit ever named.
        kept = sorted(pinned.get(key, set()))
        deleted: list[str] = []
        if readable := _readable(lake, table, kept):
            opened = lake.open(table)
            deleted = opened.vacuum(
                retention_hours=KEPT_HOURS,
                dry_run=False,
                full=True,
                keep_versions=kept,
                post_commithook_properties=lake.after_commit,
            )
            lake.settle(table, opened, commits=2)  # what it begins, what it did
        done[key] = Maintained(merged, len(deleted), pins_lost=not readable)
        if follow:
            follow(key, done[key])
    return done


def _readable(lake: Lake, table: type[Table], versions: Iterable[int]) -> bool:
    """Whether the files of all these versions can be told, so that they can be spared."""
    try:
        for version in versions:
            lake.open(table, version)
    except DeltaError:
        return False
    return True


@dg.op(description="Merges small files and deletes files nobody has needed for a week.")
def merge_and_vacuum(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    def log(key: str, table: Maintained) -> None:
        if table.pins_lost:
            context.log.warning(f"{key}: nothing was deleted, the versions that training sets pin cannot all be read")
        if table.merged or table.deleted:
            context.log.info(f"{key}: {table.merged} files merged, {table.deleted} deleted")

    done = maintain(lake.lake(), log)
    merged, deleted = sum(table.merged for table in done.values()), sum(table.deleted for table in done.values())
    context.log.info(f"{len(done)} tables: {merged} files merged, {deleted} deleted")
    context.add_output_metadata({"tables": len(done), "files_merged": merged, "files_deleted": deleted})


@dg.job(description="Small files of all tables merged, unneeded ones deleted.")
def compact_tables() -> None:
    merge_and_vacuum()
