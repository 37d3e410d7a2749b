"""Texts of research to be searched, and stand-ins for models. Not here: any assertion."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.publication import Publication
from data_platform.domains.research.contracts.activity import SurveyAnswers
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.contracts.graph import Mentions
from data_platform.domains.research.contracts.registry import PersonaChanges, SurveyQuestionChanges
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.search.embedding import with_vectors
from data_platform.domains.research.search.models import EmbeddingModel, Vectors
from data_platform.domains.research.transforms.search_texts import search_texts
from data_platform_tests.support.research_rows import NOON, Row, frame


class CountingModel:
    """A text's vector is made of its bytes alone; remembers what it was asked."""

    dimensions = 32

    def __init__(self, name: str = "counting", version: str = "1") -> None:
        self.name, self.version = name, version
        self.asked: list[str] = []

    def passages(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return np.stack([self.query(text) for text in texts])

    def query(self, text: str) -> Vectors:
        made = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(self.dimensions).astype(np.float32)
        found: Vectors = made / np.linalg.norm(made)
        return found


def spoken(text: str | None, sequence: int = 1, **changes: object) -> Row:
    """A row of DiscussionEvents: a response of p-1 in discussion d-1 of t-1."""
    at = NOON + dt.timedelta(minutes=sequence)
    made: Row = {
        "event_date": at.date(), "tenant_id": "t-1", "discussion_id": "d-1", "sequence": sequence,
        "event_id": f"e-{sequence}", "event_type": "response", "event_version": 2, "occurred_at": at,
        "project_id": "project-1", "persona_id": "p-1", "event_data": "{}", "text": text,
    }  # fmt: skip
    made |= changes
    return made | {"event_date": made["occurred_at"].date()}


def changed(persona_id: str = "p-1", **changes: object) -> Row:
    """A row of PersonaChanges of t-1."""
    made: Row = {
        "tenant_id": "t-1", "persona_id": persona_id, "project_id": "project-1", "operation": "insert",
        "changed_at": NOON, "name": "Ana B.", "segment": "Gamers", "background": "She repairs old clocks.",
        "demographics": '{"gender":"female","age":34}', "personal_values": '{"honesty":0.9}',
    }  # fmt: skip
    made |= changes
    return made | {"change_date": made["changed_at"].date()}


def open_answer(text: str | None, answer_id: str = "a-1", **changes: object) -> Row:
    """A row of SurveyAnswers: what p-1 of t-1 wrote to question q4 of survey s-1."""
    made: Row = {
        "tenant_id": "t-1", "answer_id": answer_id, "survey_id": "s-1", "question_id": "q4", "project_id": "project-1",
        "persona_id": "p-1", "respondent_id": "p-1", "answered_at": NOON, "text": text,
    }  # fmt: skip
    made |= changes
    return made | {"answer_date": made["answered_at"].date()}


def question(text: str | None = "Why?", **changes: object) -> Row:
    """A row of SurveyQuestionChanges: question q4 of survey s-1 of t-1."""
    made: Row = {
        "tenant_id": "t-1", "survey_id": "s-1", "question_id": "q4", "project_id": "project-1", "operation": "insert",
        "changed_at": NOON, "question_type": "open_text", "text": text,
    }  # fmt: skip
    made |= changes
    return made | {"change_date": made["changed_at"].date()}


def texts_of(
    events: Iterable[Row] = (),
    personas: Iterable[Row] = (),
    mentions: Iterable[Row] = (),
    answers: Iterable[Row] = (),
    questions: Iterable[Row] = (),
) -> pl.DataFrame:
    given = (
        (DiscussionEvents, events), (PersonaChanges, personas), (Mentions, mentions), (SurveyAnswers, answers),
        (SurveyQuestionChanges, questions),
    )  # fmt: skip
    return search_texts(*(frame(table, rows).lazy() for table, rows in given))


def embedded(texts: pl.DataFrame, model: EmbeddingModel | None) -> pl.DataFrame:
    """Rows of Embeddings, every vector made anew."""
    return with_vectors(texts, model, pl.DataFrame(schema={"text_digest": pl.String(), "vector": pl.Binary()}))


def publish(lake: Lake, rows: pl.DataFrame) -> None:
    """As the step does, judged by the contract."""
    days = sorted(rows["text_date"].unique())
    publication = Publication(Embeddings)
    publication.publish(lake, [rows], days, "test", [])
    assert not publication.verdicts.blocked()
