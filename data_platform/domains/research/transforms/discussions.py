"""Discussions as tables: the state of each, and snapshots of long ones. The same as the fold of discussion_state, which
tests hold them against; the states of a million events at once are computed by column.
Not here: replay of one discussion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.research.contracts.discussions import Discussions, DiscussionSnapshots
from data_platform.domains.research.transforms.discussion_state import FOCUS_GROUP, FOLD_VERSION, State, events_of, fold

STREAM = Discussions.primary_key
"""What names a stream of events."""
SNAPSHOT_EVERY = 100
"""Events between snapshots: a replay folds at most this many, about 0.1 ms."""


def discussion_states(events: pl.LazyFrame) -> pl.LazyFrame:
    """All DiscussionEvents → Discussions: one row per discussion."""
    kind, at = pl.col("event_type"), pl.col("occurred_at")
    started, ended, responded = kind == "discussion_started", kind == "discussion_ended", kind == "response"
    narrow = events.select(
        *STREAM, "sequence", "event_id", "project_id", "persona_id", "question_id", "event_type", "occurred_at",
        focus_group_id=FOCUS_GROUP,
    )  # fmt: skip
    so_far = at.cum_max().over(STREAM).alias("reached_at")
    ends = ended.cast(pl.Int64)
    ended_before = (ends.cum_sum().over(STREAM) - ends > 0).alias("after_end")
    speakers = pl.col("persona_id").filter(responded).drop_nulls().unique().sort()
    states = (
        narrow.sort(*STREAM, "sequence")
        .with_columns(so_far, ended_before)
        .group_by(STREAM, maintain_order=True)
        .agg(
            pl.col("project_id").first(),
            focus_group_id=pl.col("focus_group_id").drop_nulls().first(),
            first_event_at=at.min(),
            started_at=at.filter(started).first(),
            ended_at=at.filter(ended).first(),
            events=pl.len(),
            responses=responded.sum(),
            followups=(kind == "followup").sum(),
            participant_ids=speakers,
            questions=pl.col("question_id").drop_nulls().n_unique(),
            starts=started.sum(),
            events_after_end=pl.col("after_end").sum(),
            clock_went_back=(at < pl.col("reached_at")).sum(),
            last_sequence=pl.col("sequence").last(),
            last_event_id=pl.col("event_id").last(),
            last_event_type=kind.last(),
            last_event_at=pl.col("reached_at").last(),
        )
        .with_columns(
            status=pl.when(pl.col("ended_at").is_null()).then(pl.lit("open")).otherwise(pl.lit("ended")),
            turns=pl.col("responses") + pl.col("followups"),
            participants=pl.col("participant_ids").list.len(),
            missing_events=pl.col("last_sequence") - pl.col("events").cast(pl.Int64),
        )
    )
    return conform(Discussions, states)


def discussion_snapshots(events: pl.LazyFrame, days: Sequence[dt.date]) -> pl.DataFrame:
    """DiscussionEvents up to the last of `days` → DiscussionSnapshots of these days: the state after every event whose
    sequence is a multiple of SNAPSHOT_EVERY, as it was known by the end of the event's own day."""
    due = (pl.col("sequence") % SNAPSHOT_EVERY == 0) & pl.col("event_date").is_in(list(days))
    long = events.filter(due).group_by(STREAM).agg(until=pl.col("sequence").max())
    columns = (
        "event_date", "tenant_id", "discussion_id", "sequence", "event_id", "event_type", "occurred_at", "project_id",
        "persona_id", "question_id", "event_data",
    )  # fmt: skip
    needed = events.select(columns).join(long, on=STREAM).filter(pl.col("sequence") <= pl.col("until"))
    rows = [row for stream in needed.collect().partition_by(STREAM) for row in _snapshots(stream, set(days))]
    return pl.DataFrame(rows, schema=DiscussionSnapshots.schema(), orient="row").sort(DiscussionSnapshots.primary_key)


def _snapshots(stream: pl.DataFrame, days: set[dt.date]) -> Iterator[tuple[object, ...]]:
    """The snapshots of one discussion, as rows in the order of the contract's columns."""
    ordered = stream.sort("sequence").with_columns(last_day=pl.col("event_date").cum_max()).with_row_index()
    events, start = events_of(ordered), State(ordered.item(0, "discussion_id"), ordered.item(0, "tenant_id"))
    state, begin = start, 0
    due = ordered.filter(pl.col("sequence") % SNAPSHOT_EVERY == 0)
    for place, day, last_day in due.select("index", "event_date", "last_day").iter_rows():
        state, begin = fold(events[begin : place + 1], state), place + 1
        if day not in days:
            continue
        # A clock went back over midnight: what a day says must not hang on days after it, which may not be there yet.
        known = state if last_day <= day else fold([e for e in events[:begin] if e.occurred_at.date() <= day], start)
        row = {
            "snapshot_date": day,
            "tenant_id": known.tenant_id,
            "discussion_id": known.discussion_id,
            "project_id": known.project_id,
            "sequence": known.last_sequence,
            "reached_at": known.last_event_at,
            "fold_version": FOLD_VERSION,
            "state": known.to_json(),
        }
        yield tuple(row[name] for name in DiscussionSnapshots.columns)
