"""What of player events is shown live, and where what was shown is recorded. Not here: how it is counted or served."""

from __future__ import annotations

import polars as pl

from data_platform.core.text import says_something
from data_platform.domains.gameplay.contracts.windows import FIVE_MINUTES, LiveComparison
from data_platform.domains.gameplay.sources import LIVE_WINDOWS, PLAYER_EVENTS
from data_platform.domains.gameplay.transforms.engagement import EVENT_WEIGHTS, OTHER_EVENT_WEIGHT
from data_platform.sources.live_view import FACTS, LiveView


def facts(raw: pl.DataFrame) -> pl.DataFrame:
    """RawPlayerEvents as FACTS, as clean events and their windows see them: without those that have no type; copies are
    rows of one `event_id` on one day."""
    weights = {event_type: float(weight) for event_type, weight in EVENT_WEIGHTS.items()}
    return (
        raw.lazy()
        .filter(says_something("event_type"))
        .select(
            id=pl.struct("event_date", "event_id").hash(),
            at=pl.col("timestamp").to_physical(),
            kind=pl.col("event_type"),
            place=pl.when(says_something("campaign_id")).then("campaign_id"),
            actor=pl.col("player_id"),
            session=pl.when(says_something("session_id")).then(pl.col("session_id").hash()),
            points=pl.col("event_type").replace_strict(weights, default=float(OTHER_EVENT_WEIGHT)),
        )
        .cast(dict(FACTS))  # type: ignore[arg-type]
        .collect()
    )


LIVE = LiveView(PLAYER_EVENTS, FIVE_MINUTES, facts, LIVE_WINDOWS, compared=LiveComparison.key, place="campaign")
