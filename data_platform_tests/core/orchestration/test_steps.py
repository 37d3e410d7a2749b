"""The step builder: what ledger and Dagster are told, in which order, and what an author cannot get wrong.
Not here: what any table computes, Polars assets (test_pipeline), SQL (test_dbt_runs)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

import data_platform
from data_platform.core.contract import table as core_contract
from data_platform.core.contract.table import Severity, Table, column
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import CheckOutcome, asset_key
from data_platform.core.orchestration.io_manager import LakeResource, NoHandover
from data_platform.core.orchestration.partitions import daily
from data_platform.core.orchestration.specs import spec_for
from data_platform.core.orchestration.steps import Check, StepRun, step
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform_tests.support.homes import FIRST_DAY, Home, verdicts

DAYS = [FIRST_DAY + dt.timedelta(number) for number in range(3)]
RANGE = {"dagster/asset_partition_range_start": str(DAYS[0]), "dagster/asset_partition_range_end": str(DAYS[-1])}


class Halves(Table):
    """One row per day."""

    key = "testing/halves"
    partition = "day"
    primary_key = ("day",)
    owner = "team:testing"

    day: dt.date = column("Day.")
    number: int = column("How many.", ge=0)


class OtherHalves(Halves):
    """The other one."""

    key = "testing/other_halves"


def rows_are_few(lake: Lake, days: Collection[str]) -> dict[str, CheckOutcome]:
    rows = dict(lake.partitions(Halves).select("partition", "rows").iter_rows())
    return {day: CheckOutcome(rows.get(day, 0) < 3, {"rows": rows.get(day, 0)}, rows.get(day, 0)) for day in days}


FEW = Check("rows_are_few", Halves, "There are few rows.", Severity.WARNING, found=rows_are_few)
SUM = Check("halves_make_a_whole", Halves, "Both halves have as many rows.")


def frames(numbers: Mapping[int, int]) -> list[pl.DataFrame]:
    return [pl.DataFrame({"day": [DAYS[at]], "number": [n]}, schema=Halves.schema()) for at, n in numbers.items()]


def run(home: Home, instance: dg.DagsterInstance, computed: dg.AssetsDefinition, what: Any) -> Any:
    resources = {"lake": LakeResource(root=home.lake.root), "io_manager": NoHandover()}
    defs = dg.Definitions([computed], jobs=[dg.define_asset_job("run", what)], resources=resources)
    job = defs.resolve_job_def("run")
    return job.execute_in_process(instance=instance, tags=RANGE, raise_on_error=False)


def outcomes(home: Home, check: Check) -> dict[str, str]:
    ledger = home.rows(CheckResults).filter(pl.col("check_name") == check.name)
    return dict(ledger.select("asset_partition", "status").iter_rows())


@pytest.fixture
def instance(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for table in (Halves, OtherHalves):  # forgotten after each test
        monkeypatch.setitem(core_contract._CONTRACTS, table.key, table)
    with home.used(), dg.DagsterInstance.ephemeral() as instance:
        yield instance


def of_both(body: Any) -> dg.AssetsDefinition:
    return step(spec_for(Halves), spec_for(OtherHalves), name="halves", checks=[SUM])(body)


def test_what_a_check_found_is_kept_for_each_day_before_dagster_hears_of_the_tables(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Iterator[Any]:
        raise RuntimeError("ended here")

    def body(run: StepRun) -> None:
        run.publish(Halves, frames({0: 1, 1: 1, 2: 1}), run.days())
        run.publish(OtherHalves, frames({0: 1, 1: 1, 2: 1}), run.days())
        run.found(SUM.name, {str(day): CheckOutcome(day != DAYS[1], {}) for day in DAYS})

    with monkeypatch.context() as patched:
        patched.setattr("data_platform.core.orchestration.steps.report", killed)
        assert not run(home, instance, of_both(body), dg.AssetSelection.all()).success
    assert outcomes(home, SUM) == {str(day): "failed" if day == DAYS[1] else "passed" for day in DAYS}
    assert not instance.get_materialized_partitions(asset_key(Halves))
    assert run(home, instance, of_both(body), dg.AssetSelection.all()).success
    found = verdicts(instance, Halves, SUM.name)
    assert {day: found[str(day)].passed for day in DAYS} == {day: day != DAYS[1] for day in DAYS}


def test_a_step_that_does_not_say_what_its_check_found_fails(home: Home, instance: dg.DagsterInstance) -> None:
    def body(run: StepRun) -> None:
        run.publish(Halves, frames({0: 1, 1: 1, 2: 1}), run.days())
        run.publish(OtherHalves, [], run.days())

    result = run(home, instance, of_both(body), dg.AssetSelection.all())
    (failure,) = [event for event in result.all_node_events if event.is_step_failure]
    assert "does not say what its check halves_make_a_whole found" in str(failure.step_failure_data.error)


def test_a_table_that_is_refused_keeps_no_other_of_the_step_from_being_told_of(
    home: Home, instance: dg.DagsterInstance
) -> None:
    def body(run: StepRun) -> None:
        run.publish(Halves, frames({0: 1, 1: -1, 2: 1}), run.days())
        run.publish(OtherHalves, frames({0: -1, 1: 1, 2: 1}), run.days())
        run.found(SUM.name, {})

    result = run(home, instance, of_both(body), dg.AssetSelection.all())
    (failure,) = [event for event in result.all_node_events if event.is_step_failure]
    text = str(failure.step_failure_data.error)
    assert "testing/halves: 1 day is not published" in text
    assert "testing/other_halves: 1 day is not published" in text
    assert instance.get_materialized_partitions(asset_key(Halves)) == {str(DAYS[0]), str(DAYS[2])}
    assert instance.get_materialized_partitions(asset_key(OtherHalves)) == {str(DAYS[1]), str(DAYS[2])}


def test_a_check_that_looks_at_the_lake_is_asked_again_by_itself(home: Home, instance: dg.DagsterInstance) -> None:
    @step(spec_for(Halves), checks=[FEW])
    def halves(run: StepRun) -> None:
        run.publish(Halves, frames({0: 1, 1: 1, 2: 1}), run.days())

    assert run(home, instance, halves, dg.AssetSelection.all()).success
    assert set(outcomes(home, FEW).values()) == {"passed"}
    more = pl.DataFrame({"day": [DAYS[2]] * 3, "number": [1, 2, 3]}, schema=Halves.schema())
    home.lake.commit(Halves, home.lake.stage(Halves, more), replacing=[str(DAYS[2])])
    alone = dg.AssetSelection.checks(FEW.key)
    result = run(home, instance, halves, alone)
    assert result.success
    assert not result.asset_materializations_for_node("testing__halves")
    assert [verdicts(instance, Halves, FEW.name)[str(day)].passed for day in DAYS] == [True, True, False]


def test_no_module_makes_a_step_by_hand() -> None:
    """A step made elsewhere has to know in which order ledger and Dagster are told, and which policies hold."""
    package = Path(data_platform.__path__[0])
    by_hand = re.compile(r"@dg\.(multi_asset|asset)\b|dg\.multi_asset\(")
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if by_hand.search(path.read_text())}
    assert found == {"core/orchestration/steps.py"}, "Make it with `asset`, `step` or `dbt_models`."


def test_rows_that_no_contract_judged_are_refused(home: Home, instance: dg.DagsterInstance) -> None:
    @dg.asset(key=Halves.key.split("/"), partitions_def=daily(), backfill_policy=dg.BackfillPolicy.single_run())
    def by_hand() -> pl.DataFrame:
        return Halves.empty()

    result = run(home, instance, by_hand, [by_hand])
    (failed,) = result.get_step_failure_events()
    assert "no contract judges them" in failed.step_failure_data.error_display_string
    assert not home.lake.exists(Halves)
