"""Research end to end: what a simulated studio sends, in batches in any order, gives the tables that one build gives,
and what the simulation says is true of it. Hostile text passes as text. Not here: single transforms."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_platform.core.contract.table import Table, contracts
from data_platform.domains.research.contracts.activity import PersonaInteractions, SurveyAnswers
from data_platform.domains.research.contracts.discussions import (
    DiscussionEvents,
    DiscussionEventsRejected,
    Discussions,
    DiscussionSnapshots,
    RawDiscussionEvents,
    RawDiscussionEventsRejected,
)
from data_platform.domains.research.contracts.registry import Personas, ResearchUsers
from data_platform.domains.research.replay import replay
from data_platform.domains.research.sources import SOURCES
from data_platform.simulation.run import simulate
from data_platform_tests.support.homes import Home, assert_same_tables
from data_platform_tests.support.research_rows import discussion_lines, said

DAYS = 5
START = dt.date(2024, 1, 2)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landing folders of a simulated company, dirt included."""
    root = tmp_path_factory.mktemp("studio") / "landing"
    simulate(40, DAYS, 7, START, root, dirty=True)
    return root


def tables() -> list[type[Table]]:
    import data_platform.definitions  # noqa: F401

    return [table for table in contracts().values() if "domains.research." in table.__module__ and not table.journal]


def of_foundation() -> list[type[Table]]:
    """The tables of this room's own steps: what SQL models make of them starts dbt, and has tests of its own."""
    return [table for table in tables() if table.kind != "dbt" and table.table_group() in ("raw", "clean", "research")]


def land(home: Home, studio: Path, days: list[int]) -> None:
    for source in SOURCES:
        for day in days:
            for file in (studio / source.name).glob(f"{START + dt.timedelta(day)}-*.gz"):
                (home.landing / source.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, home.landing / source.name / file.name)


def contents(home: Home) -> dict[str, pl.DataFrame]:
    volatile = ("received_at", "received_date")
    return {
        table.key: home.rows(table).drop(volatile, strict=False).select(pl.all().sort_by(pl.struct(pl.all())))
        for table in of_foundation()
    }


def build(home: Home) -> None:
    home.build([table.key for table in of_foundation()])


def test_batches_in_any_order_give_what_one_build_gives_and_what_is_true(studio: Path, tmp_path: Path) -> None:
    with Home(tmp_path / "at_once").used() as at_once:
        land(at_once, studio, [*range(DAYS)])
        build(at_once)
        expected = contents(at_once)
        check_truth(at_once, json.loads((studio / "truth.json").read_text())["research"])
    with Home(tmp_path / "in_batches").used() as in_batches:
        for days in ([3, 0], [4, 1, 2]):
            land(in_batches, studio, days)
            build(in_batches)
        assert_same_tables(contents(in_batches), expected)
    empty = {key for key, found in expected.items() if found.is_empty()}
    assert {key for key in empty if not key.endswith("_rejected")} == set()


def check_truth(home: Home, truth: dict[str, Any]) -> None:
    rejected = home.rows(DiscussionEventsRejected)["reason"].value_counts()
    reasons = dict(rejected.iter_rows())
    assert reasons == {name: truth[name] for name in ("conflicting_duplicate", "unknown_event_type", "unknown_version")}
    clean, raw = home.rows(DiscussionEvents), home.rows(RawDiscussionEvents)
    # A version that nobody knows comes instead of the event; the others come beside it.
    assert len(clean) == truth["discussion_events"]
    assert len(raw) == len(clean) + len(home.rows(DiscussionEventsRejected)) + truth["duplicate"]
    assert len(home.rows(RawDiscussionEventsRejected)) == truth["broken_lines"]
    assert len(home.rows(PersonaInteractions)) == truth["persona_interactions"]
    assert len(home.rows(SurveyAnswers)) == truth["survey_answers"]
    assert home.rows(Personas).filter("is_current").height == truth["personas"]
    assert home.rows(ResearchUsers)["user_id"].n_unique() == 12
    states = home.rows(Discussions)
    assert states["missing_events"].to_list() == [0] * len(states)
    assert states["events"].sum() == len(clean)
    assert home.rows(DiscussionSnapshots)["discussion_id"].unique().to_list() == ["discussion-1-1"]
    # Whoever does not find the old names among the new ones was not read as the newest version.
    assert clean.filter(pl.col("event_version") == 1, pl.col("event_type") == "response")["text"].null_count() == 0
    for name, events in states.select("discussion_id", "events").iter_rows():
        assert replay(home.lake, name).state.events == events


def test_hostile_text_and_ten_megabytes_arrive_as_they_were_sent(home: Home) -> None:
    words = {
        2: "Ignore all previous instructions; DROP TABLE discussions; --",
        3: "\u202eevil\u202c \x00 \x1b[31m \ufeff",
        4: "ż" * 5_000_000,
        5: '"}\n{"discussion_id": "d-2"}',
    }
    lines = [line | ({"event_data": {"text": words[line["sequence"]]}} if line["sequence"] in words else {})
             for line in discussion_lines(6)]  # fmt: skip
    home.drop("hostile.ndjson", lines, "discussion_events")
    home.drop("gap.ndjson", [said(2, discussion_id="d-gap"), said(5, discussion_id="d-gap")], "discussion_events")
    build(home)
    found = home.rows(DiscussionEvents).filter(pl.col("discussion_id") == "d-1").sort("sequence")
    assert {n: text for n, text in found.select("sequence", "text").iter_rows() if n in words} == words
    assert replay(home.lake, "d-1").state.status == "ended"
    gapless = home.verdicts(Discussions, "sequence_is_gapless")
    assert [verdict.passed for verdict in gapless.values()] == [False]
    row = home.rows(Discussions).filter(pl.col("discussion_id") == "d-gap").to_dicts()[0]
    assert (row["missing_events"], row["events"], row["starts"]) == (3, 2, 0)
