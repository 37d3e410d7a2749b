"""Which days of each table depend on a day of a source: the oracle of whatever computes days again.
Not here: what the platform takes from its declarations for it."""

from __future__ import annotations

from collections.abc import Mapping

WHOLE = None
"""Stands for a table without partitions."""
Window = tuple[int, int]
"""First and last dependent day, relative to the day of the source."""
EVER = 10**6

# Written down by hand from what the tables mean, so that a wrong declaration is found: a session of day d needs
# d-1..d+1, a 30-day window ending with D needs D-29..D, a cohort of day d is looked at until d+60.
DEPENDENT: Mapping[str, Mapping[str, Window | None]] = {
    "raw/event_totals": {"clean/player_event_totals": (0, 0)},
    "raw/player_events": {
        "clean/player_events": (0, 0),
        "clean/player_events_rejected": (0, 0),
        "clean/player_event_totals": (0, 0),
        "gameplay/player_session_days": (0, 0),
        "gameplay/player_daily_activity": (0, 0),
        "gameplay/player_sessions": (-1, 1),
        "gameplay/player_engagement_metrics": (0, 6),
        "gameplay/campaign_metrics": (0, 0),
        "gameplay/event_windows": (0, 0),
        "gameplay/live_comparison": (0, 0),
        "gameplay/player_retention": (-60, 0),
        "gameplay/daily_metrics": (-1, 29),  # counts the sessions that started, and one may have started a day before
        "features/player_engagement_features": (0, 29),
        "features/player_churn_features": (0, 29),
        "features/online_player_features": WHOLE,
        "commerce/fct_events": (0, 0),
        "commerce/fct_daily_active_users": (0, 29),
        "commerce/mv_daily_metrics": (0, 0),
    },
    "raw/player_changes": {
        "clean/player_changes": (0, 0),
        "clean/players": WHOLE,
        "gameplay/player_retention": (0, EVER),
        "gameplay/daily_metrics": (0, EVER),
        "features/player_engagement_features": (0, EVER),
        "features/player_churn_features": (0, EVER),
        "features/online_player_features": WHOLE,
    },
    "raw/campaign_changes": {
        "clean/campaign_changes": (0, 0),
        "clean/campaigns": WHOLE,
        "gameplay/campaign_metrics": (0, EVER),
        "features/player_campaign_features": (0, EVER),
        "features/player_churn_features": (0, EVER),
        "features/online_player_features": WHOLE,
    },
    "raw/campaign_participant_changes": {
        "clean/campaign_participant_changes": (0, 0),
        "clean/campaign_participants": WHOLE,
        "gameplay/campaign_metrics": (0, 29),
        "features/player_campaign_features": (0, 29),
        "features/player_churn_features": (0, 29),
        "features/online_player_features": WHOLE,
    },
}
