"""A contract of our own, broken on some days: which days are published, what is recorded of the others.
Not here: the tables of the platform (operations/test_pipeline)."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract import lineage
from data_platform.core.contract import table as core_contract
from data_platform.core.contract.table import Severity, Table, column
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.io_manager import LakeResource, NoHandover
from data_platform.core.quality.check_groups import check_groups
from data_platform.core.quality.validation import judge
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform_tests.support.homes import (
    FIRST_DAY,
    Home,
    materialisations,
    verdicts,
)


def day(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(number)


@pytest.fixture
def scores() -> Iterator[type[Table]]:
    """A contract for this test alone: taken out of the registry afterwards."""

    class Scores(Table):
        """One row per player and day."""

        key = "testing/scores"
        partition = "score_date"
        primary_key = ("score_date", "player_id")
        owner = "team:testing"

        score_date: dt.date = column("Day.")
        player_id: str = column("Player.", min_length=1)
        score: int = column("Points.", ge=0)
        mood: float | None = column("Between 0 and 1.", le=1.0, severity=Severity.WARNING)

    yield Scores
    core_contract._CONTRACTS.pop("testing/scores", None)
    lineage.INPUTS.pop("testing/scores", None)


def score_rows(scores: type[Table], rows: list[tuple[int, str | None, int | None, float | None]]) -> pl.DataFrame:
    return pl.DataFrame([(day(number), *rest) for number, *rest in rows], schema=scores.schema(), orient="row")


GOOD = [(0, "ann", 1, 0.5), (1, "ann", 2, 0.5), (2, "ann", 3, 0.5), (3, "ann", 4, 0.5)]


def materialise(
    scores: type[Table], frame: pl.DataFrame, home: Home, instance: dg.DagsterInstance, first: int = 0, last: int = 3
) -> dg.ExecuteInProcessResult:
    """One range run of an asset that returns the frame."""

    return run(scores, frame, home, instance, days_tags(first, last), dg.AssetSelection.assets(asset_key(scores)))


def days_tags(first: int, last: int) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": str(day(first)),
        "dagster/asset_partition_range_end": str(day(last)),
    }


def run(
    scores: type[Table],
    frame: pl.DataFrame,
    home: Home,
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    selection: dg.AssetSelection,
) -> dg.ExecuteInProcessResult:
    """A run of the asset, its checks, or both, of a code location that has nothing else."""

    def of_days(days: list[dt.date]) -> pl.DataFrame:
        return frame.filter(pl.col("score_date").is_in(days))

    computed = asset(scores, of_days)
    resources = {"lake": LakeResource(root=home.lake.root), "io_manager": NoHandover()}
    defs = dg.Definitions([computed], jobs=[dg.define_asset_job("run", selection)], resources=resources)
    job = defs.resolve_job_def("run")
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


BROKEN: dict[str, tuple[list[tuple[int, str | None, int | None, float | None]], str, str]] = {
    "value out of bounds": ([(1, "bob", -1, 0.5)], "score_at_least_0", "bounds"),
    "null where none may be": ([(1, "bob", None, 0.5)], "score_not_null", "schema"),
    "empty text": ([(1, "", 5, 0.5)], "player_id_not_empty", "schema"),
    "key twice": ([(1, "bob", 5, 0.5), (1, "bob", 6, 0.5)], "primary_key_unique", "schema"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_day_that_breaks_an_error_rule_is_not_published_and_the_others_are(
    home: Home, scores: type[Table], kind: str
) -> None:
    bad, rule, check = BROKEN[kind]
    instance = dg.DagsterInstance.ephemeral()
    first_run = [row for row in GOOD if row[0] == 1]
    assert materialise(scores, score_rows(scores, first_run), home, instance, 1, 1).success
    result = materialise(scores, score_rows(scores, [*GOOD, *bad]), home, instance)
    assert not result.success
    assert home.rows(scores).sort("score_date").equals(score_rows(scores, GOOD)), "day 1 keeps what it had"
    metadata_of = materialisations(instance, asset_key(scores))
    assert {part: metadata["dagster/partition_row_count"] for part, metadata in metadata_of.items()} == {
        str(day(n)): 1 for n in range(4)
    }
    newest = {part: int(metadata["delta/version"]) for part, metadata in metadata_of.items()}
    assert newest[str(day(1))] < newest[str(day(0))] == newest[str(day(2))] == newest[str(day(3))]
    found = verdicts(instance, scores, check)
    assert {part: one.passed for part, one in found.items() if part} == {
        str(day(0)): True, str(day(1)): False, str(day(2)): True, str(day(3)): True,
    }  # fmt: skip
    metadata: Any = found[str(day(1))].metadata
    assert [one.data["rule"] for one in metadata["failed_rules"].records] == [rule]
    keys = [one.data for one in metadata["failing_rows"].records]
    assert {(key["score_date"], key["player_id"]) for key in keys} == {(str(day(1)), bad[0][1])}, "keys as a table"
    others = {group.name for group in check_groups(scores)} - {check}
    assert all(verdicts(instance, scores, name)[str(day(1))].passed for name in others), "no other check is to blame"
    message = " ".join(str(e.step_failure_data.error) for e in result.all_events if e.is_step_failure)
    assert rule in message
    assert str(day(1)) in message

    repaired = materialise(scores, score_rows(scores, GOOD), home, instance)
    assert repaired.success
    assert all(one.passed for one in verdicts(instance, scores, "schema").values())


def test_a_warning_is_published_and_reported_per_day(home: Home, scores: type[Table]) -> None:
    instance = dg.DagsterInstance.ephemeral()
    rows = [*GOOD, (2, "bob", 1, 7.0), (2, "cid", 1, None)]
    assert materialise(scores, score_rows(scores, rows), home, instance).success
    assert len(home.rows(scores)) == len(rows)
    found = {part: one for part, one in verdicts(instance, scores, "bounds_warning").items() if part}
    assert {part: one.passed for part, one in found.items()} == {str(day(n)): n != 2 for n in range(4)}
    assert {one.severity for one in found.values()} == {dg.AssetCheckSeverity.WARN}
    assert found[str(day(2))].metadata["failed_rows"].value == 1
    assert all(one.passed for one in verdicts(instance, scores, "schema").values())


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("days", ["named", "all that are there"])
def test_checks_are_asked_again_of_the_data_as_it_stands(
    home: Home, scores: type[Table], alone: bool, days: str
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    assert materialise(scores, score_rows(scores, GOOD), home, instance).success
    by_hand = score_rows(scores, [(1, "ann", -7, 0.5)])
    home.lake.replace(scores, by_hand, [day(1)])
    version = home.lake.version(scores)
    bounds = dg.AssetCheckKey(asset_key(scores), "bounds")
    selection = dg.AssetSelection.checks(bounds) if alone else dg.AssetSelection.checks_for_assets(asset_key(scores))
    tags = days_tags(0, 3) if days == "named" else {}
    result = run(scores, score_rows(scores, GOOD), home, instance, tags, selection)
    assert not result.success, "as Dagster has it for a blocking check"
    found = verdicts(instance, scores, "bounds")
    assert {part: one.passed for part, one in found.items() if part} == {str(day(n)): n != 1 for n in range(4)}
    asked = {one.check_name for one in result.get_asset_check_evaluations()}
    assert asked == ({"bounds"} if alone else {group.name for group in check_groups(scores)})
    assert home.lake.version(scores) == version, "nothing is computed or written"
    assert not result.get_asset_materialization_events()
    repaired = [("score_at_least_0", "failed"), ("score_at_least_0", "passed")]
    of_day = home.rows(CheckResults).filter(asset=scores.key, asset_partition=str(day(1)), check_name=repaired[0][0])
    assert set(of_day.select("check_name", "status").rows()) == set(repaired), "kept in the ledger too"


def test_a_run_of_one_day_has_its_verdict_too(home: Home, scores: type[Table]) -> None:
    instance = dg.DagsterInstance.ephemeral()
    assert materialise(scores, score_rows(scores, GOOD), home, instance, 2, 2).success
    assert len(home.rows(scores)) == 1
    assert verdicts(instance, scores, "schema")[str(day(2))].passed


def test_an_empty_day_is_published_as_empty(home: Home, scores: type[Table]) -> None:
    instance = dg.DagsterInstance.ephemeral()
    materialise(scores, score_rows(scores, GOOD), home, instance)
    assert materialise(scores, score_rows(scores, GOOD[:1]), home, instance).success
    assert home.rows(scores)["score_date"].to_list() == [day(0)]
    metadata_of = materialisations(instance, asset_key(scores))
    assert {part: m["dagster/partition_row_count"] for part, m in metadata_of.items()} == {
        str(day(0)): 1, str(day(1)): 0, str(day(2)): 0, str(day(3)): 0,
    }  # fmt: skip


def test_a_frame_of_other_types_fails_the_step_and_writes_nothing(home: Home, scores: type[Table]) -> None:
    """delta-rs would cast 1.7 to 1 in silence."""
    instance = dg.DagsterInstance.ephemeral()
    wrong = score_rows(scores, GOOD).with_columns(score=pl.col("score") + 0.7)
    result = materialise(scores, wrong, home, instance)
    assert not result.success
    assert "score is Float64, declared Int64" in str(
        [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
    )
    assert not home.lake.exists(scores) or home.rows(scores).is_empty()


def test_pandera_checks_values_of_eager_frames(scores: type[Table]) -> None:
    frame = score_rows(scores, [*GOOD, (0, "bob", -5, 0.5), (2, "bob", 5, 9.0)])
    found = judge(scores, frame, [str(day(n)) for n in range(4)])
    assert {(v.rule, v.severity, v.partition, v.failed_rows, v.rows) for v in found.failures} == {
        ("score_at_least_0", Severity.ERROR, str(day(0)), 1, 2),
        ("mood_at_most_1.0", Severity.WARNING, str(day(2)), 1, 2),
    }
    assert found.failures[0].sample == ({"score_date": day(0), "player_id": "bob"},)
    assert found.blocked() == {str(day(0))}
