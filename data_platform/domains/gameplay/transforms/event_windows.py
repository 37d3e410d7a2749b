"""What happened in each five minutes, by event type and campaign.
Not here: how long a window is and when it is closed (its contract), the live view of the same."""

from __future__ import annotations

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.core.text import says_something
from data_platform.domains.gameplay.contracts.windows import FIVE_MINUTES, EventWindows


def event_windows(events: pl.LazyFrame) -> pl.LazyFrame:
    """EventWindows from clean PlayerEvents: one row per window, event type and campaign with an event.

    Reads `event_date`, `timestamp`, `event_type`, `campaign_id`, `player_id` and `session_id`. A blank text is no
    campaign and no session, as in CampaignMetrics.
    """
    start, campaign = FIVE_MINUTES.start_of(pl.col("timestamp")), pl.when(says_something("campaign_id"))
    of_window = events.with_columns(window_start=start, campaign_id=campaign.then("campaign_id"))
    windows = of_window.group_by("window_start", "event_type", "campaign_id", window_date="event_date").agg(
        events=pl.len(),
        players=pl.col("player_id").n_unique(),
        sessions=pl.col("session_id").filter(says_something("session_id")).n_unique(),
        last_event_at=pl.col("timestamp").max(),
    )
    return conform(EventWindows, windows)
