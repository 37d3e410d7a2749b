"""Five-minute windows, against a plain-Python oracle, and what their contract says of them.
Not here: the live view of the same (web/test_live_counting)."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.contract.frames import require_schema
from data_platform.core.contract.table import Table, column
from data_platform.core.contract.windows import Windows
from data_platform.core.quality.validation import judge
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.rules import windows_that_miss_events
from data_platform.domains.gameplay.contracts.windows import EventWindows
from data_platform.domains.gameplay.transforms.event_windows import event_windows
from data_platform.operations.dictionary import dictionary

Row = dict[str, Any]
DAY = dt.date(2024, 2, 28)
MIDNIGHT = dt.datetime(2024, 2, 28, tzinfo=dt.UTC)
MINUTE = 60_000_000

texts = st.sampled_from([None, "", " ", "\u200b", "a", "b"])
edges = st.builds(
    lambda window, off: window * 5 * MINUTE + off,
    st.integers(1, 2 * 288 - 1),
    st.sampled_from([-1, 0, 1, MINUTE, 5 * MINUTE - 1]),
)
events_of_days = st.lists(
    st.fixed_dictionaries(
        {
            "moment": edges | st.integers(0, 2 * 1440 * MINUTE - 1),
            "player_id": st.sampled_from(["p", "q", "r"]),
            "event_type": st.sampled_from(["login", "combat_start"]),
            "campaign_id": texts,
            "session_id": texts,
        }
    ),
    max_size=25,
)


def clean(rows: list[Row]) -> pl.LazyFrame:
    """Clean events; `moment` is microseconds since the first midnight."""
    fill = dict.fromkeys(PlayerEvents.columns)
    made = []
    for number, row in enumerate(rows):
        at = MIDNIGHT + dt.timedelta(microseconds=row["moment"])
        known = {name: value for name, value in row.items() if name != "moment"}
        made.append(fill | known | {"event_id": f"e-{number}", "timestamp": at, "event_date": at.date()})
    return pl.LazyFrame(made, schema=PlayerEvents.schema())


def oracle(rows: list[Row]) -> list[Row]:
    """Looks at one event after the other; knows five minutes as hours and minutes of a clock."""
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        at = MIDNIGHT + dt.timedelta(microseconds=row["moment"])
        start = at.replace(minute=at.minute // 5 * 5, second=0, microsecond=0)
        campaign = row["campaign_id"] if row["campaign_id"] in ("a", "b") else None
        found[start, row["event_type"], campaign].append(row | {"at": at})
    return [
        {
            "window_date": start.date(),
            "window_start": start,
            "event_type": event_type,
            "campaign_id": campaign,
            "events": len(here),
            "players": len({row["player_id"] for row in here}),
            "sessions": len({row["session_id"] for row in here} & {"a", "b"}),
            "last_event_at": max(row["at"] for row in here),
        }
        for (start, event_type, campaign), here in found.items()
    ]


def in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["window_start"], row["event_type"], row["campaign_id"] or ""))


@settings(max_examples=150, deadline=None)
@given(events_of_days, st.randoms())
def test_windows_equal_a_naive_count(rows: list[Row], chance: Any) -> None:
    shuffled = chance.sample(rows, len(rows))
    computed = event_windows(clean(shuffled))
    require_schema(EventWindows, computed)
    assert in_order(computed.collect().to_dicts()) == in_order(oracle(rows))
    assert windows_that_miss_events(computed, clean(rows)).collect().is_empty()


def test_a_lost_event_and_a_window_off_the_grid_fail() -> None:
    rows = [dict(moment=n * MINUTE, player_id="p", event_type="x", campaign_id=None, session_id="a") for n in range(4)]
    windows = event_windows(clean(rows))
    (missing,) = windows_that_miss_events(event_windows(clean(rows[:3])), clean(rows)).collect().to_dicts()
    assert missing == {"window_date": DAY, "counted": 3, "clean": 4}
    moved = windows.with_columns(pl.col("window_start") + dt.timedelta(minutes=1))
    assert judge(EventWindows, windows.collect(), [str(DAY)]).failures == []
    assert [f.rule for f in judge(EventWindows, moved.collect(), [str(DAY)]).failures] == ["begins_with_a_window"]


def test_windows_are_told_where_the_contract_is_read() -> None:
    from data_platform.definitions import defs

    found = EventWindows.windows.described() if EventWindows.windows else ""
    assert "5 min of event time" in found
    assert f"- Windows: {found}\n" in dictionary()
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key.to_user_string() == EventWindows.key)
    assert spec.metadata["windows"] == found


def test_the_newest_event_opens_and_closes_windows() -> None:
    """By hand: at 10:16 exactly the watermark (10:15) is ten minutes past the end of 10:00 to 10:05."""
    windows = Windows(dt.timedelta(minutes=5), dt.timedelta(minutes=1), dt.timedelta(minutes=10))
    noon = (10 * 60 + 16) * MINUTE
    assert windows.first_open(noon) == windows.number_of((10 * 60 + 5) * MINUTE)
    assert windows.first_open(noon - 1) == windows.number_of(10 * 60 * MINUTE)


def test_windows_that_do_not_divide_a_day_are_refused() -> None:
    with pytest.raises(ValueError, match="do not divide a day"):
        Windows(dt.timedelta(minutes=7), dt.timedelta(0), dt.timedelta(0))
    with pytest.raises(TypeError, match="set partition or take windows out"):

        class NoDays(Table):
            """Windows of no day."""

            key = "made_up/no_days"
            primary_key = ("name",)
            owner = "team:made-up"
            windows = EventWindows.windows
            name: str = column("Name.")
