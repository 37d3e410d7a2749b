"""Metrics of campaigns against an oracle over plain rows. Not here: players and days (test_metrics)."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.domains.gameplay.contracts.activity import CampaignMetrics
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.registry import CampaignChanges, ParticipantChanges
from data_platform.domains.gameplay.transforms.campaign_metrics import campaign_metrics
from data_platform_tests.support.metric_rows import (
    TYPES,
    Row,
    agree,
    at,
    change_log,
    day,
    frame,
    players,
    some_days,
)

campaigns = st.sampled_from(["c", "d", "e"])


def events_of_campaigns() -> st.SearchStrategy[list[Row]]:
    one = st.fixed_dictionaries(
        {
            "event_date": st.integers(0, 45).map(day),
            "player_id": players,
            "campaign_id": st.none() | st.just("") | campaigns,
            "event_type": st.sampled_from(TYPES),
            "session_id": st.sampled_from([None, "", "s", "t"]),
            "minute": st.integers(0, 3),
        }
    )

    def timed(rows: list[Row]) -> list[Row]:
        named = [({**row, "event_id": str(n)}, row["minute"]) for n, row in enumerate(rows)]
        return [
            {name: value for name, value in row.items() if name != "minute"}
            | {"timestamp": dt.datetime.combine(row["event_date"], dt.time(1, minute), dt.UTC)}
            for row, minute in named
        ]

    return st.lists(one, max_size=25).map(timed)


campaign_logs = change_log(
    {"campaign_id": campaigns, "status": st.sampled_from(["active", "active", "paused", None])}, ["campaign_id"]
)
participant_logs = change_log(
    {
        "campaign_id": campaigns,
        "player_id": players,
        "character_level": st.sampled_from([None, 1, 2, 7]),
        "last_active": st.none() | st.builds(at, st.integers(0, 45), st.sampled_from([0, 1439])),
    },
    ["campaign_id", "player_id"],
)


def known(log: list[Row], on: dt.date, key: Sequence[str], window: int = 10_000) -> list[Row]:
    latest: dict[tuple[Any, ...], Row] = {}
    for row in sorted(log, key=lambda row: row["changed_at"]):
        if on - dt.timedelta(window) < row["change_date"] <= on:
            latest[tuple(row[name] for name in key)] = row
    return [row for row in latest.values() if row["operation"] != "delete"]


def campaign_oracle(events: list[Row], log: list[Row], participation: list[Row], days: set[int]) -> list[Row]:
    rows = []
    for n in days:
        status = {row["campaign_id"]: row["status"] for row in known(log, day(n), ["campaign_id"])}
        played = defaultdict(list)
        for event in events:
            if event["event_date"] == day(n) and event["campaign_id"]:
                played[event["campaign_id"]].append(event)
        for campaign in {c for c in status if status[c] == "active"} | set(played):
            here = played[campaign]
            taking_part = [
                row
                for row in known(participation, day(n), ["campaign_id", "player_id"], window=30)
                if row["campaign_id"] == campaign
                and row["last_active"] is not None
                and day(n - 29) <= row["last_active"].date() <= day(n)
            ]
            levels = [row["character_level"] for row in taking_part if row["character_level"] is not None]
            rows.append(
                {
                    "metric_date": day(n),
                    "campaign_id": campaign,
                    "status": status.get(campaign) or "unknown",
                    "events": len(here),
                    "active_players": len({event["player_id"] for event in here}),
                    "sessions": len({event["session_id"] for event in here if event["session_id"]}),
                    "combats": sum(event["event_type"] == "combat_start" for event in here),
                    "social_interactions": sum(
                        event["event_type"] in ("party_join", "message_sent", "trade_completed") for event in here
                    ),
                    "level_ups": sum(event["event_type"] == "level_up" for event in here),
                    "participants_30d": len(taking_part),
                    "avg_character_level": sum(levels) / len(levels) if levels else None,
                    "last_event_at": max((event["timestamp"] for event in here), default=None),
                }
            )
    return rows


@settings(max_examples=100, deadline=None)
@given(events_of_campaigns(), campaign_logs, participant_logs, some_days)
def test_campaign_metrics(events: list[Row], log: list[Row], participation: list[Row], days: set[int]) -> None:
    played, announced = frame(PlayerEvents, events), frame(CampaignChanges, log)
    taking_part = frame(ParticipantChanges, ({"experience": None} | row for row in participation))
    agree(
        CampaignMetrics,
        lambda wanted: campaign_metrics(played, announced, taking_part, wanted),
        days,
        campaign_oracle(events, log, participation, days),
    )


@pytest.mark.parametrize("last_active", [10, 39])
@pytest.mark.parametrize(("n", "counts"), [(9, False), (10, True), (39, True), (40, False)])
def test_a_participant_counts_for_30_days(n: int, counts: bool, last_active: int) -> None:
    """From the day of being active, as long as both that day and the change that told of it are in the window."""
    counts = counts and last_active <= n
    joined = {
        "campaign_id": "c",
        "player_id": "p",
        "operation": "insert",
        "changed_at": at(10, 0),
        "change_date": day(10),
    }
    taking_part = frame(ParticipantChanges, [joined | {"last_active": at(last_active, 0), "character_level": 3}])
    running = {
        "campaign_id": "c",
        "operation": "insert",
        "status": "active",
        "changed_at": at(0, 0),
        "change_date": day(0),
    }
    log = frame(CampaignChanges, [running])
    row = campaign_metrics(PlayerEvents.empty().lazy(), log, taking_part, [day(n)]).collect().row(0, named=True)
    assert (row["participants_30d"], row["avg_character_level"]) == ((1, 3.0) if counts else (0, None))
