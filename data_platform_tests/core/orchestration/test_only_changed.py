"""A day whose rows are what they were is not written again: it counts as up to date, and nothing that needs it is asked
for, neither by the automation nor by `build`. Real Dagster runs and ticks on a small lineage of its own.
Not here: prices, which live by it (domains/metering)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract import table as core_contract
from data_platform.core.contract.lineage import INPUTS
from data_platform.core.contract.table import Table, column
from data_platform.core.instance.materialisations import Materialisations, ThroughDagster
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.io_manager import LakeResource, NoHandover
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.operations.build import carry_out
from data_platform.operations.runs import Runs
from data_platform.operations.staleness import build_step, days_downstream, stale_days
from data_platform_tests.support.homes import FIRST_DAY, Home

DAYS = [FIRST_DAY + dt.timedelta(number) for number in range(6)]
NOW = dt.datetime.combine(DAYS[-1], dt.time(12), dt.UTC)


class Numbers(Table):
    """A number from a day on."""

    key = "testing/numbers"
    partition = "day"
    primary_key = ("day",)
    owner = "team:testing"
    profiled = False

    day: dt.date = column("Day.")
    number: int = column("The number.", ge=0)


class Calls(Numbers):
    """So many calls of a day."""

    key = "testing/calls"


class Cards(Numbers):
    """The number that holds on a day."""

    key = "testing/cards"
    only_changed = True


class Costs(Numbers):
    """Calls times the number."""

    key = "testing/costs"


class Sums(Numbers):
    """The same again."""

    key = "testing/sums"


TABLES = (Numbers, Calls, Cards, Costs, Sums)


def holding(numbers: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    wanted = pl.LazyFrame({"day": list(days)})
    return wanted.join_asof(numbers.sort("day"), on="day", strategy="backward").drop_nulls()


def products(cards: pl.LazyFrame, calls: pl.LazyFrame) -> pl.LazyFrame:
    return calls.join(cards, on="day").select("day", number=pl.col("number") * pl.col("number_right"))


def same(costs: pl.LazyFrame) -> pl.LazyFrame:
    return costs


@dataclass
class Platform:
    """The small lineage with an instance; requested days are computed by real runs."""

    home: Home
    defs: dg.Definitions
    instance: dg.DagsterInstance
    cursor: Any = None
    ran: list[dict[str, list[int]]] = field(default_factory=list)

    def receive(self, table: type[Table], numbers: Mapping[int, int]) -> None:
        days = [DAYS[at] for at in numbers]
        frame = pl.DataFrame({"day": days, "number": [*numbers.values()]}, schema=table.schema())
        self.home.lake.replace(table, frame, days)
        for day in days:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(table), partition=str(day)))

    def tick(self) -> dict[str, list[int]]:
        """Table → days that one evaluation requests; they are computed right away, range by range."""
        result = dg.evaluate_automation_conditions(
            defs=self.defs, instance=self.instance, cursor=self.cursor, evaluation_time=NOW
        )
        self.cursor = result.cursor
        requested = {}
        for key in self.defs.resolve_asset_graph().toposorted_asset_keys:
            if days := sorted(map(str, result.get_requested_partitions(key))):
                requested[key.path[-1]] = [(dt.date.fromisoformat(day) - FIRST_DAY).days for day in days]
                self.compute(key, days)
        return requested

    def compute(self, key: dg.AssetKey, days: list[str]) -> None:
        """As a backfill does: a run over the range."""
        tags = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
        job = self.defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=self.instance, asset_selection=[key], tags=tags)
        assert result.success

    def numbers(self, table: type[Table]) -> list[int]:
        return self.home.lake.scan(table).sort("day").collect()["number"].to_list()

    def stale(self) -> dict[str, list[int]]:
        found = stale_days(self.history, [Cards, Costs, Sums])
        return {
            table.table_name(): [(dt.date.fromisoformat(day) - FIRST_DAY).days for day in days]
            for table, days in found.items()
            if days
        }

    @property
    def history(self) -> Materialisations:
        return ThroughDagster(self.instance)


@pytest.fixture
def platform(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    for table in TABLES:  # forgotten after each test
        monkeypatch.setitem(core_contract._CONTRACTS, table.key, table)
        monkeypatch.setitem(INPUTS, table.key, ())
    with home.used(), dg.DagsterInstance.ephemeral() as instance:
        sources = [dg.AssetSpec(asset_key(table), partitions_def=daily()) for table in (Numbers, Calls)]
        computed = [
            asset(Cards, holding, numbers=Numbers.until()),
            asset(Costs, products, cards=Cards, calls=Calls),
            asset(Sums, same, costs=Costs),
        ]
        resources = {"lake": LakeResource(root=home.lake.root), "io_manager": NoHandover()}
        made = Platform(home, dg.Definitions([*sources, *computed], resources=resources), instance)
        made.tick()
        made.receive(Numbers, {0: 2})
        made.receive(Calls, dict.fromkeys(range(6), 10))
        yield made


def daily() -> dg.DailyPartitionsDefinition:
    from data_platform.core.orchestration.partitions import daily as of_platform

    return of_platform()


def settle(platform: Platform) -> list[dict[str, list[int]]]:
    ticks = []
    while requested := platform.tick():
        ticks.append(requested)
        assert len(ticks) < 6, ticks
    return ticks


def test_a_tick_asks_only_for_what_needs_days_that_turned_out_changed(platform: Platform) -> None:
    every = [*range(6)]
    assert settle(platform) == [{"cards": every}, {"costs": every, "sums": every}]
    assert platform.numbers(Sums) == [20] * 6
    before = platform.home.lake.version(Cards)

    platform.receive(Numbers, {0: 2})  # told again
    assert settle(platform) == [{"cards": every}], "every card was looked at, none was written, nothing follows"
    assert platform.home.lake.version(Cards) == before

    platform.receive(Numbers, {2: 3, 4: 2})  # holds on the days 2 and 3
    assert settle(platform) == [{"cards": [2, 3, 4, 5]}, {"costs": [2, 3], "sums": [2, 3]}]
    assert platform.numbers(Sums) == [20, 20, 30, 30, 20, 20]
    assert platform.numbers(Cards) == [2, 2, 3, 3, 2, 2]


def test_both_inputs_written_between_two_ticks(platform: Platform) -> None:
    settle(platform)
    platform.receive(Calls, {1: 11, 4: 11})
    platform.receive(Numbers, {3: 4, 5: 2})
    assert settle(platform) == [
        {"cards": [3, 4, 5], "costs": [1], "sums": [1]},  # a day whose card may change is not computed beside it
        {"costs": [3, 4], "sums": [3, 4]},
    ]
    assert platform.numbers(Sums) == [20, 22, 20, 40, 44, 20]


def test_a_day_that_was_looked_at_is_up_to_date(platform: Platform) -> None:
    settle(platform)
    assert platform.stale() == {}
    platform.receive(Numbers, {0: 2})
    assert platform.stale() == {"cards": [*range(6)]}, "what needs them is not out of date before they are written"
    settle(platform)
    assert platform.stale() == {}
    platform.receive(Numbers, {4: 9})
    assert platform.stale() == {"cards": [4, 5]}
    platform.compute(asset_key(Cards), [str(DAYS[4]), str(DAYS[5])])
    assert platform.stale() == {"costs": [4, 5], "sums": [4, 5]}


@pytest.mark.parametrize("days", [[0, 1, 2, 3, 4, 5], [0, 2, 5]], ids=["a range", "days that lie apart"])
def test_what_dagster_and_the_ledger_are_told(platform: Platform, days: list[int]) -> None:
    """In a run over a range, of which Dagster would record every day, and in one over chosen days, of which none."""
    settle(platform)
    instance, key = platform.instance, asset_key(Cards)
    told = {
        event: instance.get_latest_storage_id_by_partition(key, event)
        for event in (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)
    }
    platform.home.lake.replace(
        Numbers, pl.DataFrame({"day": [DAYS[5]], "number": [7]}, schema=Numbers.schema()), [DAYS[5]]
    )
    step = build_step({Cards: [str(DAYS[at]) for at in days], Sums: [str(DAYS[0])]})
    assert step
    assert carry_out(Runs(platform.defs, instance), [step]).failures == ()

    def newly(event: dg.DagsterEventType) -> set[str]:
        newest = instance.get_latest_storage_id_by_partition(key, event)
        return {day for day, at in newest.items() if at > told[event].get(day, 0)}

    assert newly(dg.DagsterEventType.ASSET_MATERIALIZATION) == {str(DAYS[5])}
    assert newly(dg.DagsterEventType.ASSET_OBSERVATION) == {str(DAYS[at]) for at in days if at != 5}
    run_id = instance.get_runs(limit=1)[0].run_id
    judged = platform.home.rows(CheckResults).filter(pl.col("run_id") == run_id, pl.col("asset") == Cards.key)
    assert set(judged["asset_partition"]) == {str(DAYS[at]) for at in days}, "every day has its verdicts all the same"
    assert platform.history.confirmed(Cards).keys() == {str(day) for day in DAYS}


def test_what_surely_follows_does_not_go_through_it(platform: Platform) -> None:
    written = {Cards: {str(DAYS[1])}}
    every = {str(day) for day in DAYS}
    assert days_downstream(written, [Costs], every) == {Costs: {str(DAYS[1])}}
    assert days_downstream(written, [Costs], every, surely=True) == {}


def test_a_damaged_file_is_written_again(platform: Platform) -> None:
    settle(platform)
    lake = platform.home.lake
    (path,) = lake.snapshot(Cards).paths(DAYS[1], DAYS[1])
    file = platform.home.path / "lake" / Cards.key / path
    file.write_bytes(file.read_bytes()[:50])
    platform.compute(asset_key(Cards), [str(DAYS[1]), str(DAYS[1])])
    assert platform.numbers(Cards) == [2] * 6


def test_a_profiled_table_with_days_cannot_be_so() -> None:
    with pytest.raises(TypeError, match="set profiled = False"):

        class Profiled(Cards):
            """A table."""

            key = "testing/profiled"
            profiled = True
