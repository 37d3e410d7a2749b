"""Clean events against what the source says it sent, and days that lost their data. Not here: anomalies."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import nullcontext
from typing import Any

import pytest

from data_platform.core.lake.store import Lake
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.validation import Status
from data_platform.core.settings import settings
from data_platform.domains.gameplay.contracts.events import PlayerEvents, PlayerEventsRejected, PlayerEventTotals
from data_platform_tests.support.homes import Home, event


def totals(day: str, events: Any, counted_at: str = "2024-01-09T00:00:00Z") -> str:
    return json.dumps({"starts_at": f"{day}T00:00:00Z", "events": events, "counted_at": counted_at})


def verdicts(lake: Lake, rule: str) -> dict[str, str]:
    found = verdict_ledger.latest(lake).filter(check_name=rule).collect()
    return dict(found.select("asset_partition", "status").iter_rows())


def test_a_day_that_is_not_what_the_source_counted_is_reported_until_the_missing_events_arrive(home: Home) -> None:
    home.drop("a.ndjson", [event(event_id="1"), event(event_id="2"), event(event_id="2")])
    home.drop("b.ndjson", [event(event_id="3", timestamp="2024-01-04T10:00:00Z")])
    home.drop("t.ndjson", [totals("2024-01-03", 99), totals("2024-01-05", 1), "nonsense"], folder="event_totals")
    home.drop("u.ndjson", [totals("2024-01-03", 3, "2024-01-09T00:00:01Z")], folder="event_totals")
    home.build(["clean/player_event_totals"])
    lake = home.lake
    rows = home.rows(PlayerEventTotals).sort("event_date")
    assert rows.select("clean_events", "source_events", "difference").rows() == [
        (2, 3, -1),
        (1, None, None),
        (0, 1, -1),
    ]
    found = verdicts(lake, "equals_source_total")
    assert (found["2024-01-03"], found["2024-01-04"], found["2024-01-05"]) == (
        Status.FAILED,
        Status.PASSED,
        Status.FAILED,
    )
    home.drop("late.ndjson", [event(event_id="4")])
    home.build(["clean/player_event_totals"])
    assert verdicts(lake, "equals_source_total")["2024-01-03"] == Status.PASSED


@pytest.mark.parametrize(("without", "passes"), [(1, True), (2, False)])
def test_a_day_that_lost_its_data_is_refused_whole_and_its_rejected_events_with_it(
    home: Home, without: int, passes: bool
) -> None:
    """One of 21 events without data is under the 5 % that are borne, two of 20 are over it."""
    there = [event(event_id=str(number)) for number in range(20 if passes else 18)]
    lost = [event(event_id=f"lost-{number}", event_data=None) for number in range(without)]
    untyped = [event(event_id="untyped", event_type=None)]
    home.drop("a.ndjson", there + lost + untyped)
    with nullcontext() if passes else pytest.raises(AssertionError, match="player_event_completeness"):
        home.build(["clean/player_events"])
    lake = home.lake
    clean, rejected = (len(lake.scan(table).collect()) for table in (PlayerEvents, PlayerEventsRejected))
    assert (clean, rejected) == ((21, 1) if passes else (0, 0))
    assert verdicts(lake, "player_event_completeness")["2024-01-03"] == (Status.PASSED if passes else Status.FAILED)


def test_ids_of_blanks_and_clocks_ahead_block_no_day(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ingestion takes in, with the tolerance that is set, is clean; what it rejects blocks nothing."""
    monkeypatch.setenv("DATA_PLATFORM_FUTURE_TOLERANCE_MINUTES", "60")
    settings.cache_clear()
    ahead = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=30)).isoformat()
    blank = [event(event_id=f"blank-{n}", player_id=name) for n, name in enumerate(["\u00a0", "\t", "\u200b", "\x00"])]
    far = event(event_id="far", client_timestamp="294000-01-01T00:00:00Z")
    home.drop("a.ndjson", [event(event_id="good"), event(event_id="ahead", timestamp=ahead), far, *blank])
    home.build(["clean/player_events"])
    assert set(home.rows(PlayerEvents)["event_id"]) | {"ahead"} == {"good", "ahead"}
    assert sorted(home.rejected()["reason"]) == ["missing_player_id"] * 4 + ["wrong_type_client_timestamp"]
