"""Events of discussions and what is made of them, put into a lake as their steps do, without Dagster.
Not here: lines and frames (research_rows)."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.publication import Publication
from data_platform.domains.research.contracts.discussions import DiscussionEvents, Discussions, DiscussionSnapshots
from data_platform.domains.research.transforms import discussions as tables
from data_platform.domains.research.transforms.discussion_events import clean_discussion_events
from data_platform_tests.support.research_rows import Row, raw_frame


def publish_events(lake: Lake, lines: Sequence[Row]) -> pl.DataFrame:
    """The clean events of these lines, which are all there are of their days; as published."""
    raw = raw_frame(lines)
    days = sorted(raw["event_date"].unique())
    clean = clean_discussion_events(raw.lazy(), days).clean
    Publication(DiscussionEvents).publish(lake, [clean], days, "test", [])
    return clean


def publish_states(lake: Lake, clean: pl.DataFrame) -> None:
    days = sorted(clean["event_date"].unique())
    Publication(Discussions).publish(lake, [tables.discussion_states(clean.lazy()).collect()], [], "test", [])
    snapshots = tables.discussion_snapshots(clean.lazy(), days)
    Publication(DiscussionSnapshots).publish(lake, [snapshots], days, "test", [])
