"""A question to the texts of research, and what answers it: by meaning and by words, each hit with its place in the
discussion or survey. Not here: the index (index, corpus), who may ask (endpoints)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.moments import in_utc
from data_platform.core.settings import settings
from data_platform.core.text import VISIBLE
from data_platform.domains.research.contracts.search import KINDS
from data_platform.domains.research.search.corpus import Corpus
from data_platform.domains.research.search.index import TenantIndex, chosen, space_of
from data_platform.domains.research.search.models import ModelFails, Vectors
from data_platform.domains.research.search.nearest import Ranked, fused

WAYS = ("hybrid", "meaning", "words")
MOST_HITS = 100
LONGEST_QUERY = 2_000
"""Characters: about the 512 tokens that a model reads."""
SAID = ("event", "answer", "persona")
"""What is searched unless kinds are named: a concept is a word or three, and would stand before who said it, as would
a question before its answers."""
DEPTH = 100
"""Texts that each way of finding proposes at least."""


@dataclass(frozen=True)
class Question:
    """What is looked for, and among which texts. Raises PlatformError for what cannot be asked."""

    query: str
    top: int = 10
    projects: tuple[str, ...] = ()
    """One of these; all where none is named."""
    personas: tuple[str, ...] = ()
    discussions: tuple[str, ...] = ()
    surveys: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """Of contracts/search.KINDS; SAID where none is named."""
    since: dt.datetime | None = None
    """Said at this moment or later (UTC where it names no zone) …"""
    until: dt.datetime | None = None
    """… and before this one."""
    way: str = "hybrid"

    def __post_init__(self) -> None:
        if not pl.select(pl.lit(self.query).str.contains(VISIBLE)).item():
            raise PlatformError("The query says nothing.", "Write what to look for.")
        if len(self.query) > LONGEST_QUERY:
            raise PlatformError(f"The query has more than {LONGEST_QUERY:,} characters.", "Write a shorter one.")
        if not 1 <= self.top <= MOST_HITS:
            raise PlatformError(f"{self.top} hits cannot be asked for.", f"Write a number from 1 to {MOST_HITS}.")
        for what, given, known in (("kind of text", self.kinds, KINDS), ("way to search", (self.way,), WAYS)):
            for one in given:
                if one not in known:
                    raise PlatformError(f"There is no {what} {one!r}.", f"There are {', '.join(known)}.")

    def conditions(self) -> list[pl.Expr]:
        named = {
            "project_id": self.projects,
            "persona_id": self.personas,
            "discussion_id": self.discussions,
            "survey_id": self.surveys,
            "text_kind": self.kinds or SAID,
        }
        found = [pl.col(name).is_in(list(values)) for name, values in named.items() if values]
        found += [pl.col("said_at") >= in_utc(self.since)] if self.since else []
        return found + ([pl.col("said_at") < in_utc(self.until)] if self.until else [])


@dataclass(frozen=True)
class Hit:
    """A text that answers, with its place: what it is part of, and what was said before and after."""

    tenant_id: str
    text_kind: str
    text: str
    project_id: str | None
    persona_id: str | None
    user_id: str | None
    discussion_id: str | None
    sequence: int | None
    event_type: str | None
    question_id: str | None
    survey_id: str | None
    answer_id: str | None
    said_at: dt.datetime
    score: float
    """What it counts in the order of this answer; compares with no other answer's."""
    similarity: float | None
    """Cosine to the query; null where it was not found by its meaning."""
    words: float | None
    """BM25; null where it was not found by its words."""
    before: dict[str, Any] | None
    """The event before it that has a text: sequence, event_type, persona_id, text."""
    after: dict[str, Any] | None
    asked: str | None
    """Of an answer: the question, as it is worded now; null where that is not known."""


@dataclass(frozen=True)
class Found:
    """What answers a question, the best first."""

    hits: list[Hit]
    version: int | None
    """Of research/embeddings."""
    way: str
    note: str | None = None
    """What the order could not heed."""


@dataclass
class Searcher:
    """Answers questions from one lake. Keep it: the index is made with the first question."""

    lake: Lake
    approximate_above: int | None = None
    corpus: Corpus = field(init=False)

    def __post_init__(self) -> None:
        self.corpus = Corpus(self.lake, settings(), self.approximate_above)

    def search(self, question: Question, tenants: Collection[str] | None = None) -> Found:
        """Look through the texts of these tenants (None: of all), by words where the model fails. Raises PlatformError
        where there are no texts."""
        model, missing = self.corpus.model()
        index = self.corpus.index(model)
        if index.version is None:
            raise PlatformError("There are no texts to search.", "Run `data-platform build research/embeddings`.")
        if question.way == "words":
            return Found(answered(question, chosen(index, tenants), None, "words"), index.version, "words")
        vector = None
        if model and space_of(model) == index.space:
            try:
                vector = model.query(question.query)
            except ModelFails as fails:
                self.corpus.give_up(fails)
                missing = fails
        way = "words" if vector is None else question.way
        note = _note(missing, way, index.texts - index.vectors)
        return Found(answered(question, chosen(index, tenants), vector, way), index.version, way, note)


def _note(missing: PlatformError | None, way: str, without_vector: int) -> str | None:
    """What somebody who asked for meaning has to know."""
    if missing is not None:
        return f"Found by words alone. {missing}"
    if way == "words":
        return "Found by words alone. The vectors of another model are being read. Ask again in a minute."
    if without_vector:
        return (
            f"{without_vector:,} texts have no vector of the model that is configured and are found by their words "
            "alone: `data-platform build research/embeddings --from DAY --to DAY` makes them."
        )
    return None


def search(lake: Lake, query: str, *, tenants: Collection[str] | None = None, **more: Any) -> list[Hit]:
    """The hits of one question (further arguments: `Question`). For many questions keep a Searcher."""
    return Searcher(lake).search(Question(query, **more), tenants).hits


def answered(question: Question, tenants: dict[str, TenantIndex], vector: Vectors | None, way: str) -> list[Hit]:
    """The hits among these texts; `vector` is that of the query, None to look for its words alone."""
    depth = max(DEPTH, question.top)
    conditions = question.conditions()
    parts = list(tenants.values())
    by_meaning, by_words, start = [], [], 0
    for part in parts:
        allowed = part.allowed(conditions)
        if vector is not None:
            by_meaning.append(_moved(part.by_meaning(vector, depth, allowed), start))
        if way != "meaning":
            by_words.append(_moved(part.by_words(question.query, depth, allowed), start))
        start += len(part.rows)
    lists = [_together(found, depth) for found in (by_meaning, by_words)]
    places, scores = fused(lists, question.top)
    similarity, words = (dict(zip(one.places.tolist(), one.scores.tolist(), strict=True)) for one in lists)
    located = zip(places.tolist(), scores.tolist(), _located(parts, places.tolist()), strict=True)
    return [_hit(*at, score, similarity.get(place), words.get(place)) for place, score, at in located]


def _moved(ranked: Ranked, by: int) -> Ranked:
    return Ranked(ranked.places + by, ranked.scores)


def _together(parts: list[Ranked], count: int) -> Ranked:
    """Ranks over several tenants by one kind of score."""
    places = np.concatenate([np.empty(0, np.int64), *(part.places for part in parts)])
    scores = np.concatenate([np.empty(0, np.float32), *(part.scores for part in parts)])
    order = np.lexsort((places, -scores))[:count]
    return Ranked(places[order], scores[order])


def _located(parts: list[TenantIndex], places: list[int]) -> Iterator[tuple[TenantIndex, int]]:
    """The tenant's texts that each place is in, and where."""
    for place in places:
        for part in parts:
            if place < len(part.rows):
                yield part, place
                break
            place -= len(part.rows)


def _hit(texts: TenantIndex, place: int, score: float, similarity: float | None, words: float | None) -> Hit:
    row = texts.rows.row(place, named=True)
    told = {name: row[name] for name in Hit.__dataclass_fields__ if name in row}
    before, after = (_neighbour(texts.rows, row, place + step) for step in (-1, 1))
    question = row["project_id"], row["survey_id"], row["question_id"]
    asked = texts.asked.get(question) if row["answer_id"] is not None else None
    return Hit(**told, score=score, similarity=similarity, words=words, before=before, after=after, asked=asked)


def _neighbour(rows: pl.DataFrame, row: dict[str, Any], place: int) -> dict[str, Any] | None:
    """What is next to a row in its discussion, and of its project; rows are in the order of what was said."""
    if row["discussion_id"] is None or not 0 <= place < len(rows):
        return None
    other = rows.row(place, named=True)
    if (other["project_id"], other["discussion_id"]) != (row["project_id"], row["discussion_id"]):
        return None
    return {name: other[name] for name in ("sequence", "event_type", "persona_id", "text")}
