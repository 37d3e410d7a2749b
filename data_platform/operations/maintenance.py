"""Keep the home small: merge and vacuum the lake's tables, delete what was put away long ago, forget old runs.
Belongs here: doing it, with sizes before and after. Not here: what is recorded of it (contracts), when (schedules)."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from deltalake.exceptions import CommitFailedError, DeltaError

from data_platform.core.contract.table import Table, contracts
from data_platform.core.instance.old_runs import forget_runs, old_runs
from data_platform.core.lake.files import Size
from data_platform.core.lake.log import LOG
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake
from data_platform.features.training_sets.registry import pinned_versions
from data_platform.sources.ingestion import landing_of
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.put_away import delete_old_files

PINS_LOST = "nothing was deleted: versions that training sets were made of cannot all be read"
OUTRUN = "nothing was merged: writers of the same files were faster"


@dataclass(frozen=True)
class Done:
    """One thing that was done, and what it did to files."""

    task: str
    before: Size
    after: Size
    seconds: float
    note: str | None = None


@dataclass(frozen=True)
class Maintained:
    """What was done to one table."""

    merged: int
    """Small files that were merged into bigger ones."""
    deleted: int
    """Files deleted: replaced, or left behind by a killed writer, longer ago than such files are kept."""
    tasks: Sequence[Done]

    @property
    def pins_lost(self) -> bool:
        """A version that a training set was made of cannot be read, so nothing was deleted."""
        return any(done.note == PINS_LOST for done in self.tasks)


def maintain(
    lake: Lake, kept: dt.timedelta, follow: Callable[[str, Maintained], None] | None = None
) -> dict[str, Maintained]:
    """Merge, vacuum and sum up the log of every table that exists; key → what was done. Rows are unchanged, readers and
    writers go on.

    Files that were replaced, and files that no commit ever named, are deleted once they are older than `kept`, which is
    to be longer than any reader or any write that is under way. A merge that loses to writers of the same files is left
    to the next time. Files that registered training sets were made of stay; where they cannot be told, all files do.
    """
    done: dict[str, Maintained] = {}
    pinned = pinned_versions(lake)
    for key, table in contracts().items():
        if lake.exists(table):
            done[key] = _maintained(lake, table, kept, sorted(pinned.get(key, set())))
            if follow:
                follow(key, done[key])
    return done


def _maintained(lake: Lake, table: type[Table], kept: dt.timedelta, pinned: Sequence[int]) -> Maintained:
    begun, live, note = time.perf_counter(), _live(lake, table), None
    try:
        merged = compact(lake, table)
    except CommitFailedError:
        merged, note = 0, OUTRUN
    compacted = Done("compact", live, _live(lake, table), time.perf_counter() - begun, note)

    begun, stored, deleted = time.perf_counter(), _stored(lake, table), 0
    readable = _readable(lake, table, pinned)
    if readable:
        deleted = len(_vacuum(lake, table, kept, pinned))
    note = None if readable else PINS_LOST
    vacuumed = Done("vacuum", stored, _stored(lake, table), time.perf_counter() - begun, note)

    begun, log = time.perf_counter(), _log(lake, table)
    lake.checkpoint(table, lake.open(table))
    summed_up = Done("checkpoint", log, _log(lake, table), time.perf_counter() - begun)
    return Maintained(merged, deleted, (compacted, vacuumed, summed_up))


def _vacuum(lake: Lake, table: type[Table], kept: dt.timedelta, pinned: Sequence[int]) -> list[str]:
    opened = lake.open(table)
    deleted = opened.vacuum(
        retention_hours=kept // dt.timedelta(hours=1),
        dry_run=False,
        full=True,  # also the files that no commit ever named
        keep_versions=list(pinned),
        post_commithook_properties=lake.after_commit,
    )
    lake.settle(table, opened, commits=2)  # what it begins, what it did
    return deleted


def _readable(lake: Lake, table: type[Table], versions: Iterable[int]) -> bool:
    """Whether the files of all these versions can be told, so that they can be spared."""
    try:
        for version in versions:
            lake.open(table, version)
    except DeltaError:
        return False
    return True


def _live(lake: Lake, table: type[Table]) -> Size:
    sizes = lake.snapshot(table).files["size_bytes"]
    return Size(len(sizes), int(sizes.sum()))


def _stored(lake: Lake, table: type[Table]) -> Size:
    """All Parquet files beside the log, live or not."""
    found = lake.files(table.key).sizes()
    return Size.of(n for path, n in found.items() if path.endswith(".parquet") and not path.startswith(LOG))


def _log(lake: Lake, table: type[Table]) -> Size:
    return Size.of(lake.files(table.key).sizes(LOG).values())


# -------------------------------------------------------------------------------------------- landing
def delete_put_away(
    lake: Lake, sources: Sequence[LandingSource], before: dt.datetime, root: Path | None = None
) -> Iterator[tuple[LandingSource, Done]]:
    """Delete the ingested files of each landing folder that have not changed since `before`."""
    for source in sources:
        begun = time.perf_counter()
        removed = delete_old_files(landing_of(source, lake, root), before)
        note = f"{removed.kept} old files stay: {removed.why}" if removed.kept else None
        yield source, Done("landing", removed.before, removed.after, time.perf_counter() - begun, note)


# ----------------------------------------------------------------------------------------------- runs
@dataclass(frozen=True)
class Forgotten:
    """What became of Dagster's old runs."""

    runs_before: int
    runs_after: int
    runs_held: int
    done: Done


def forget_old_runs(instance: dg.DagsterInstance, before: dt.datetime, folder: Path) -> Forgotten:
    """Delete the runs that ended before, but for those that something rests on; `folder`, Dagster's, is measured."""
    begun, size, runs = time.perf_counter(), Size.of_folder(folder), instance.get_runs_count()
    found = old_runs(instance, before)
    forget_runs(instance, found.free)
    done = Done("runs", size, Size.of_folder(folder), time.perf_counter() - begun)
    return Forgotten(runs, instance.get_runs_count(), len(found.held), done)
