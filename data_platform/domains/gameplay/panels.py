"""What people look at of the game: users, sessions, retention, campaigns.
Not here: what the numbers are (contracts), how they are drawn (web/dashboards)."""

from __future__ import annotations

from data_platform.core.contract.panels import Chart, Dashboard, Panel
from data_platform.domains.gameplay.contracts.activity import CampaignMetrics, DailyMetrics, PlayerRetention

DASHBOARD = Dashboard(
    "Players",
    (
        Panel(
            "Active players",
            "Players with an event on the day, in the 7 and in the 30 days ending with it.",
            Chart.LINES,
            {"MAU": DailyMetrics.mau, "WAU": DailyMetrics.wau, "DAU": DailyMetrics.dau},
        ),
        Panel(
            "Stickiness",
            "DAU / MAU: on how many of a month's days an active player plays. It falls at first when many new players "
            "come.",
            Chart.LINES,
            {"DAU / MAU": DailyMetrics.stickiness},
        ),
        Panel(
            "Sessions",
            "Sessions by the day they started.",
            Chart.BARS,
            {"sessions": DailyMetrics.sessions},
        ),
        Panel(
            "Session length",
            "Mean length of the sessions that started on the day.",
            Chart.LINES,
            {"mean length": DailyMetrics.avg_session_minutes},
        ),
        Panel(
            "Retention",
            "Of the players who signed up in a week (or month): the share who played on day 1, 7 or 30 exactly, and "
            "who played on that day or any later one up to day 60. Empty while those days are not over.",
            Chart.COHORTS,
            {
                "day 1": PlayerRetention.d1_retention,
                "day 7": PlayerRetention.d7_retention,
                "day 30": PlayerRetention.d30_retention,
                "1 or later": PlayerRetention.d1_rolling_retention,
                "7 or later": PlayerRetention.d7_rolling_retention,
                "30 or later": PlayerRetention.d30_rolling_retention,
            },
            weight=PlayerRetention.cohort_size,
        ),
        Panel(
            "Top campaigns",
            "Campaigns with the most events in these days. Who plays on three days counts as three player days.",
            Chart.RANKING,
            {
                "events": CampaignMetrics.events,
                "player days": CampaignMetrics.active_players,
                "level-ups": CampaignMetrics.level_ups,
            },
            by=CampaignMetrics.campaign_id,
        ),
    ),
    position=10,
)
