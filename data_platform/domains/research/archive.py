"""Compaction: discussions that ended long ago get their events merged, and the originals a place on a cold path.
Nothing is deleted here; what compaction is for is that it could be. Not here: what merging is (transforms)."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.core.durable import sync_within, write_durably
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.domains.research.contracts.discussions import CompactedDiscussions, DiscussionEvents, Discussions
from data_platform.domains.research.transforms.discussion_state import events_of
from data_platform.domains.research.transforms.discussions import STREAM
from data_platform.domains.research.transforms.merged_events import merged, unmerged

FOLDER = "discussion_events"
COLD_LEVEL = 19
"""Of zstd: written once, hardly ever read."""


@dataclass(frozen=True)
class Compaction:
    """What was compacted."""

    discussions: int
    events: int
    files: tuple[Path, ...]


def compact(lake: Lake, before: dt.date, cold: Path) -> Compaction:
    """Compact the discussions that ended before a day, have no gap, and are not compacted or got events since.

    The originals are on disk, and read back, before anything names them. Safe to repeat, and to be killed: what a
    killed run left is a file that nobody names. One Parquet file a month, `cold/discussion_events/ended_month=…/…`.
    """
    due = _due(lake, before)
    files = [_compact_month(lake, part, cold) for part in due.partition_by("month", maintain_order=True)]
    return Compaction(len(due), int(due["events"].sum()), tuple(files))


def originals(lake: Lake, tenant_id: str, discussion_id: str) -> pl.DataFrame:
    """The archived events of a compacted discussion, as they were. Raises PlatformError when their file is gone or is
    another."""
    row = compacted(lake, tenant_id, discussion_id)
    if row.is_empty():
        raise PlatformError(f"The discussion {discussion_id} is not compacted.", "Its events are in the lake.")
    file = Path(row.item(0, "originals_file"))
    try:
        data = file.read_bytes()
    except OSError as error:
        remedy = "Bring the file back from a backup; the state can be replayed without it."
        raise PlatformError(f"The archived events in {file} cannot be read: {error.strerror}.", remedy) from None
    if _digest(data) != row.item(0, "originals_digest"):
        raise PlatformError(f"The archived events in {file} are not those that were written.", "Restore the file.")
    of_it = (pl.col("tenant_id") == tenant_id) & (pl.col("discussion_id") == discussion_id)
    return pl.read_parquet(io.BytesIO(data)).filter(of_it).sort("sequence")


def compacted(lake: Lake, tenant_id: str, discussion_id: str) -> pl.DataFrame:
    """The row of a compacted discussion; no row for one that is not."""
    if not lake.exists(CompactedDiscussions):
        return CompactedDiscussions.empty()
    of_it = (pl.col("tenant_id") == tenant_id) & (pl.col("discussion_id") == discussion_id)
    return lake.scan(CompactedDiscussions).filter(of_it).collect()


def _due(lake: Lake, before: dt.date) -> pl.DataFrame:
    """Discussions to compact: stream, project, times, events, and the month they ended in."""
    if not lake.exists(Discussions):
        raise PlatformError("There are no discussions yet.", "Run `data-platform build research`.")
    ended = (pl.col("status") == "ended") & (pl.col("last_event_at").dt.date() < before)
    due = lake.scan(Discussions).filter(ended, pl.col("missing_events") == 0)
    due = due.select(*STREAM, "project_id", "first_event_at", "last_event_at", "events")
    if lake.exists(CompactedDiscussions):
        done = lake.scan(CompactedDiscussions).select(*STREAM, done="events")
        # Fewer than were compacted are there once the lake has lost days: what was kept of these must not go too.
        due = due.join(done, on=STREAM, how="left").filter(pl.col("events") > pl.col("done").fill_null(0)).drop("done")
    return due.with_columns(month=pl.col("last_event_at").dt.strftime("%Y-%m")).sort("month", *STREAM).collect()


def _compact_month(lake: Lake, due: pl.DataFrame, cold: Path) -> Path:
    days = due.select(pl.col("first_event_at").min(), pl.col("last_event_at").max()).row(0)
    streams = due.lazy().select(STREAM)
    rows = lake.scan(DiscussionEvents, *(at.date() for at in days)).join(streams, on=STREAM, how="semi").collect()
    rows = rows.sort(*STREAM, "sequence")
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", compression_level=COLD_LEVEL)
    data = buffer.getvalue()
    file = cold / FOLDER / f"ended_month={due.item(0, 'month')}" / f"{_digest(data)}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_durably(file, data)
    sync_within(cold, [file])
    if not pl.read_parquet(file).equals(rows):
        raise PlatformError(f"{file} does not read as what was written.", "Check the disk, and compact again.")
    _publish(lake, due, rows, file, _digest(data))
    return file


def _publish(lake: Lake, due: pl.DataFrame, rows: pl.DataFrame, file: Path, digest: str) -> None:
    parts = rows.partition_by(STREAM, as_dict=True)
    texts = []
    for tenant_id, discussion_id in due.select(STREAM).iter_rows():
        part = parts[tenant_id, discussion_id]
        text = merged(part)
        if events_of(unmerged(text, tenant_id, discussion_id)) != events_of(part):
            raise PlatformError(f"Merging the events of {discussion_id} changes them.", "This is a fault of the code.")
        texts.append(text)
    described = due.with_columns(
        pl.Series("merged", texts, dtype=pl.String),
        ended_date=pl.col("last_event_at").dt.date(),
        originals_file=pl.lit(str(file)),
        originals_digest=pl.lit(digest),
        compacted_at=pl.lit(dt.datetime.now(dt.UTC)),
    )
    fresh = conform(CompactedDiscussions, described)
    # A discussion is compacted anew when an event came late: its row is replaced, whatever day it was on.
    standing = lake.scan(CompactedDiscussions).collect() if lake.exists(CompactedDiscussions) else fresh.clear()
    kept = standing.join(fresh, on=STREAM, how="anti")
    again = standing.join(fresh, on=STREAM, how="semi")["ended_date"]
    days = sorted({*fresh["ended_date"], *again})
    lake.replace(CompactedDiscussions, pl.concat([kept.filter(pl.col("ended_date").is_in(days)), fresh]), days)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
