"""The landing folders of gameplay. Not here: how a folder is read."""

from __future__ import annotations

from data_platform.domains.gameplay.contracts.events import (
    RawEventTotals,
    RawEventTotalsRejected,
    RawPlayerEvents,
    RawPlayerEventsRejected,
)
from data_platform.domains.gameplay.contracts.registry import (
    RawCampaignChanges,
    RawCampaignChangesRejected,
    RawParticipantChanges,
    RawParticipantChangesRejected,
    RawPlayerChanges,
    RawPlayerChangesRejected,
)
from data_platform.domains.gameplay.contracts.windows import RawLiveWindows, RawLiveWindowsRejected
from data_platform.sources.landing_source import LandingSource

PLAYER_EVENTS = LandingSource("player_events", RawPlayerEvents, RawPlayerEventsRejected, time_field="timestamp")

EVENT_TOTALS = LandingSource("event_totals", RawEventTotals, RawEventTotalsRejected, time_field="starts_at")

# What the application knew before the first day is known on the first day: its changes are not rejected as too old.
PLAYERS = LandingSource("players", RawPlayerChanges, RawPlayerChangesRejected, "changed_at", clamp_to_first_day=True)
CAMPAIGNS = LandingSource(
    "campaigns", RawCampaignChanges, RawCampaignChangesRejected, "changed_at", clamp_to_first_day=True
)
CAMPAIGN_PARTICIPANTS = LandingSource(
    "campaign_participants", RawParticipantChanges, RawParticipantChangesRejected, "changed_at", clamp_to_first_day=True
)

# Written by the live view, of PLAYER_EVENTS.
LIVE_WINDOWS = LandingSource("live_windows", RawLiveWindows, RawLiveWindowsRejected, time_field="window_start")

SOURCES = (PLAYERS, CAMPAIGNS, CAMPAIGN_PARTICIPANTS, EVENT_TOTALS, PLAYER_EVENTS, LIVE_WINDOWS)
