"""A day that fails holds back what needs it, and nothing else. Not here: what makes a day fail (contracts)."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import dagster as dg
import pytest

from data_platform.core.orchestration.attempts import GIVE_UP_AFTER, each_day_it_can
from data_platform.core.orchestration.checks import _judged, asset_key
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform_tests.support.homes import FIRST_DAY, Home, event

DAYS = [FIRST_DAY + dt.timedelta(n) for n in range(40)]


@pytest.mark.parametrize("bad", [{3}, {0, 39}, {*range(12, 20)}])
def test_days_that_cannot_be_computed_are_alone(bad: set[int]) -> None:
    done: list[dt.date] = []

    def compute(days: list[dt.date]) -> None:
        if {DAYS[n] for n in bad} & {*days}:
            raise ValueError("overflow")
        done.extend(days)

    assert each_day_it_can([DAYS[:25], DAYS[25:]], compute).keys() == {str(DAYS[n]) for n in bad}
    assert done == [day for n, day in enumerate(DAYS) if n not in bad]


def test_a_broken_transform_is_not_tried_for_every_day() -> None:
    tried: list[list[dt.date]] = []

    def compute(days: list[dt.date]) -> None:
        tried.append(days)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        each_day_it_can([DAYS], compute)
    assert len(tried) <= 3 * GIVE_UP_AFTER
    for fault in (OSError("away"), dg.Failure("told")):
        with pytest.raises(type(fault)):
            each_day_it_can([DAYS], lambda _days, fault=fault: (_ for _ in ()).throw(fault))


def test_a_day_that_its_contract_stops_holds_back_only_what_needs_it(home: Home) -> None:
    from data_platform.definitions import defs
    from data_platform.operations.build import build

    good = {n: event(event_id=f"e-{n}", timestamp=f"{FIRST_DAY + dt.timedelta(n)}T10:00:00Z") for n in (0, 1, 2, 3)}
    bad = {name: ... for name in ("event_data",)}
    day = str(FIRST_DAY + dt.timedelta(1))
    home.drop("a.ndjson", [event(**{**good[n], **bad}) if n == 1 else good[n] for n in good])
    tables = ["player_sessions", "player_daily_activity"]
    for _ in range(2):
        with home.used():
            built = build(defs, home.instance, tables)
        assert len(built.failures) == 1, built.failures
        assert day in built.failures[0]
        assert built.waiting["gameplay/player_daily_activity"] == {day}
        assert built.waiting["gameplay/player_sessions"] == {str(FIRST_DAY + dt.timedelta(n)) for n in (0, 1, 2)}
        activity = home.computed()["gameplay/player_daily_activity"]
        assert activity["activity_date"].cast(str).to_list() == [str(FIRST_DAY + dt.timedelta(n)) for n in (0, 2, 3)]


def test_a_range_of_more_days_than_dagster_tells_at_once() -> None:
    """It refuses to be asked for more than 10,000 records; two were asked for each day."""
    days = [str(FIRST_DAY + dt.timedelta(n)) for n in range(6000)]
    with dg.DagsterInstance.ephemeral() as instance:
        for day in [*days, days[7]]:
            instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(PlayerEvents), partition=day))
        judged = _judged(SimpleNamespace(instance=instance), PlayerEvents, days)
    assert judged.keys() == {*days}
    assert judged[days[7]].storage_id == max(one.storage_id for one in judged.values())
