"""`data-platform training-set build|list|load`. Not here: what is in a set (test_training_sets)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from data_platform import cli
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform_tests.features.test_training_sets import activity_rows, day, feature_rows, random_history
from data_platform_tests.support.homes import Home

Run = Callable[..., tuple[int, str, str]]
RANGE = ("--from", str(day(3)), "--to", str(day(33)), "--every", "2", "--horizon", "3")


@pytest.fixture
def run(home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`data-platform training-set ARGUMENTS...` in this process: exit code, stdout, stderr."""
    played = random_history(7)
    home.lake.replace(PlayerDailyActivity, activity_rows(played), list(played))
    home.lake.replace(PlayerChurnFeatures, feature_rows(played), list(played))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["data-platform", "training-set", *arguments])
        cli._debug.clear()
        capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return code, *capfd.readouterr()

    return run


def answer_of(answer: tuple[int, str, str]) -> Any:
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def test_a_set_is_built_listed_and_loaded(home: Home, run: Run) -> None:
    assert answer_of(run("list", "--json")) == []
    built = answer_of(run("build", "churn", *RANGE, "--json", "--out", str(home.path / "rows.parquet")))
    assert set(built["rows_by_split"]) == {"train", "validation", "test"}
    assert answer_of(run("build", "churn", *RANGE, "--json"))["id"] == built["id"]
    assert [one["id"] for one in answer_of(run("list", "--json"))] == [built["id"]]
    loaded = answer_of(run("load", built["id"], "--json", "--out", str(home.path / "rows.csv")))
    assert loaded["rows"] == len(pl.read_parquet(home.path / "rows.parquet")) == built["rows"] > 0
    assert len(pl.read_csv(home.path / "rows.csv")) == built["rows"]
    code, shown, _ = run("list")
    assert (code, built["id"] in shown) == (0, True)


def test_what_goes_wrong_is_one_paragraph(home: Home, run: Run) -> None:
    assert not (home.path / "lake/training_sets").exists()
    for arguments, expected in (
        (("load", "churn-0123456789abcdef"), "There is no training set"),
        (("load", "../../etc/passwd"), "is no id"),
        (("build", "churn", *RANGE, "--out", "rows.xlsx"), "cannot be written"),
        (("build", "churn", *RANGE, "--out", str(home.path / "nowhere/rows.csv")), "There is no folder"),
        (("build", "churn", "--from", "2024-02-01", "--to", "2024-02-20", "--whole"), "has no rows on"),
    ):
        code, _, err = run(*arguments)
        assert (code, expected in err, "Traceback" in err) == (1, True, False), err
    assert not (home.path / "lake/training_sets").exists(), "looking makes no folder, refusing registers nothing"
