"""The step of research/embeddings, run by Dagster from landed files: days, what comes late, another model.
Not here: texts and vectors (test_search_texts), finding them (test_searching)."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest

from data_platform.domains.research.assets import search as step_of_embeddings
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.search.embedding import with_vectors
from data_platform.domains.research.search.searching import Question, Searcher
from data_platform.domains.research.transforms.search_texts import OF_VECTORS
from data_platform_tests.support.homes import Home
from data_platform_tests.support.research_rows import said
from data_platform_tests.support.search_rows import CountingModel

RECEIVED = ("discussion_events", "persona_changes", "survey_answers", "survey_question_changes")
BUILT = (
    *(f"raw/{name}" for name in RECEIVED),
    *(f"raw/{name}_rejected" for name in RECEIVED),
    "raw/ingestion_ledger",
    "research/discussion_events",
    "clean/persona_changes",
    "clean/survey_answers",
    "clean/survey_answers_rejected",
    "clean/survey_question_changes",
    "research/mentions",
    "research/embeddings",
)


def land(home: Home, name: str, *lines: dict[str, object]) -> None:
    home.drop(name, [json.dumps(line) for line in lines], "discussion_events")
    home.build(BUILT)


def test_a_day_gains_texts_and_another_model_is_a_backfill(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CountingModel()
    monkeypatch.setattr(step_of_embeddings, "configured_model", lambda _settings: model)
    persona = {
        "persona_id": "p-1", "tenant_id": "t-1", "name": "Ana B.", "background": "She repairs clocks.",
        "operation": "insert", "changed_at": "2024-01-02T08:00:00Z",
    }  # fmt: skip
    home.drop("personas.ndjson", [json.dumps(persona)], "personas")
    land(home, "first.ndjson", said(1, event_data={"text": "Yes."}), said(3, event_data={"text": "Yes."}))
    assert sorted(model.asked) == ["She repairs clocks", "Yes."]
    land(home, "late.ndjson", said(2, event_data={"text": "Why?"}))
    assert model.asked[2:] == ["Why?"], "what has a vector is not embedded again"
    rows = home.rows(Embeddings).sort("text_id")
    shown = pl.col("text").str.strip_prefix("Ana B. ").alias("shown")
    anew = with_vectors(rows.drop(OF_VECTORS).with_columns(shown), CountingModel(), rows.clear())
    assert rows.equals(anew), "by days and all at once are the same"

    newer = CountingModel(version="2")
    monkeypatch.setattr(step_of_embeddings, "configured_model", lambda _settings: newer)
    home.build(["research/embeddings"], first=dt.date(2024, 1, 1), last=dt.date(2024, 1, 4))
    assert set(home.rows(Embeddings)["model_version"]) == {"2"}
    assert len(newer.asked) == 3, "each distinct text once"
    with home.used():
        assert [hit.sequence for hit in Searcher(home.lake).search(Question("why")).hits] == [2]


def test_what_a_survey_was_answered_is_found_with_its_question(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_of_embeddings, "configured_model", lambda _settings: CountingModel())
    answer = {
        "answer_id": "a-1", "survey_id": "s-1", "question_id": "q4", "project_id": "project-1", "persona_id": "p-1",
        "respondent_id": "p-1", "answered_at": "2024-01-03T10:00:00Z", "tenant_id": "t-1",
        "answer": {"text": "It takes me back to school."},
    }  # fmt: skip
    question = {
        "survey_id": "s-1", "question_id": "q4", "project_id": "project-1", "tenant_id": "t-1", "text": "Why?",
        "question_type": "open_text", "operation": "insert", "changed_at": "2024-01-02T08:00:00Z",
    }  # fmt: skip
    home.drop("questions.ndjson", [json.dumps(question)], "survey_questions")
    home.drop("answers.ndjson", [json.dumps(answer)], "survey_answers")
    land(home, "said.ndjson", said(1, event_data={"text": "No school here."}))
    with home.used():
        (hit, other) = Searcher(home.lake).search(Question("school", way="words")).hits
        assert {hit.answer_id, other.answer_id} == {"a-1", None}
        (hit,) = Searcher(home.lake).search(Question("school", surveys=("s-1",), way="words")).hits
    assert (hit.survey_id, hit.question_id, hit.asked, hit.persona_id) == ("s-1", "q4", "Why?", "p-1")
