"""The backfill plan against a naive oracle over the declared windows, and carried out: in chunks, killed, failing.
Not here: that a computed day is right (test_pipeline), which days automation requests (test_automation)."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from data_platform.cli import command_line
from data_platform.cli.planning import _ranges
from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Table, contract, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.instance.materialisations import InSqlite, ThroughDagster
from data_platform.core.orchestration.checks import asset_key
from data_platform.domains.gameplay.contracts.activity import DailyMetrics
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents
from data_platform.domains.metering.contracts.shared_costs import CostAllocation, RawSharedCosts
from data_platform.operations.build import carry_out
from data_platform.operations.declared import steps_of
from data_platform.operations.plan import BackfillPlan, backfill_plan
from data_platform.operations.runs import Runs
from data_platform.operations.staleness import Reason, days_downstream, days_to_compute
from data_platform_tests.support import SUPPORT
from data_platform_tests.support.homes import FIRST_DAY, Home, Row, all_tables, assert_same_tables, event
from data_platform_tests.support.plan_oracle import day, gameplay_tables, is_there, needed_days, oracle
from data_platform_tests.support.transforms import broken, computed_otherwise

HELPER = str(SUPPORT.joinpath("kill_helper.py"))
DAYS = 9
LATE = 3
Plan = Mapping[str, Mapping[str, str]]
"""Table key → day → reason."""


def lines(days: int) -> list[Row]:
    return [
        event(
            event_id=f"{player}-{n}",
            player_id=player,
            session_id=f"{player}-{n // 2}",
            timestamp=f"{day(n)}T{hour}:00Z",
        )
        for n in range(days)
        for player, hour in (("ann", "10:00"), ("bob", "23:30"))
    ]


def plan_of(home: Home, *selection: str, **days: dt.date) -> BackfillPlan:
    from data_platform.definitions import defs

    with home.used():
        return backfill_plan(steps_of(defs), ThroughDagster(home.instance), home.lake, selection, **days)


def carried_out(home: Home, plan: BackfillPlan, most_days: int = 60) -> tuple[str, ...]:
    from data_platform.definitions import defs

    with home.used():
        return carry_out(Runs(defs, home.instance), plan.steps(most_days)).failures


def reasons_of(plan: BackfillPlan) -> dict[str, dict[str, str]]:
    return {planned.table.key: {d: why.value for d, why in planned.days.items()} for planned in plan.tables}


def landed(path: Path) -> Home:
    home = Home(path).with_log()
    home.drop("all.ndjson", lines(DAYS))
    home.drop("all.ndjson", [change(n) for n in range(DAYS)], folder="players")
    return home


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, dict[str, pl.DataFrame]]:
    """A home that was built, and its tables then. Every test that lands something leaves it settled."""
    home = landed(tmp_path_factory.mktemp("plan") / "home")
    home.build()
    home.build(["commerce"])
    return home, home.computed()


@pytest.fixture
def built(settled: tuple[Home, dict[str, pl.DataFrame]]) -> Home:
    assert plan_of(settled[0]).tables == ()
    return settled[0]


@pytest.fixture
def undisturbed(settled: tuple[Home, dict[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """What the platform computes from what landed."""
    computed = {table.key for table in gameplay_tables()}
    return {key: frame for key, frame in settled[1].items() if key in computed}


def land_late_event(home: Home) -> None:
    """An event of the day LATE, known to Dagster and not yet computed with."""
    name = f"late-{len(home.raw())}"
    home.drop(f"{name}.ndjson", [event(event_id=name, timestamp=f"{day(LATE)}T12:00:00Z")])
    home.build(["raw"])


def change(number: int) -> Row:
    at = f"{day(number)}T01:00:00Z"
    return {"player_id": f"p-{number}", "operation": "insert", "changed_at": at, "registered_at": at}


@given(data=st.data())
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_plan_of_any_history_is_what_the_windows_say(data: st.DataObject) -> None:
    """Any tables written on any days in any order, by events alone: nothing is computed."""
    tables = [table for table in gameplay_tables() if table.partition]
    histories = st.lists(st.tuples(st.sampled_from(tables), st.integers(0, 12)), min_size=1, max_size=60)
    first, last = sorted(data.draw(st.tuples(st.integers(0, 12), st.integers(0, 12))))
    within = data.draw(st.sampled_from([range(0, 1000), range(first, last + 1)]))
    written: dict[tuple[type[Table], int], int] = {}
    with dg.DagsterInstance.ephemeral() as instance:
        for moment, (table, number) in enumerate(data.draw(histories), 1):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(table), partition=day(number)))
            written[table, number] = moment
        last_day = max((n for (table, n) in written if not inputs_of(table)), default=-1)
        found = days_to_compute(ThroughDagster(instance), gameplay_tables(), within={day(n) for n in within})
    plan = {t.key: {d: why.value for d, why in days.items()} for t, days in found.items() if days and t.partition}
    assert plan == oracle(written, last_day, within)


def test_what_the_platform_records_of_itself_makes_no_later_day_of_other_tables_due() -> None:
    tables = all_tables()
    with dg.DagsterInstance.ephemeral() as instance:
        for key, number in (("raw/player_changes", 0), ("quality/freshness", 5)):
            event_of_day = dg.AssetMaterialization(asset_key(contract(key)), partition=day(number))
            instance.report_runless_asset_event(event_of_day)
        found = days_to_compute(ThroughDagster(instance), tables)
    assert {one for days in found.values() for one in days} == {day(0), ""}


def test_what_is_read_until_days_after_it_makes_days_before_due() -> None:
    """A cost that is sent on day 50 may be of any month that begins at most 30 days before it."""
    import data_platform.definitions  # noqa: F401  (which say what each table is computed from)

    existing = {day(number) for number in range(60)}
    found = days_downstream({RawSharedCosts: {day(50)}}, [CostAllocation], existing)
    assert found == {CostAllocation: {day(number) for number in range(20, 60)}}


def closure(table: type[Table], number: int) -> dict[str, set[str]]:
    """Every day of every table that depends on one day, by asking each day for its inputs until nothing is added."""
    reached = {(table, number)}
    while True:
        more = {
            (other, n)
            for other in gameplay_tables()
            if other.partition and is_there(other, {RawPlayerEvents})
            for n in range(DAYS)
            if (other, n) not in reached and reached & set(needed_days(other, n))
        }
        if not more:
            break
        reached |= more
    found: dict[str, set[str]] = {}
    for other, n in reached - {(table, number)}:
        found.setdefault(other.key, set()).add(day(n))
    return found


def test_a_late_event_makes_exactly_the_dependent_days_stale_and_carrying_it_out_settles_them(built: Home) -> None:
    land_late_event(built)
    plan = plan_of(built)
    dependent = closure(contract("raw/player_events"), LATE)
    del dependent["clean/player_events_rejected"]  # comes out of the same step as clean/player_events
    dependent["features/online_player_features"] = {""}  # made of the newest day, and has none of its own
    assert reasons_of(plan) == {key: dict.fromkeys(sorted(days), "stale") for key, days in dependent.items()}
    assert not plan.beyond
    of_clean = next(planned for planned in plan.tables if planned.table.key == "clean/player_events")
    touched = closure(contract("clean/player_events"), LATE)
    touched["features/online_player_features"] = {""}
    assert {t.key: days for t, days in of_clean.downstream.items()} == {key: len(d) for key, d in touched.items()}
    assert all(planned.seconds is not None and planned.seconds > 0 for planned in plan.tables), "it was built before"
    assert carried_out(built, plan) == ()
    assert plan_of(built).tables == ()


def test_a_selection_and_days_bound_the_plan_and_tell_what_lies_beyond(built: Home) -> None:
    land_late_event(built)
    everything = reasons_of(plan_of(built))
    plan = plan_of(built, "player_daily_activity")
    assert set(reasons_of(plan)) == {"clean/player_events", "gameplay/player_daily_activity"}
    beyond = {key: len(days) for key, days in everything.items() if key not in reasons_of(plan)}
    assert {table.key: days for table, days in plan.beyond.items()} == beyond
    last = FIRST_DAY + dt.timedelta(LATE + 1)
    bounded = reasons_of(plan_of(built, last=last))
    assert bounded == {key: {d: why for d, why in days.items() if d <= str(last)} for key, days in everything.items()}
    assert carried_out(built, plan_of(built, last=last)) == ()
    assert plan_of(built, last=last).tables == ()
    assert min(d for days in reasons_of(plan_of(built)).values() for d in days if d) > str(last)
    assert carried_out(built, plan_of(built)) == ()
    assert plan_of(built).tables == ()


def test_unknown_tables_and_days_are_reported(built: Home) -> None:
    with pytest.raises(PlatformError, match="no table or group"):
        plan_of(built, "nonsense")
    for first, last in ((dt.date(2031, 1, 1), None), (dt.date(2024, 1, 5), dt.date(2024, 1, 2))):
        with pytest.raises(PlatformError, match="There are no days"):
            plan_of(built, first=first, **({"last": last} if last else {}))


# ----------------------------------------------------------------------------------- carried out
def test_small_chunks_settle_everything_and_give_the_same_tables(
    undisturbed: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    """Sessions look a day ahead, retention a month: their inputs' later chunks must come first."""
    other = landed(tmp_path / "chunked")
    other.build(["raw"])
    plan = plan_of(other)
    assert all(planned.seconds is None for planned in plan.tables), "nothing was ever computed"
    assert {why for days in reasons_of(plan).values() for why in days.values()} == {"missing"}
    assert max(len(step.days) for step in plan.steps(most_days=4)) == 4
    assert carried_out(other, plan, most_days=4) == ()
    assert plan_of(other).tables == ()
    assert_same(other, undisturbed)


def assert_same(home: Home, undisturbed: Mapping[str, pl.DataFrame]) -> None:
    found = home.computed()
    assert_same_tables({key: found[key] for key in undisturbed}, undisturbed)


def test_killed_in_the_middle_the_rest_is_the_next_plan(undisturbed: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    home = landed(tmp_path / "killed")
    assert run(home, "build", "raw")[0] == 0
    left = []
    for point in ("commit:after:14", "commit:before:6"):
        code, output = run(home, "plan --go", KILL_AT=point)
        assert code == -signal.SIGKILL, output
        left.append(plan_on_disk(home).partitions)
    assert 0 < left[1] < left[0]
    code, output = run(home, "plan --go")
    assert code == 0, output
    assert plan_on_disk(home).tables == ()
    assert_same(home, undisturbed)


def plan_on_disk(home: Home) -> BackfillPlan:
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.definitions import defs

    with home.used(), open_instance() as instance:
        return backfill_plan(steps_of(defs), ThroughDagster(instance), home.lake)


def run(home: Home, command: str, *arguments: str, **environment: str) -> tuple[int, str]:
    process = home.start(HELPER, *arguments, RUN=command, **environment)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


# ----------------------------------------------------------------------------------------- failures
def test_a_failing_transform_is_failed_and_what_waits_for_it_is_not(built: Home) -> None:
    from data_platform.domains.gameplay.transforms import activity

    land_late_event(built)
    expected = reasons_of(plan_of(built))

    with computed_otherwise(activity.daily_activity, broken):
        assert "broken" in carried_out(built, plan_of(built))[0]
    left = reasons_of(plan_of(built))
    assert left["gameplay/player_daily_activity"] == {day(LATE): "failed"}
    assert {why for key, days in left.items() if "daily_activity" not in key for why in days.values()} == {"stale"}
    waiting = {key for key in expected if "daily" in key or "features" in key or "retention" in key}
    assert waiting <= left.keys()
    assert carried_out(built, plan_of(built)) == ()
    assert plan_of(built).tables == ()


def test_a_day_that_its_contract_stopped_is_failed(built: Home) -> None:
    from data_platform.domains.gameplay.transforms import activity

    negative = pl.when(pl.col("activity_date").cast(pl.String) == day(LATE)).then(-1).otherwise("total_events")

    def wrong_on_one_day(original: Callable[..., pl.LazyFrame], events: pl.LazyFrame) -> pl.LazyFrame:
        return original(events).with_columns(total_events=negative.cast(pl.Int64))

    days = {"first": FIRST_DAY, "last": FIRST_DAY + dt.timedelta(DAYS - 1)}
    wrong = computed_otherwise(activity.daily_activity, wrong_on_one_day)
    with wrong, pytest.raises(AssertionError, match="not published"):
        built.build(["gameplay/player_daily_activity"], **days)
    plan = reasons_of(plan_of(built, "gameplay/player_daily_activity"))
    assert plan == {"gameplay/player_daily_activity": {day(LATE): Reason.FAILED.value}}
    assert carried_out(built, plan_of(built)) == ()
    assert plan_of(built).tables == ()


def test_the_files_of_a_home_say_what_dagster_says(tmp_path: Path) -> None:
    """After a run over chosen days and one that failed: the same attempts, steps and plan, to the microsecond."""
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.definitions import defs
    from data_platform.domains.gameplay.transforms import activity
    from data_platform.operations.build import build

    home, tables = landed(tmp_path / "home"), ["gameplay/player_daily_activity", "clean/players"]
    with home.used(), open_instance() as instance:
        directly, by_dagster = (
            InSqlite(tmp_path / "home/dagster/storage/history/runs/index.db"),
            ThroughDagster(instance),
        )
        assert directly.failed_steps({"nobody"}) == {}
        assert not build(defs, instance, tables).failures
        late = [event(event_id=f"late-{n}", timestamp=f"{day(n)}T12:00:00Z") for n in (LATE, LATE + 3)]
        home.drop("late.ndjson", late)
        with computed_otherwise(activity.daily_activity, broken):
            assert build(defs, instance, tables).failures
        steps = steps_of(defs)
        runs: set[str] = set()
        for table in contracts().values():
            assert directly.unfinished(table) == by_dagster.unfinished(table), table.key
            runs.update(directly.unfinished(table).values())
        assert directly.failed_steps(runs) == by_dagster.failed_steps(runs)
        assert directly.failed_steps(runs)
        computed: dict[str, list[str]] = {}
        for key, name in steps.of_table.items():
            computed.setdefault(name, []).append(key)
        past = list(directly.past_steps(computed, 50))
        assert past == list(by_dagster.past_steps(computed, 50))
        ranges = {len(days) for one in past for days in one.days}
        assert ranges >= {0, 1, 2}, "runs over everything, a range, and days that lie apart"
        plans = [backfill_plan(steps, record, home.lake) for record in (directly, by_dagster)]
    assert plans[0] == plans[1]
    assert reasons_of(plans[0])["gameplay/player_daily_activity"] == {day(n): "failed" for n in (LATE, LATE + 3)}
    assert any(planned.seconds for planned in plans[0].tables)


# ----------------------------------------------------------------------------------------- told
def test_nothing_to_do_is_said(home: Home, capsys: pytest.CaptureFixture[str]) -> None:

    for arguments in (["plan"], ["plan", "--go"]):
        assert command_line()(arguments, standalone_mode=False) in (None, 0)
        assert "Nothing is to be done" in capsys.readouterr().out
    home.drop("a.ndjson", lines(1))
    command_line()(["plan"], standalone_mode=False)
    assert "1 file waits in landing and is not in it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([0], "2024-01-01"),
        (range(20), "2024-01-01 to 2024-01-20 (20)"),
        ([0, 1, 4], "2024-01-01 to 2024-01-02 (2), 2024-01-05"),
        ([0, 2, 4, 6, 8, 9], "2024-01-01, 2024-01-03, 2024-01-05, and 2 more ranges until 2024-01-10 (3)"),
    ],
)
def test_days_are_reported_as_ranges(numbers: list[int], text: str) -> None:
    assert _ranges([day(n) for n in numbers]) == text


def test_days_before_anything_was_received_are_not_computed(home: Home) -> None:
    """Zeros of a day nobody knows anything of are no measurement."""
    home.drop("a.ndjson", [event(event_id="e", timestamp="2024-01-05T10:00:00Z")])
    home.build(["gameplay/daily_metrics"], first=FIRST_DAY, last=dt.date(2024, 1, 6))
    found = home.rows(DailyMetrics).sort("metric_date").select("metric_date", "events").rows()
    assert found == [(dt.date(2024, 1, 5), 1), (dt.date(2024, 1, 6), 0)]
    with pytest.raises(PlatformError, match="nothing to compute from 2024-01-01 to 2024-01-04"):
        home.build(["gameplay/daily_metrics"], first=FIRST_DAY, last=dt.date(2024, 1, 4))
