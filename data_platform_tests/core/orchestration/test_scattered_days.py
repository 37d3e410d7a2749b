"""Late events on days that lie apart: few runs, the days that are due and no others, the same tables as a rebuild.
Not here: which days are due (test_plan)."""

from __future__ import annotations

import datetime as dt
import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from data_platform.core.contract.lineage import computed_with, inputs_of
from data_platform.core.contract.table import Table, contract, contracts
from data_platform.core.instance.materialisations import WHOLE, ThroughDagster
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.chosen_days import CONFIG
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.operations.declared import steps_of
from data_platform.operations.plan import BackfillPlan, TablePlan, failed_days
from data_platform.operations.staleness import Reason, in_build_order, stale_days
from data_platform_tests.support.homes import FIRST_DAY, Home, Row, assert_same_tables, built_tables, event
from data_platform_tests.support.transforms import broken, computed_otherwise

DAYS = 40
LATE = (3, 11, 12, 25)


def day(number: int) -> str:
    return str(FIRST_DAY + dt.timedelta(number))


def lines() -> list[Row]:
    return [
        event(event_id=f"{player}-{n}", player_id=player, session_id=f"{player}-{n}", timestamp=f"{day(n)}T23:30:00Z")
        for n in range(DAYS)
        for player in ("ann", "bob")
    ]


def late() -> list[Row]:
    return [event(event_id=f"late-{n}", player_id="cid", timestamp=f"{day(n)}T12:00:00Z") for n in LATE]


def newest(home: Home, table: type[Table]) -> dict[str, int]:
    return dict(ThroughDagster(home.instance).newest(table))


def test_scattered_late_days_take_few_runs_write_what_is_due_alone_and_equal_a_rebuild(tmp_path: Path) -> None:
    home = Home(tmp_path / "late").with_log()
    home.drop("all.ndjson", lines())
    first = home.build()
    home.drop("late.ndjson", late())
    home.build(["raw"])
    due = stale_days(ThroughDagster(home.instance), built_tables())
    before = {table: newest(home, table) for table in due}
    files = {table: home.files(table) for table in due}
    assert sorted(due[contract("clean/player_events")]) == [day(n) for n in LATE]
    built = home.build()
    assert built.runs <= first.runs, "never more runs than everything took"
    for table, days in due.items():
        after = newest(home, table)
        assert sorted(one for one in after if after[one] != before[table].get(one)) == sorted(days), table.key
        written = {one for one, paths in home.files(table).items() if paths != files[table].get(one)}
        assert written <= set(days), f"{table.key}: days were written that were not due"
    assert not any(stale_days(ThroughDagster(home.instance), built_tables()).values()), "it settles in one build"

    other = Home(tmp_path / "rebuilt").with_log()
    other.drop("all.ndjson", [*lines(), *late()])
    other.build()
    assert_same_tables(home.computed(), other.computed())


def test_checks_of_scattered_days_are_recorded_for_these_days(tmp_path: Path) -> None:
    home = Home(tmp_path).with_log()
    home.drop("all.ndjson", lines())
    home.build(["player_daily_activity"])
    home.drop("late.ndjson", late())
    home.build(["raw"])
    before = home.verdicts(contract("clean/player_events"), "schema")
    home.build(["player_daily_activity"])
    after = home.verdicts(contract("clean/player_events"), "schema")
    changed = {one for one, verdict in after.items() if one and verdict != before.get(one)}
    assert changed == {day(n) for n in LATE}
    judged = {after[one].target_materialization_data.storage_id for one in changed}
    newest_ids = newest(home, contract("clean/player_events"))
    assert judged == {newest_ids[one] for one in changed}, "tied to the materialisation that they judge"


def test_a_failed_step_leaves_its_chosen_days_failed_and_no_others(tmp_path: Path) -> None:
    from data_platform.definitions import defs
    from data_platform.domains.gameplay.transforms import activity
    from data_platform.operations.build import build

    home = Home(tmp_path).with_log()
    home.drop("all.ndjson", lines())
    home.build(["player_daily_activity"])
    home.drop("late.ndjson", late())
    home.build(["raw"])

    with computed_otherwise(activity.daily_activity, broken), home.used():
        built = build(defs, home.instance, ["player_daily_activity"])
        assert built.failures
        asked = (steps_of(defs), ThroughDagster(home.instance), home.lake, [PlayerDailyActivity, PlayerEvents])
        failed = failed_days(*asked)
    assert failed == {PlayerDailyActivity: {day(n) for n in LATE}, PlayerEvents: set()}
    home.build(["player_daily_activity"])
    with home.used():
        assert not any(failed_days(*asked).values())


def test_every_table_with_days_can_be_told_which_days_to_compute() -> None:
    from data_platform.definitions import defs

    for table in in_build_order(contracts().values()):
        assets = defs.get_assets_def(asset_key(table)) if defs.resolve_asset_graph().has(asset_key(table)) else None
        if table.partition and assets and assets.is_executable and assets.backfill_policy:
            schema = assets.op.config_schema.as_field().config_type
            several = len(set(assets.keys) & {asset_key(other) for other in in_build_order(contracts().values())}) > 1
            assert set(getattr(schema, "fields", {})) == set(CONFIG) | ({"days_of"} if several else set()), (
                f"The step of {table.key} computes all days of a run: give it config_schema=CONFIG and days_to_compute"
                ", or ChosenDays where it computes several tables, each its own days."
            )


@given(data=st.data(), most_days=st.sampled_from([3, 60, 366]))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_days_of_any_tables_are_computed_once_after_what_they_need_in_no_more_runs_than_everything(
    data: st.DataObject, most_days: int
) -> None:
    tables = in_build_order(contracts().values())
    everything = {t: [day(n) for n in range(60)] if t.partition else [WHOLE] for t in tables}
    wanted: dict[type[Table], list[str]] = {}
    for table in tables:
        chosen = data.draw(st.sets(st.sampled_from(everything[table])), label=table.key)
        if chosen:
            wanted[table] = sorted(chosen)
    steps, whole = planned(wanted).steps(most_days), planned(everything).steps(most_days)
    computed: dict[type[Table], list[str]] = {}
    done: set[tuple[type[Table], str]] = set()
    for step in steps:
        for table in step.tables:
            own = step.days_of(table) or (WHOLE,)
            for one in own:
                for needed in inputs_of(table):
                    source = computed_with(needed.table)
                    assert not [
                        late
                        for late in wanted.get(source, ())
                        if needs(needed.first, needed.last, one, late) and (source, late) not in done
                    ], f"{table.key} {one} before {source.key}"
            computed.setdefault(table, []).extend(own)
            done |= {(table, one) for one in own}
    assert {table: sorted(days) for table, days in computed.items()} == wanted, "each once, and no other"
    if most_days > 60:
        assert len(steps) <= len(whole) + 1, "one more where the first table has no days"


def planned(days: Mapping[type[Table], list[str]]) -> BackfillPlan:
    found = [TablePlan(table, dict.fromkeys(own, Reason.STALE), None, {}) for table, own in days.items()]
    return BackfillPlan(tuple(found), {})


def needs(first: int | None, last: int, one: str, late: str) -> bool:
    """Whether a day of a table needs a day of its input; a table without days needs all, and so do others of it."""
    if WHOLE in (one, late):
        return True
    apart = (dt.date.fromisoformat(late) - dt.date.fromisoformat(one)).days
    return (first is None or apart >= first) and apart <= last


@pytest.mark.soak
def test_seventeen_years_of_scattered_events_are_built_and_so_are_late_ones(tmp_path: Path) -> None:
    """Dagster refuses to tell 10,000 records at once, and a late batch over years took more runs than days of a month.
    In processes of their own, because partitions begin with the first day at import."""
    home, span = Home(tmp_path), 6200
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(span - 1)
    chosen = random.Random(26)

    def events(kind: str, numbers: list[int]) -> list[Row]:
        days = [first + dt.timedelta(n) for n in sorted(numbers)]
        players = [f"p-{chosen.randrange(30)}" for _ in days]
        return [
            event(event_id=f"{kind}-{day}", player_id=who, session_id=f"{who}-{day}", timestamp=f"{day}T10:00:00Z")
            for day, who in zip(days, players, strict=True)
        ]

    def answer_of(*command: str) -> dict[str, Any]:
        asked = home.start("-m", "data_platform_tests.support.command", *command, DATA_PLATFORM_FIRST_DAY=str(first))
        output = asked.communicate(timeout=3600)[0]
        assert asked.returncode == 0, output[-3000:]
        found = re.search(r"^[\[{].*", output, re.MULTILINE | re.DOTALL)
        return dict(json.loads(found[0])) if found else {}

    home.drop("all.ndjson", events("first", [0, span - 1, *chosen.sample(range(span), 3000)]))
    answer_of("build")
    home.drop("late.ndjson", events("late", chosen.sample(range(span), 400)))
    answer_of("build")
    assert answer_of("plan", "--json")["tables"] == []
    clean = home.rows(PlayerEvents)
    assert clean.height == home.raw().unique("event_id").height
    assert clean["event_date"].min() == first
