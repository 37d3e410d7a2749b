"""The texts that research is searched by, from what was said and answered, who personas are and what they speak of.
Not here: vectors (search), which table the texts are kept in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS
from data_platform.core.text import says_something
from data_platform.domains.research.contracts.search import FEWEST_PERSONAS, LONGEST_TEXT, Embeddings

OF_VECTORS = ("model", "model_version", "dimensions", "vector")
"""Columns of Embeddings that say nothing of the text."""
TEXT_COLUMNS = {name: dtype for name, dtype in Embeddings.schema().items() if name not in OF_VECTORS} | {
    "shown": pl.String()
}
DESCRIBED = ("name", "segment", "background", "personal_values", "demographics")
DELETED = "delete"
SHORTEST_NAME = 2
"""Letters of a name that is looked for in a background: one letter may be anything."""


def search_texts(
    events: pl.LazyFrame,
    personas: pl.LazyFrame,
    mentions: pl.LazyFrame,
    answers: pl.LazyFrame,
    questions: pl.LazyFrame,
) -> pl.DataFrame:
    """Whole days of DiscussionEvents, PersonaChanges, Mentions, SurveyAnswers and SurveyQuestionChanges → Embeddings
    without the columns of vectors, and `shown`: what a model is shown of each text.

    One row per event and open answer that says something, per persona and question of a survey that changed on a day,
    as it was at the day's end, and per concept that several personas of a project spoke of on a day.
    """
    of_each = (
        _of_events(events), _of_personas(personas), _of_concepts(mentions), _of_answers(answers),
        _of_questions(questions),
    )  # fmt: skip
    shown = pl.coalesce("shown", "text").str.slice(0, LONGEST_TEXT)
    found = pl.concat(of_each).with_columns(shown, pl.col("text").str.slice(0, LONGEST_TEXT))
    digests = pl.Series("text_digest", map(digest, found["shown"]), dtype=pl.String)
    return found.with_columns(digests).select(pl.col(name).cast(kind) for name, kind in TEXT_COLUMNS.items())


def digest(text: str) -> str:
    """32 hexadecimal digits that stand for a text."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _of_events(events: pl.LazyFrame) -> pl.DataFrame:
    return _completed(
        events.filter(says_something("text")).select(
            "tenant_id", "project_id", "persona_id", "user_id", "discussion_id", "sequence", "event_type",
            "question_id", "text",
            text_date="event_date",
            text_kind=pl.lit("event"),
            text_id=pl.concat_str("discussion_id", pl.lit("#"), pl.col("sequence").cast(pl.String)),
            said_at="occurred_at",
            is_removed=pl.lit(False),
        )
    )  # fmt: skip


def _of_answers(answers: pl.LazyFrame) -> pl.DataFrame:
    """Of those who are no personas, the respondent is the person."""
    return _completed(
        answers.filter(says_something("text")).select(
            "tenant_id", "project_id", "persona_id", "survey_id", "question_id", "answer_id", "text",
            user_id=pl.when(pl.col("persona_id").is_null()).then("respondent_id"),
            text_date="answer_date",
            text_kind=pl.lit("answer"),
            text_id="answer_id",
            said_at="answered_at",
            is_removed=pl.lit(False),
        )
    )  # fmt: skip


def _of_questions(questions: pl.LazyFrame) -> pl.DataFrame:
    survey = pl.col("survey_id")
    for plain, written in (("%", "%25"), ("#", "%23")):
        survey = survey.str.replace_all(plain, written, literal=True)
    last = _last_of_each_day(questions, "survey_id", "question_id").select(
        "tenant_id", "project_id", "survey_id", "question_id",
        text_date="change_date",
        text_kind=pl.lit("question"),
        text_id=pl.concat_str(survey, pl.lit("#"), "question_id"),
        said_at="changed_at",
        is_removed=pl.col("operation") == DELETED,
        text=pl.when(pl.col("operation") != DELETED).then("text").fill_null(""),
    )  # fmt: skip
    return _completed(last.filter(pl.col("is_removed") | says_something("text")))


def _last_of_each_day(changes: pl.LazyFrame, *of: str) -> pl.LazyFrame:
    """The last change of a day, of each that these columns tell apart within a tenant."""
    keys = ["change_date", "tenant_id", *of]
    return changes.sort("changed_at").unique(keys, keep="last", maintain_order=True)


def _of_personas(personas: pl.LazyFrame) -> pl.DataFrame:
    last = (
        _last_of_each_day(personas, "persona_id")
        .select(
            "tenant_id", "project_id", "persona_id", *DESCRIBED,
            text_date="change_date",
            text_kind=pl.lit("persona"),
            text_id="persona_id",
            said_at="changed_at",
            is_removed=pl.col("operation") == DELETED,
        )
        .collect()
    )  # fmt: skip
    rows = last.rows(named=True)
    texts = ["" if row["is_removed"] else description(row) for row in rows]
    shown = ["" if row["is_removed"] else description(_nameless(row)) or None for row in rows]
    described = last.drop(*DESCRIBED).with_columns(
        text=pl.Series(texts, dtype=pl.String), shown=pl.Series(shown, dtype=pl.String)
    )
    return _completed(described.lazy()).filter(pl.col("is_removed") | says_something("text"))


def _of_concepts(mentions: pl.LazyFrame) -> pl.DataFrame:
    spoken_of = mentions.group_by("mention_date", "tenant_id", "project_id", "concept").agg(
        personas=pl.col("persona_id").n_unique()
    )
    return _completed(
        spoken_of.filter(pl.col("personas") >= FEWEST_PERSONAS).select(
            "tenant_id", "project_id",
            text="concept",
            text_date="mention_date",
            text_kind=pl.lit("concept"),
            text_id=pl.concat_str("project_id", pl.lit("#"), "concept"),
            said_at=pl.col("mention_date").cast(UTC_MICROSECONDS),
            is_removed=pl.lit(False),
        )
    )  # fmt: skip


def _completed(rows: pl.LazyFrame) -> pl.DataFrame:
    """With every column of a text; null where the rows have none."""
    known = rows.collect_schema().names()
    missing = [pl.lit(None, kind).alias(name) for name, kind in TEXT_COLUMNS.items() if name not in known]
    return rows.with_columns(missing).select(*TEXT_COLUMNS).collect()


def description(persona: Mapping[str, Any]) -> str:
    """A persona in words: "Ana B., Gamers. Her story. honesty, family. age 34, gender female."."""
    named = ", ".join(text for name in ("name", "segment") if (text := persona[name]))
    values = ", ".join(_words(persona["personal_values"], with_numbers=False))
    traits = ", ".join(_words(persona["demographics"], with_numbers=True))
    parts = (named, persona["background"], values, traits)
    return ". ".join(part.strip().rstrip(".") for part in parts if part and part.strip())


def _nameless(persona: Mapping[str, Any]) -> Mapping[str, Any]:
    """The persona as a model is shown it: a name is invented, and namesakes would be alike for it."""
    name = (persona["name"] or "").strip()
    names = {one for one in (name, name.split(" ")[0]) if len(one) >= SHORTEST_NAME}
    if not names:
        return {**persona, "name": None}
    said = "|".join(re.escape(one) for one in sorted(names, key=len, reverse=True))
    background = re.sub(rf"(?<!\w)(?:{said})(?!\w)", "", persona["background"] or "")
    return {**persona, "name": None, "background": " ".join(background.split())}


def _words(json_object: str | None, with_numbers: bool) -> Iterator[str]:
    """ "attribute value" of each; a weight is no word of what matters to somebody."""
    try:
        found = json.loads(json_object or "{}")
    except (ValueError, RecursionError):
        return
    for name, value in found.items() if isinstance(found, dict) else ():
        is_weight = isinstance(value, bool | int | float) and not with_numbers
        told = name if is_weight or value is None else f"{name} {_flat(value)}"
        yield told.encode("utf-8", "replace").decode()


def _flat(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
