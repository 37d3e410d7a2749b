"""Research's models through dbt, on a temporary lake: whatever order a simulated studio's days arrive in, and what is
computed of them in between, the tables are those of one build. Not here: what they mean (test_research_star)."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Collection
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.contract.table import Table, contracts
from data_platform.domains.research.contracts import findings, metrics, star
from data_platform.domains.research.contracts.activity import SurveyAnswers
from data_platform.domains.research.contracts.discussions import Discussions
from data_platform.domains.research.sources import SOURCES
from data_platform.simulation.run import simulate
from data_platform_tests.support.homes import Home, assert_same_tables

DAYS = 8
START = dt.date(2024, 1, 2)
OF_CALLS = (metrics.ProjectLlmCosts, findings.DiscussionLlmCosts)
"""They need metering's calls, and are held to naive Python day by day (test_discussion_costs)."""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landing folders of a simulated company, dirt included."""
    root = tmp_path_factory.mktemp("studio") / "landing"
    simulate(40, DAYS, 3, START, root, dirty=True)
    return root


def build(home: Home, studio: Path, days: Collection[int]) -> None:
    """Land the days and build what depends on them, through Dagster."""
    for source in SOURCES:
        for day in days:
            for file in (studio / source.name).glob(f"{START + dt.timedelta(day)}-*.gz"):
                (home.landing / source.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, home.landing / source.name / file.name)
    home.build(["research"])


def contents(home: Home) -> dict[str, pl.DataFrame]:
    return {table.key: home.rows(table).sort(table.primary_key) for table in models() if table not in OF_CALLS}


def models() -> list[type[Table]]:
    return [table for table in contracts().values() if table.kind == "dbt" and "domains.research." in table.__module__]


def test_days_in_any_order_give_what_one_build_gives(studio: Path, tmp_path: Path) -> None:
    with Home(tmp_path / "at_once").used() as at_once:
        build(at_once, studio, range(DAYS))
        expected = contents(at_once)
        built = at_once.build(["research"])
        assert built.runs == 0, "all of it was told to Dagster"
    with Home(tmp_path / "in_batches").used() as in_batches:
        for days in ([6, 0, 1, 3], [2, 4, 5, 7]):
            build(in_batches, studio, days)
        assert_same_tables(contents(in_batches), expected)
    assert {key for key, found in expected.items() if found.is_empty()} == set()
    fact = expected[star.FactPersonaInteractions.key]
    assert fact.select("persona_key", "project_key").null_count().row(0) == (0, 0), "no orphans in a clean studio"
    health = expected[metrics.ProjectHealthScores.key]
    assert health["completion"].max() > 0, "focus groups that were held are completed"  # type: ignore[operator]
    groups = expected[findings.FocusGroupEffectiveness.key]
    assert len(groups) == len(in_batches.rows(Discussions))
    surveyed = expected[findings.SurveyResults.key].filter(pl.col("question_type") == "open_text")
    assert surveyed["answers"].sum() == in_batches.rows(SurveyAnswers)["respondent_id"].n_unique()
