"""Contracts of what is done with personas: interactions, and answers to surveys; as received, rejected, and clean.
Not here: discussions, which are streams of events of their own."""

from __future__ import annotations

import datetime as dt

from data_platform.core.contract.received import ReceivedLines, RejectedLines, RejectedRows
from data_platform.core.contract.table import JsonObject, Personal, column, within
from data_platform.domains.research.contracts.registry import (
    LINE_KEY,
    OWNER,
    OfTenant,
    RawPersonaChanges,
    RawResearchProjectChanges,
    RawResearchUserChanges,
    RawSurveyChanges,
)

INTERACTION_TYPES = ("created", "edited", "discussed", "surveyed")
DAILY = within(hours=26, warn=dt.timedelta(hours=3))
CLOCKS_DIFFER = dt.timedelta(minutes=10)
"""As far ahead as the clock of whoever records may be; ingestion takes in no line that is farther."""


class InteractionFields(OfTenant):
    """Somebody did something with a persona."""

    interaction_id: str = column("The application's id of the interaction; a retry has the same.", min_length=1)
    interaction_type: str = column("What was done.", isin=INTERACTION_TYPES)
    persona_id: str = column("With which persona.", min_length=1, references=RawPersonaChanges.persona_id)
    user_id: str = column(
        "Who did it.", personal=Personal.PSEUDONYM, min_length=1, references=RawResearchUserChanges.user_id
    )
    project_id: str = column("In which project.", min_length=1, references=RawResearchProjectChanges.project_id)
    discussion_id: str | None = column("Of `discussed`: the discussion.")
    survey_id: str | None = column("Of `surveyed`: the survey.")
    started_at: dt.datetime = column("When it began (UTC).")
    ended_at: dt.datetime | None = column("When it ended (UTC); null while it goes on.")


class AnswerFields(OfTenant):
    """Who answered which question when."""

    answer_id: str = column("The application's id of the answer; a retry has the same.", min_length=1)
    survey_id: str = column("The survey.", min_length=1, references=RawSurveyChanges.survey_id)
    question_id: str = column("The question, unique within the survey.", min_length=1)
    project_id: str = column("The survey's project.", min_length=1, references=RawResearchProjectChanges.project_id)
    persona_id: str | None = column(
        "The persona who answered; null where a person did.", references=RawPersonaChanges.persona_id
    )
    respondent_id: str = column(
        "Who answered: the persona's id, or the pseudonym of a person.", personal=Personal.PSEUDONYM, min_length=1
    )
    answered_at: dt.datetime = column("When it was answered (UTC).")


class RawPersonaInteractions(InteractionFields, ReceivedLines):
    """Interactions with personas as received, duplicates included."""

    key = "raw/persona_interactions"
    partition = "interaction_date"
    primary_key = ("interaction_date", *LINE_KEY)
    fresh = DAILY

    interaction_date: dt.date = column("UTC day of `started_at`.")


class RawPersonaInteractionsRejected(RejectedLines):
    """Lines of interaction files that cannot be interactions."""

    key = "raw/persona_interactions_rejected"
    owner = OWNER


class PersonaInteractions(InteractionFields):
    """Interactions with personas, each once. Of several with one id on a day the earliest counts."""

    key = "clean/persona_interactions"
    partition = "interaction_date"
    primary_key = ("interaction_date", "tenant_id", "interaction_id")
    fresh = DAILY

    interaction_date: dt.date = column("UTC day of `started_at`.")


class PersonaInteractionsRejected(RejectedRows):
    """Received interactions that are not clean: ended before they began, or after they were received; an id used for
    another one that day."""

    key = "clean/persona_interactions_rejected"
    owner = OWNER

    event_date: dt.date = column(
        "Day of the row, as in the raw table.", derived_from=[RawPersonaInteractions.interaction_date]
    )


class RawSurveyAnswers(AnswerFields, ReceivedLines):
    """Answers to surveys as received, duplicates included. `answer` holds `choice`, `choices`, `rating` or `text`."""

    key = "raw/survey_answers"
    partition = "answer_date"
    primary_key = ("answer_date", *LINE_KEY)

    answer_date: dt.date = column("UTC day of `answered_at`; what was answered before the first day is filed under it.")
    answer: JsonObject = column(
        'What was answered: `{"choice": "yes"}`, `{"choices": ["a", "b"]}`, `{"rating": 4}` or `{"text": "…"}`.',
        personal=Personal.CONTENT,
    )


class RawSurveyAnswersRejected(RejectedLines):
    """Lines of answer files that cannot be answers."""

    key = "raw/survey_answers_rejected"
    owner = OWNER


class SurveyAnswers(AnswerFields):
    """Answers to surveys, each once, with what was answered in columns: exactly one of the four is not null."""

    key = "clean/survey_answers"
    partition = "answer_date"
    primary_key = ("answer_date", "tenant_id", "answer_id")

    answer_date: dt.date = column("UTC day of `answered_at`; what was answered before the first day is filed under it.")
    choice: str | None = column(
        "Of a single choice: the option.", personal=Personal.CONTENT, derived_from=[RawSurveyAnswers.answer]
    )
    choices: list[str] | None = column(
        "Of a multiple choice: the options, in the order given.",
        personal=Personal.CONTENT,
        derived_from=[RawSurveyAnswers.answer],
    )
    rating: float | None = column("Of a rating scale: the number.", derived_from=[RawSurveyAnswers.answer])
    text: str | None = column(
        "Of an open question: the words.", personal=Personal.CONTENT, derived_from=[RawSurveyAnswers.answer]
    )


class SurveyAnswersRejected(RejectedRows):
    """Received answers that are not clean: `answer` is none of the four (nor is a rating beyond a billion, or an option
    that is no text, number or truth), or an id was used for another answer."""

    key = "clean/survey_answers_rejected"
    owner = OWNER

    event_date: dt.date = column("Day of the row, as in the raw table.", derived_from=[RawSurveyAnswers.answer_date])
