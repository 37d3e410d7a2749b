"""Real personas, discussions and surveys through the mappings of examples/, every row accounted for, against plain
Python over the files. Skipped where the data is absent. Not here: made-up studios."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_platform.core.contract.change_logs import clean_changes, history
from data_platform.domains.research.contracts.activity import RawSurveyAnswers
from data_platform.domains.research.contracts.discussions import RawDiscussionEvents
from data_platform.domains.research.contracts.registry import PersonaChanges, Personas, RawPersonaChanges
from data_platform.domains.research.sources import DISCUSSION_EVENTS, PERSONAS, SURVEY_ANSWERS
from data_platform.domains.research.transforms.activity import clean_answers
from data_platform.domains.research.transforms.discussion_events import clean_discussion_events
from data_platform.domains.research.transforms.discussions import discussion_states
from data_platform.sources.files.foreign_files import FileFormat
from data_platform.sources.files.mapping import map_file
from data_platform.sources.landing_source import LandingSource
from data_platform_tests.support.homes import Home
from data_platform_tests.support.running import ROOT
from data_platform_tests.support.shared_data import SHARED_DATA

DATA = SHARED_DATA
pytestmark = pytest.mark.skipif(not (DATA / "tinytroupe").is_dir(), reason="the real data is not here")


def take_in(home: Home, mapping: str, source: LandingSource, *files: Path, encoding: str = "utf-8") -> pl.DataFrame:
    """Map the files, ingest them, and give the raw rows; no line is rejected."""
    for file in files:
        map_file(file, ROOT / "examples" / mapping, source, home.landing, FileFormat(encoding=encoding))
    assert sum(result.rejected for result in home.ingest()) == 0
    return home.rows(source.table)


def days_of(raw: pl.DataFrame, day: str) -> list[dt.date]:
    return sorted(raw[day].unique())


def answers(home: Home, mapping: str, *files: Path, encoding: str = "utf-8") -> pl.DataFrame:
    raw = take_in(home, mapping, SURVEY_ANSWERS, *files, encoding=encoding)
    found = clean_answers(raw.lazy(), days_of(raw, str(RawSurveyAnswers.partition)))
    assert found.rejected.is_empty()
    assert found.duplicates["duplicates"].sum() == 0
    assert len(found.clean) == len(raw)
    return found.clean


def discussion(home: Home, mapping: str, file: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The clean events of a discussion and its state."""
    raw = take_in(home, mapping, DISCUSSION_EVENTS, file)
    raw = raw.filter(pl.col("received_at") == pl.col("received_at").max())
    found = clean_discussion_events(raw.lazy(), days_of(raw, str(RawDiscussionEvents.partition)))
    assert found.rejected.is_empty()
    assert len(found.clean) == len(raw)
    (state,) = discussion_states(found.clean.lazy()).collect().to_dicts()
    assert (state["missing_events"], state["clock_went_back"], state["starts"], state["status"]) == (0, 0, 1, "ended")
    return found.clean.sort("sequence"), state


def personas(home: Home, mapping: str, *files: Path) -> list[dict[str, Any]]:
    raw = take_in(home, mapping, PERSONAS, *files)
    log = clean_changes(raw.lazy(), PersonaChanges)
    return history(log, Personas).collect().to_dicts()


def test_personas_of_tinytroupe(home: Home) -> None:
    files = sorted((DATA / "tinytroupe/agents").glob("*.agent.json"))
    found = personas(home, "tinytroupe_personas.sql", *files)
    told = [json.loads(file.read_text())["persona"] for file in files]
    assert len(found) == len(told) == 6
    assert sorted(row["name"] for row in found) == sorted(one["name"] for one in told)
    by_name = {one["name"]: one for one in told}
    kept = {row["name"]: row for row in home.rows(RawPersonaChanges).to_dicts()}
    for row in found:
        one = by_name[row["name"]]
        assert json.loads(row["demographics"])["age"] == one["age"]
        assert row["background"] == one["occupation"].get("description")
        assert json.loads(row["personal_values"])["beliefs"] == one.get("beliefs")
        assert json.loads(kept[row["name"]]["extra_fields"])["persona"] == one, "nothing of it is lost"


@pytest.mark.parametrize("name", ["Interview_with_Customer", "Product_Brainstorming"])
def test_discussions_of_tinytroupe_by_turn(home: Home, name: str) -> None:
    file = DATA / f"tinytroupe/discussions/examples_{name}.jsonl"
    turns = [json.loads(line) for line in file.read_text().splitlines()]
    events, state = discussion(home, "tinytroupe_discussion.sql", file)
    talks = [turn for turn in turns if turn["kind"] == "TALK"]
    asked = [turn for turn in turns if turn["kind"] == "CONVERSATION" and turn["source"] == "USER"]
    heard = [turn for turn in turns if turn["kind"] == "CONVERSATION" and turn["source"] != "USER"]
    thoughts = [turn for turn in turns if turn["kind"] in ("THINK", "THOUGHT")]
    done = [turn for turn in turns if turn["kind"] == "DONE"]
    assert len(turns) == len(talks) + len(asked) + len(heard) + len(thoughts) + len(done), "every turn has a fate"
    said = sorted([*talks, *asked], key=lambda turn: turn["seq"])
    assert events["text"].to_list()[1:-1] == [turn["text"] for turn in said]
    assert (state["responses"], state["followups"]) == (len(talks), len(asked))
    assert state["participants"] == len({turn["agent"] for turn in talks})
    kept = [json.loads(data)["thought"] for data in events.filter(event_type="response")["event_data"]]
    before = [max((t for t in thoughts if t["agent"] == talk["agent"] and t["seq"] < talk["seq"]),
                  key=lambda turn: turn["seq"], default={"text": None})["text"] for talk in talks]  # fmt: skip
    assert kept == before


def test_votes_and_rankings_of_tinytroupe(home: Home) -> None:
    files = sorted((DATA / "tinytroupe/surveys").glob("*.csv"))
    found = answers(home, "tinytroupe_survey_answers.sql", *files)
    expected: Counter[tuple[str, str, Any]] = Counter()
    for file in files:
        survey = "bottled-gazpacho" if "Gazpacho" in file.name else "story-telling-device"
        for row in csv.DictReader(file.open(encoding="utf-8-sig", newline="")):
            vote = row["Vote"].split("-")
            if len(vote) > 1:
                expected.update((survey, f"rank-{option}", float(n)) for n, option in enumerate(vote, 1))
            else:
                expected[survey, "vote", float(vote[0])] += 1
            expected[survey, "explanation", row["Explanation"]] += 1
    rows = found.select("survey_id", "question_id", "rating", "text").rows()
    given = Counter((survey, question, text if rating is None else rating) for survey, question, rating, text in rows)
    assert given == expected
    assert found["respondent_id"].n_unique() == 100
    assert found["persona_id"].null_count() == len(found), "respondents are people"


def test_profiles_of_the_general_social_survey(home: Home) -> None:
    file = DATA / "gss_agents/agents.jsonl"
    told = {one["agent_id"]: one for one in map(json.loads, file.read_text().splitlines())}
    found = personas(home, "gss_agents.sql", file)
    assert len(found) == len(told) == 1753
    for row in found:
        one = told[row["persona_id"]]
        apart = {"agent_id", "first_name", "last_name", "street_address"}
        values = json.loads(row["personal_values"])
        assert json.loads(row["demographics"]) | values == {k: v for k, v in one.items() if k not in apart}
        assert row["name"] == f"{one['first_name']} {one['last_name']}"


def test_answers_on_flying(home: Home) -> None:
    file = DATA / "surveys/flying-etiquette-survey/flying-etiquette.csv"
    header, *lines = csv.reader(file.open(encoding="utf-8-sig", newline=""))
    found = answers(home, "flying_answers.sql", file)
    expected = Counter((line[0], cell) for line in lines for cell in line[1:] if cell)
    assert Counter(found.select("respondent_id", "choice").rows()) == expected
    assert found["question_id"].n_unique() == len(header) - 1
    assert found["respondent_id"].n_unique() == len(lines) == 1040


def test_answers_on_star_wars_in_latin_1_with_two_headers(home: Home) -> None:
    file = DATA / "surveys/star-wars-survey/StarWars.csv"
    header, options, *lines = csv.reader(file.open(encoding="latin-1", newline=""))
    found = answers(home, "star_wars_answers.sql", file, encoding="latin-1")
    seen, ranks = range(3, 9), range(9, 15)
    assert found["respondent_id"].n_unique() == len(lines) == 1186
    single = Counter(
        cell for line in lines for n, cell in enumerate(line) if n and cell and n not in seen and n not in ranks
    )
    assert Counter(found["choice"].drop_nulls()) == single
    films = Counter(tuple(sorted(line[n] for n in seen if line[n])) for line in lines if any(line[n] for n in seen))
    assert Counter(map(tuple, found["choices"].drop_nulls())) == films
    assert Counter(found["rating"].drop_nulls()) == Counter(float(line[n]) for line in lines for n in ranks if line[n])
    questions = 1 + len(ranks) + len(header) - 1 - len(seen) - len(ranks)
    assert found["question_id"].n_unique() == questions
    assert {json.loads(extra)["question"] for extra in home.rows(RawSurveyAnswers)["extra_fields"]} >= {
        f"rank: {options[n]}" for n in ranks
    }


@pytest.mark.parametrize("name", ["ES2004a", "IS1003d"])
def test_meetings_of_qmsum_with_their_questions(home: Home, name: str) -> None:
    file = DATA / f"qmsum/{name}.json"
    meeting = json.loads(file.read_text())
    turns, queries = meeting["meeting_transcripts"], meeting["specific_query_list"]
    events, state = discussion(home, "qmsum.sql", file)
    assert events["text"].to_list()[1:-1] == [turn["content"] for turn in turns]
    assert state["responses"] == len(turns)
    assert state["participants"] == len({turn["speaker"] for turn in turns})
    assert json.loads(events["event_data"][0])["questions"] == queries
    for place, question in enumerate(events["question_id"][1:-1]):
        asked = [
            f"q{n}" for n, query in enumerate(queries, 1)
            if any(int(first) <= place <= int(last) for first, last in query["relevant_text_span"])
        ]  # fmt: skip
        assert question == (asked[0] if asked else None)


def test_every_meeting_of_qmsum_is_taken_in_once(home: Home) -> None:
    files = sorted((DATA / "qmsum").glob("*.json"))
    raw = take_in(home, "qmsum.sql", DISCUSSION_EVENTS, *files)
    turns = sum(len(json.loads(file.read_text())["meeting_transcripts"]) for file in files)
    assert raw.filter(event_type="response").height == turns == 4527
    assert raw["discussion_id"].n_unique() == len(files) == 8
