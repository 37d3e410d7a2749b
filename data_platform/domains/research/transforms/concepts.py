"""What personas speak of: concepts of their responses by day, and of projects as a whole.
Not here: what makes words a concept (key_phrases)."""

from __future__ import annotations

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.core.text import says_something
from data_platform.domains.research.contracts.graph import Concepts, Mentions
from data_platform.domains.research.transforms.key_phrases import key_phrases


def mentions(events: pl.LazyFrame) -> pl.LazyFrame:
    """Whole days of DiscussionEvents → Mentions: of the responses of personas."""
    said = events.filter(
        pl.col("event_type") == "response", pl.col("persona_id").is_not_null(), says_something("text")
    ).with_row_index("place")
    places = said.select(
        "place", "tenant_id", "project_id", "persona_id", mention_date="event_date"
    )  # fmt: skip
    found = key_phrases(said.select("place", "text")).join(places, on="place")
    counted = found.group_by(Mentions.primary_key).agg(texts=pl.len().cast(pl.Int64), mentions=pl.col("mentions").sum())
    return conform(Mentions, counted.sort(Mentions.primary_key))


def concepts(mentions: pl.LazyFrame) -> pl.LazyFrame:
    """All Mentions → Concepts."""
    counted = mentions.group_by(Concepts.primary_key).agg(
        personas=pl.col("persona_id").n_unique().cast(pl.Int64),
        texts=pl.col("texts").sum(),
        mentions=pl.col("mentions").sum(),
        first_day=pl.col("mention_date").min(),
        last_day=pl.col("mention_date").max(),
    )
    words = pl.col("concept").str.count_matches(" ", literal=True).cast(pl.Int64) + 1
    return conform(Concepts, counted.with_columns(words=words).sort(Concepts.primary_key))
