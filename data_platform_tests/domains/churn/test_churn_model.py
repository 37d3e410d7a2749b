"""Learning, from simulated players to verdicts: a monthly training set, a baseline model with signal, drift.
Not here: the parts of it (test_learning_measures), what is in a training set (test_training_sets)."""

from __future__ import annotations

import datetime as dt
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract.table import Table
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.quality import verdict_ledger
from data_platform.core.settings import PROJECT_ROOT
from data_platform.definitions import defs
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.contracts.learning import (
    DRIFT_BOUND,
    ChurnBaselineModel,
    ChurnFeatureDrift,
    ChurnRisk,
    ChurnTrainingSet,
)
from data_platform.domains.churn.learning import GOOD_ENOUGH, MODEL_FILE
from data_platform.domains.churn.schedules import churn_model_on_the_sixteenth, feature_drift_after_two
from data_platform.domains.churn.transforms.churn_model import ChurnModel
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.features import training_sets
from data_platform.features.training_sets import registry
from data_platform.simulation import simulate
from data_platform_tests.features.test_training_sets import activity_rows, filled
from data_platform_tests.support.homes import FIRST_DAY, Home

PLAYERS, DAYS = 60, 46
JANUARY, FEBRUARY = "2024-01-01", "2024-02-01"
DAILY_SNAPSHOTS = {"ops": {"features__churn_training_set": {"config": {"every_days": 1}}}}


def materialise(home: Home, *tables: type[Table], key: str, config: Mapping[str, Any] | None = None) -> Any:
    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=home.instance,
        asset_selection=[asset_key(table) for table in tables],
        partition_key=key,
        run_config=dict(config or {}),
        raise_on_error=False,
    )


def metadata_of(result: Any, table: type[Table]) -> dict[str, Any]:
    """Metadata of the table's materialisation in a run."""
    events = [e for e in result.get_asset_materialization_events() if e.asset_key == asset_key(table)]
    metadata = events[-1].materialization.metadata
    return {name: value.value for name, value in metadata.items()}


def ledger(home: Home, table: type[Table], check: str) -> list[tuple[str, str]]:
    """(partition, status) of every verdict."""
    found = verdict_ledger.latest(home.lake).filter(pl.col("asset") == table.key, pl.col("check_name") == check)
    return sorted(found.select("asset_partition", "status").collect().iter_rows())


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Six and a half weeks of players, of whom some lose interest."""
    with Home(tmp_path_factory.mktemp("learning")).with_log().used() as home:
        simulate(PLAYERS, DAYS, 3, FIRST_DAY, home.landing)
        home.build(["player_churn_features"])
        yield home


@pytest.fixture(scope="module")
def january(simulated: Home) -> Any:
    return materialise(simulated, ChurnTrainingSet, ChurnBaselineModel, key=JANUARY, config=DAILY_SNAPSHOTS)


def test_a_month_becomes_a_registered_training_set(simulated: Home, january: Any) -> None:
    assert january.success
    (row,) = simulated.rows(ChurnTrainingSet).to_dicts()
    built = training_sets.load(simulated.lake, row["training_set_id"])
    assert (row["month"], row["last_snapshot"]) == (dt.date(2024, 1, 1), dt.date(2024, 1, 31))
    assert row["content_sha256"] == built.manifest.content_sha256
    assert row["rows"] == len(built.rows()) == row["train_rows"] + row["test_rows"]
    assert 0.02 < row["churn_rate"] < 0.6
    assert min(row["train_rows"], row["test_rows"]) > 100
    assert metadata_of(january, ChurnTrainingSet)["training_set_id"] == built.id
    assert {status for _, status in ledger(simulated, ChurnTrainingSet, "parts_add_up")} == {"passed"}


def test_the_features_carry_signal(simulated: Home, january: Any) -> None:
    (row,) = simulated.rows(ChurnBaselineModel).to_dicts()
    assert row["auc"] > 0.65
    assert row["average_precision"] > row["churn_rate"] * 1.2
    assert row["brier"] < 0.25
    assert row["previous_auc"] is None
    assert ledger(simulated, ChurnBaselineModel, GOOD_ENOUGH.name) == [(JANUARY, "passed")]
    assert simulated.verdicts(ChurnBaselineModel, GOOD_ENOUGH.name)[JANUARY].passed
    metadata = metadata_of(january, ChurnBaselineModel)
    assert metadata["auc"] == row["auc"]
    assert len(metadata["top_features"]) == 10
    assert metadata["picture"].startswith("![features and calibration](data:image/svg+xml;base64,")
    assert sum(one["rows"] for one in metadata["calibration"]) == row["test_rows"]


def test_the_model_is_plain_json_that_foretells_the_same(simulated: Home, january: Any) -> None:
    (row,) = simulated.rows(ChurnBaselineModel).to_dicts()
    built = training_sets.load(simulated.lake, row["training_set_id"])
    model = ChurnModel.from_json(registry.read_beside(simulated.lake, built.id, MODEL_FILE).decode())
    test = built.rows("test")
    risk = model.probabilities(test)
    left, stayed = risk.filter(test["churned"]), risk.filter(~test["churned"])
    naive = sum((x > y) + (x == y) / 2 for x in left for y in stayed) / (len(left) * len(stayed))
    assert naive == pytest.approx(row["auc"], abs=1e-12)


def test_the_same_month_again_is_the_same_set_and_model(simulated: Home, january: Any) -> None:
    before = simulated.rows(ChurnTrainingSet), simulated.rows(ChurnBaselineModel).drop("trained_at")
    assert materialise(simulated, ChurnTrainingSet, ChurnBaselineModel, key=JANUARY, config=DAILY_SNAPSHOTS).success
    assert simulated.rows(ChurnTrainingSet).equals(before[0])
    assert simulated.rows(ChurnBaselineModel).drop("trained_at").equals(before[1])
    assert len(training_sets.registered(simulated.lake, "churn")) == 1


def test_a_month_whose_labels_are_not_known_is_refused(simulated: Home, january: Any) -> None:
    result = materialise(simulated, ChurnTrainingSet, ChurnBaselineModel, key=FEBRUARY, config=DAILY_SNAPSHOTS)
    assert not result.success
    failed = next(event for event in result.all_events if event.is_step_failure)
    assert "has no rows on" in str(failed.step_failure_data.error.cause or failed.step_failure_data.error)
    assert simulated.rows(ChurnTrainingSet)["month"].to_list() == [dt.date(2024, 1, 1)]


def test_drift_is_none_among_players_like_those_and_reported_when_a_feature_changes(
    simulated: Home, january: Any
) -> None:
    day = dt.date(2024, 2, 3)
    chosen = training_sets.load(simulated.lake, simulated.rows(ChurnTrainingSet)["training_set_id"][0])
    alike = chosen.rows("train").with_columns(
        snapshot_date=pl.lit(day), player_id=pl.format("like-{}", pl.int_range(pl.len()))
    )
    alike = alike.select(list(PlayerChurnFeatures.columns))
    features = simulated.lake.scan(PlayerChurnFeatures, day, day).collect()
    found = {}
    try:
        for name, rows in (("alike", alike), ("broken", alike.with_columns(weekend_ratio=pl.lit(0.987)))):
            simulated.lake.replace(PlayerChurnFeatures, rows, [day])
            assert materialise(simulated, ChurnFeatureDrift, key=str(day)).success, "drift warns and stops nothing"
            passed = simulated.verdicts(ChurnFeatureDrift, "no_drift")[str(day)].passed
            found[name] = (passed, ledger(simulated, ChurnFeatureDrift, "no_drift"), simulated.rows(ChurnFeatureDrift))
    finally:
        simulated.lake.replace(PlayerChurnFeatures, features, [day])
    assert set(found["alike"][2]["feature"]) == set(PlayerChurnFeatures.columns) - {"snapshot_date", "player_id"}
    assert found["alike"][2]["psi"].max() == 0
    assert found["alike"][:2] == (True, [(str(day), "passed")])
    assert found["broken"][2].filter(pl.col("psi") > DRIFT_BOUND)["feature"].to_list() == ["weekend_ratio"]
    assert found["broken"][:2] == (False, [(str(day), "failed")])
    assert materialise(simulated, ChurnFeatureDrift, key="2024-01-05").success
    assert simulated.rows(ChurnFeatureDrift)["snapshot_date"].unique().to_list() == [day], "no older training set then"


def test_risk_counts_the_players_of_a_day_by_what_the_model_says_of_each(simulated: Home, january: Any) -> None:
    day = dt.date(2024, 2, 3)
    assert materialise(simulated, ChurnRisk, key=str(day)).success
    (row,) = simulated.rows(ChurnRisk).to_dicts()
    model = ChurnModel.from_json(registry.read_beside(simulated.lake, row["training_set_id"], MODEL_FILE).decode())
    players = simulated.lake.scan(PlayerChurnFeatures, day, day).filter(pl.col("total_events") > 0).collect()
    foretold = [float(model.probabilities(players[n : n + 1])[0]) for n in range(len(players))]
    bands = Counter(min(int(one * 4), 3) for one in foretold)
    assert [row[name] for name in ("unlikely", "possible", "likely", "very_likely")] == [bands[n] for n in range(4)]
    assert row["players"] == len(foretold) > 20
    assert row["expected_churn"] == pytest.approx(sum(foretold) / len(foretold))
    assert ledger(simulated, ChurnRisk, "bands_add_up") == [(str(day), "passed")]
    for early in ("2024-01-05", "2024-01-31"):
        assert materialise(simulated, ChurnRisk, key=early).success
    assert len(simulated.rows(ChurnRisk)) == 1, "the model had seen these days"
    registry.write_beside(simulated.lake, row["training_set_id"], MODEL_FILE, model.to_json().encode() + b" ")
    assert not materialise(simulated, ChurnRisk, key=str(day)).success, "another model than the recorded one"
    registry.write_beside(simulated.lake, row["training_set_id"], MODEL_FILE, model.to_json().encode())


def test_features_without_signal_fail_the_check(home: Home) -> None:
    """Who plays is decided by a coin each day: nothing can foretell it, and the check says so."""
    coin = random.Random(3)
    players = [f"p-{number:02}" for number in range(60)]
    days = [FIRST_DAY + dt.timedelta(n) for n in range(46)]
    played = {day: [p for p in players if coin.random() < 0.05] or players[:1] for day in days}
    home.lake.replace(PlayerDailyActivity, activity_rows(played), days)
    rows = [
        {"snapshot_date": day, "player_id": p, "total_events": coin.randint(1, 99), "weekend_ratio": coin.random()}
        for day in days
        for p in players
    ]
    home.lake.replace(PlayerChurnFeatures, filled(PlayerChurnFeatures, rows), days)
    december = dt.date(2023, 12, 1)
    home.lake.replace(ChurnBaselineModel, filled(ChurnBaselineModel, [{"month": december, "auc": 0.75}]), [december])
    result = materialise(home, ChurnTrainingSet, ChurnBaselineModel, key=JANUARY, config=DAILY_SNAPSHOTS)
    assert result.success
    trained = home.rows(ChurnBaselineModel).filter(month=dt.date(2024, 1, 1))
    assert trained["previous_auc"].to_list() == [0.75]
    assert 0.4 < trained["auc"][0] < 0.6
    evaluation = home.verdicts(ChurnBaselineModel, GOOD_ENOUGH.name)[JANUARY]
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert ledger(home, ChurnBaselineModel, GOOD_ENOUGH.name) == [(JANUARY, "failed")]


def test_nothing_after_the_cut_off_changes_a_training_row(tmp_path: Path) -> None:
    """From landed files to rows: a game whose last days never arrive gives the same rows for the days before."""
    cut, sets = 9, []
    for name, days in (("whole", 13), ("cut", cut)):
        with Home(tmp_path / name).used() as home:
            simulate(16, 13, 5, FIRST_DAY, home.landing)
            for file in home.landing.rglob("*2024-*"):
                found = re.search(r"2024-\d\d-\d\d", file.name)
                if found and dt.date.fromisoformat(found[0]) >= FIRST_DAY + dt.timedelta(days) and file.is_file():
                    file.unlink()
            home.build(["player_churn_features"])
            last = FIRST_DAY + dt.timedelta(cut - 1 - 3)
            sets.append(training_sets.build(home.lake, "churn", (FIRST_DAY, last), horizon_days=3, split=None))
    assert sets[0].id == sets[1].id
    assert 0 < sets[0].manifest.positives < sets[0].manifest.rows


# ------------------------------------------------------------------------ around the assets
def test_the_code_location_does_not_load_scikit_learn() -> None:
    code = "import data_platform.definitions, sys; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert done.stdout.strip() == "False", done.stderr


def test_schedules_ask_for_last_month_and_yesterday(monkeypatch: pytest.MonkeyPatch) -> None:
    at = dt.datetime(2024, 3, 16, 4, tzinfo=dt.UTC)
    with dg.build_schedule_context(scheduled_execution_time=at) as context:
        request = churn_model_on_the_sixteenth(context)
        assert isinstance(request, dg.RunRequest)
        assert (request.partition_key, request.run_key) == ("2024-02-01", "churn-2024-02-01")
        drift = feature_drift_after_two(context)
        assert isinstance(drift, dg.RunRequest)
        assert drift.partition_key == "2024-03-15"
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        skipped = churn_model_on_the_sixteenth(context)
        assert isinstance(skipped, dg.SkipReason)
        assert "data-platform[ml]" in str(skipped.skip_message)


def test_the_example_runs_from_lake_to_model(simulated: Home) -> None:
    example = PROJECT_ROOT / "docs/examples/churn_model.py"
    code = [line for line in example.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 30
    done = subprocess.run(
        [sys.executable, example, simulated.lake.root, "2024-01-01", "2024-01-31"],
        capture_output=True,
        text=True,
        env=simulated.environment(),
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"AUC ([\d.]+), PR-AUC", done.stdout)
    assert found
    assert float(found[1]) > 0.6
