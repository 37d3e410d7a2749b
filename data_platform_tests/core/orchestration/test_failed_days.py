"""A day that fails holds back what needs it, and nothing else. Not here: what makes a day fail (contracts)."""

from __future__ import annotations

import datetime as dt
import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from data_platform.core.attempts import GIVE_UP_AFTER, TRANSIENT_FAULTS, each_day_it_can
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.core.orchestration import code_references
from data_platform.core.orchestration.checks import _judged, asset_key
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents, PlayerEventsRejected
from data_platform_tests.support.homes import FIRST_DAY, Home, Row, event

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
            each_day_it_can(
                [DAYS], lambda _days, fault=fault: (_ for _ in ()).throw(fault), (dg.Failure, *TRANSIENT_FAULTS)
            )


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


# ------------------------------------------------------------------------- the automation
WATCHED = (PlayerEvents, PlayerEventsRejected, PlayerDailyActivity)


@dataclass
class Watched:
    """The automation over some tables of a home; what it asks for is run, as its sensor would have it run."""

    home: Home
    defs: dg.Definitions
    cursor: Any = None
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC).replace(minute=10))

    def tick(self, later: dt.timedelta = dt.timedelta(seconds=10)) -> dict[str, set[str]]:
        self.now += later
        keys = [asset_key(table) for table in WATCHED]
        found = dg.evaluate_automation_conditions(
            defs=self.defs, instance=self.home.instance, cursor=self.cursor, evaluation_time=self.now,
            asset_selection=dg.AssetSelection.assets(*keys),
        )  # fmt: skip
        self.cursor = found.cursor
        return {
            "/".join(key.path): {*found.get_requested_partitions(key)} for key in keys if found.get_num_requested(key)
        }  # type: ignore[misc]

    def run(self, asked: dict[str, set[str]]) -> bool:
        """One run over the days asked for; whether it succeeded."""
        from data_platform.operations.runs import Runs
        from data_platform.operations.staleness import build_step

        step = build_step({table: sorted(asked[table.key]) for table in WATCHED if table.key in asked})
        assert step is not None
        return Runs(self.defs, self.home.instance).compute(step).success

    def land(self, name: str, events: list[Row]) -> None:
        from data_platform.operations.build import build

        self.home.drop(name, events)
        build(self.defs, self.home.instance, ["raw/player_events"])


def day(n: int) -> str:
    return str(FIRST_DAY + dt.timedelta(n))


def test_the_automation_asks_again_for_a_day_that_failed_when_it_may_do_better(home: Home) -> None:
    from data_platform.definitions import defs

    good = {n: event(event_id=f"e-{n}", timestamp=f"{day(n)}T10:00:00Z") for n in range(4)}
    bad, clean = good[1] | {"event_data": None}, PlayerEvents.key
    with home.used():
        watched = Watched(home, defs)
        watched.tick()
        watched.land("a.ndjson", [bad if n == 1 else good[n] for n in good])
        asked = watched.tick()
        assert asked[clean] == {day(n) for n in good}
        assert not watched.run(asked)
        others = watched.tick()
        assert others == {PlayerDailyActivity.key: {day(n) for n in good if n != 1}}, "its run ended before them"
        assert watched.run(others)
        assert [watched.tick() for _ in range(3)] == [{}, {}, {}], "it would fail again, and what needs it waits"

        asked = watched.tick(dt.timedelta(hours=1))
        assert asked[clean] == {day(1)}, "once an hour, and no day that did not fail"
        assert not watched.run(asked)
        assert watched.tick() == {}

        watched.defs = defs.map_asset_specs(func=lambda spec: spec.replace_attributes(code_version="mended"))
        asked = watched.tick()
        assert asked[clean] == {day(1)}, "its code is another"
        assert not watched.run(asked)
        assert [watched.tick() for _ in range(2)] == [{}, {}]

        watched.land("b.ndjson", [good[1] | {"event_id": f"more-{n}"} for n in range(40)])
        asked = watched.tick()
        assert asked[clean] == {day(1)}, "an input was written"
        assert watched.run(asked)
        assert watched.tick() == (waited := {PlayerDailyActivity.key: {day(1)}})
        assert watched.run(waited)
        assert watched.tick() == {}
    days = home.computed()["gameplay/player_daily_activity"]["activity_date"].cast(str).to_list()
    assert days == [day(n) for n in good]


def test_code_that_computes_a_table_is_part_of_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own, and that of the module of its domain that it names; no other table's."""
    package = tmp_path / "arena"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "assets.py").write_text(
        "from arena import one, two\ndef first():\n    return one.f()\ndef second():\n    return two.f()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def versions(one: str) -> tuple[str, str]:
        (package / "one.py").write_text(one)
        (package / "two.py").write_text("def f(): ...\n")
        for name in [name for name in sys.modules if name.startswith("arena")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        code_references._text_of.cache_clear()
        assets = importlib.import_module("arena.assets")
        return tuple(code_references.code_version(PlayerEvents, made) for made in (assets.first, assets.second))  # type: ignore[return-value]

    before, after = versions("def f(): ...\n"), versions("def f(): return 1\n")
    assert before[0] != after[0]
    assert before[1] == after[1]
    assert before == versions("def f(): ...\n"), "nothing else is in it"


def test_a_plan_goes_on_beside_a_day_that_fails_and_counts_what_was_written(home: Home) -> None:
    from data_platform.definitions import defs
    from data_platform.operations.build import carry_out
    from data_platform.operations.declared import steps_of
    from data_platform.operations.plan import backfill_plan
    from data_platform.operations.runs import Runs

    good = {n: event(event_id=f"e-{n}", timestamp=f"{day(n)}T10:00:00Z") for n in range(4)}
    tables = ["clean/player_events", "gameplay/player_daily_activity"]
    with home.used():
        watched = Watched(home, defs)
        watched.land("a.ndjson", [good[n] | ({"event_data": None} if n == 1 else {}) for n in good])
        plan = backfill_plan(steps_of(defs), ThroughDagster(home.instance), home.lake, tables)
        built = carry_out(Runs(defs, home.instance), plan.steps())
    (failure,) = built.failures
    assert failure.startswith("clean/player_events: 1 day is not published, for breaking the contract (2024-01-02: ")
    assert "`data-platform status clean/player_events`" in failure
    assert built.waiting == {"gameplay/player_daily_activity": {day(1)}}
    days = home.computed()["gameplay/player_daily_activity"]["activity_date"].cast(str).to_list()
    assert days == [day(0), day(2), day(3)]
    assert built.partitions == 9, "three days of clean events, of rejected ones and of activity"
