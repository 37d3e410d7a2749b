"""Contract of what research can be searched by: texts and their vectors, wherever the texts come from.
Not here: how texts are embedded or found (search)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.published import Published
from data_platform.core.contract.table import HalfVector, Personal, Rule, Severity, column
from data_platform.domains.research.contracts.activity import SurveyAnswers
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.contracts.registry import OfTenant, PersonaChanges, SurveyQuestionChanges

KINDS = ("event", "answer", "persona", "concept", "question")
FEWEST_PERSONAS = 2
"""Personas who speak of a concept on a day, for it to be a text of its own: what one alone said is a text already."""
LONGEST_TEXT = 20_000
"""Characters of a text that are kept here, and found by their words; its own table has all of them."""
TEXTS = [
    DiscussionEvents.text,
    SurveyAnswers.text,
    SurveyQuestionChanges.text,
    PersonaChanges.background,
    PersonaChanges.demographics,
]
"""What the texts are made of."""


class Embeddings(OfTenant):
    """Texts that can be searched, each with its vector: what was said in discussions, what was answered to open
    questions of surveys and what these are, who personas are, and the concepts that several of them spoke of. A persona
    and a question have a row for every day they changed on, a concept for every day it was spoken of; of these the
    newest counts. Vectors of one model and version compare with each other and with no others. A text that its own
    table no longer has is gone from here, and its vector too, when the day is computed again."""

    key = "research/embeddings"
    partition = "text_date"
    within_tenant = "project_id"
    primary_key = ("text_date", "tenant_id", "text_kind", "text_id")
    profiled = False
    only_changed = True
    # Who reads `analytics` reads what was said: without the words a neighbour says nothing.
    published = Published(indexes=(("tenant_id", "project_id"),), personal=("text", "vector"))
    row_rules = (
        Rule(
            "has_a_vector",
            "every text has a vector (the extra `search` is installed, or an endpoint is configured)",
            pl.col("is_removed") | pl.col("vector").is_not_null(),
            Severity.INFO,
        ),
    )

    text_date: dt.date = column(
        "UTC day that the text was said or answered, the persona or question changed, or the concept was spoken of.",
        derived_from=[
            DiscussionEvents.event_date,
            SurveyAnswers.answer_date,
            PersonaChanges.change_date,
            SurveyQuestionChanges.change_date,
        ],
    )
    text_kind: str = column("What the text is of.", isin=KINDS)
    text_id: str = column(
        "`DISCUSSION#SEQUENCE` of an event, the id of an answer or a persona, `PROJECT#CONCEPT`, or `SURVEY#QUESTION` "
        "with `%23` for a # of the survey's id and `%25` for a %.",
        min_length=1,
        derived_from=[
            DiscussionEvents.discussion_id,
            DiscussionEvents.sequence,
            SurveyAnswers.answer_id,
            PersonaChanges.persona_id,
            SurveyQuestionChanges.question_id,
        ],
    )
    project_id: str | None = column("Its project; null for a persona that serves several.")
    persona_id: str | None = column("The persona who said or answered it, was asked, or is described.")
    user_id: str | None = column(
        "The person who said or answered it, if one did.",
        personal=Personal.PSEUDONYM,
        derived_from=[DiscussionEvents.user_id, SurveyAnswers.respondent_id],
    )
    discussion_id: str | None = column("Of an event: its discussion.")
    sequence: int | None = column("Of an event: its place in the discussion.")
    event_type: str | None = column("Of an event: what happened.")
    question_id: str | None = column(
        "Of an event: question of the guide that is asked or answered; of an answer: the survey's question."
    )
    survey_id: str | None = column("Of an answer and of a question: the survey.")
    answer_id: str | None = column("Of an answer: its id.")
    said_at: dt.datetime = column(
        "When it was said, answered, or changed (UTC); of a concept the day.",
        derived_from=[DiscussionEvents.occurred_at, SurveyAnswers.answered_at, PersonaChanges.changed_at],
    )
    is_removed: bool = column("True where the persona or question was deleted: it has no text from then on.")
    text: str = column(
        f"The text, up to {LONGEST_TEXT:,} characters; empty where it was removed.",
        personal=Personal.CONTENT,
        derived_from=TEXTS,
    )
    text_digest: str = column(
        "Digest of what a model is shown of the text: the same is embedded once. Of a persona it is shown all but the "
        "name, which is invented: namesakes are not alike for it.",
        min_length=32,
    )
    model: str | None = column("Model that made the vector; null without a vector.")
    model_version: str | None = column("Its version.")
    dimensions: int | None = column("Numbers in the vector.", ge=1)
    vector: HalfVector | None = column(
        "The vector, of length 1: `dimensions` numbers of 16 bits each, IEEE 754 half precision, little-endian.",
        personal=Personal.CONTENT,
        derived_from=TEXTS,
    )
