"""`data-platform training-set build|list|load`. Not here: what is in a set (test_training_sets)."""

from __future__ import annotations

import functools

import polars as pl
import pytest

from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform_tests.features.test_training_sets import activity_rows, day, feature_rows, random_history
from data_platform_tests.support.command_line import Run
from data_platform_tests.support.homes import Home

RANGE = ("--from", str(day(3)), "--to", str(day(33)), "--every", "2", "--horizon", "3")


@pytest.fixture
def training_set(home: Home, run: Run) -> Run:
    """`data-platform training-set ARGUMENTS...` over a random history."""
    played = random_history(7)
    home.lake.replace(PlayerDailyActivity, activity_rows(played), list(played))
    home.lake.replace(PlayerChurnFeatures, feature_rows(played), list(played))
    return functools.partial(run, "training-set")


def test_a_set_is_built_listed_and_loaded(home: Home, training_set: Run) -> None:
    assert training_set("list", "--json").json == []
    built = training_set("build", "churn", *RANGE, "--json", "--out", str(home.path / "rows.parquet")).json
    assert set(built["rows_by_split"]) == {"train", "validation", "test"}
    assert training_set("build", "churn", *RANGE, "--json").json["id"] == built["id"]
    assert [one["id"] for one in training_set("list", "--json").json] == [built["id"]]
    loaded = training_set("load", built["id"], "--json", "--out", str(home.path / "rows.csv")).json
    assert loaded["rows"] == len(pl.read_parquet(home.path / "rows.parquet")) == built["rows"] > 0
    assert len(pl.read_csv(home.path / "rows.csv")) == built["rows"]
    shown = training_set("list")
    assert (shown.code, built["id"] in shown.out) == (0, True)


def test_what_goes_wrong_is_one_paragraph(home: Home, training_set: Run) -> None:
    assert not (home.path / "lake/training_sets").exists()
    for arguments, expected in (
        (("load", "churn-0123456789abcdef"), "There is no training set"),
        (("load", "../../etc/passwd"), "is no id"),
        (("build", "churn", *RANGE, "--out", "rows.xlsx"), "cannot be written"),
        (("build", "churn", *RANGE, "--out", str(home.path / "nowhere/rows.csv")), "There is no folder"),
        (("build", "churn", "--from", "2024-02-01", "--to", "2024-02-20", "--whole"), "has no rows on"),
    ):
        output = training_set(*arguments)
        assert (output.code, expected in output.err, "Traceback" in output.err) == (1, True, False), output.err
    assert not (home.path / "lake/training_sets").exists(), "looking makes no folder, refusing registers nothing"
