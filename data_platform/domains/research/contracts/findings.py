"""Contracts of what was found: how well focus groups worked and what they cost, and what surveys say. Computed by the
dbt models of the same names. Not here: who is active, how projects do (metrics), what was said of a theme (search)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl

from data_platform.core.contract.table import Personal, Rule, Severity, column
from data_platform.domains.metering.contracts.costs import UsageCosts
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.research.contracts.activity import SurveyAnswers
from data_platform.domains.research.contracts.discussions import DiscussionEvents, Discussions
from data_platform.domains.research.contracts.registry import QUESTION_TYPES, SurveyQuestionChanges
from data_platform.domains.research.contracts.star import Modelled


class DiscussionLlmCosts(Modelled):
    """What language models cost each discussion: one row per UTC day, project, discussion, feature and currency with
    calls. A call that names a project of research is a discussion's that its `tags` name (`discussion_id`, a text);
    else that of the project's discussion one of whose events, from the day before to the day after, has the call's
    `trace_id` as its `correlation_id`. A trace that several discussions share is nobody's."""

    key = "research/discussion_llm_costs"
    partition = "usage_date"
    primary_key = ("usage_date", "tenant_id", "project_id", "discussion_id", "feature", "currency")

    usage_date: dt.date = column("UTC day of the calls.")
    project_id: str = column("The project that the calls name.", min_length=1)
    discussion_id: str = column(
        "The discussion, as the calls name it.",
        min_length=1,
        derived_from=[LlmUsage.tags, LlmUsage.trace_id, DiscussionEvents.correlation_id],
    )
    feature: str = column("What of the product called, for example `focus_group`; empty where calls name none.")
    currency: str = column("ISO 4217 code; empty for calls without a price.")
    calls: int = column("Billed calls.", unit="calls", ge=1, derived_from=[UsageCosts.usage_id])
    unpriced_calls: int = column(
        "Of them those without a price: all or none, as these have no currency.",
        unit="calls",
        ge=0,
        derived_from=[UsageCosts.cost],
    )
    total_tokens: int = column("Tokens that are billed.", unit="tokens", ge=0)
    cost: Decimal | None = column("What they cost, exact; null, never zero, without a price.", decimals=PRICE_DECIMALS)


class FocusGroupEffectiveness(Modelled):
    """How well a discussion worked, and what it cost: one row per discussion; a focus group that met several times has
    several. Words are runs of letters and digits of any script, small letters. Method:

    - lexical diversity: different words / √words (Guiraud's index), over all responses: plain shares of different
      words fall with length;
    - a follow-up is answered where a response names it as its cause, or names none and comes directly after it;
    - disagreement: of the answers to one question, each persona's words as a set: 1 − 2 Σ C(n, 2) / ((k − 1) Σ
      |set|), with n the personas that used a word and k those who answered; sums over all questions that two or more
      answered. 0 where all use the same words, 1 where no two share one. It compares words, not opinions: look at
      what is high."""

    key = "research/focus_group_effectiveness"
    primary_key = ("tenant_id", "discussion_id")

    discussion_id: str = column("The discussion.", min_length=1)
    focus_group_id: str | None = column("The focus group that it was held for.")
    project_id: str = column("Its project.", min_length=1)
    status: str = column("`open`, or `ended`.")
    started_at: dt.datetime | None = column("When it was started (UTC).")
    participants: int = column("Personas who responded.", unit="personas", ge=0)
    questions: int = column("Questions that were asked or answered.", unit="questions", ge=0)
    responses: int = column("Responses.", unit="responses", ge=0)
    responses_per_question: float | None = column(
        "Responses that name a question / questions; null without any.",
        ge=0,
        derived_from=[DiscussionEvents.question_id],
    )
    seconds_per_question: float | None = column(
        "From the first event to the last / questions; null without any.",
        unit="s",
        ge=0,
        derived_from=[Discussions.first_event_at, Discussions.last_event_at, Discussions.questions],
    )
    words_per_response: float | None = column(
        "Mean length of responses; null without any.", unit="words", ge=0, derived_from=[DiscussionEvents.text]
    )
    lexical_diversity: float | None = column(
        "Guiraud's index; null without words.", ge=0, derived_from=[DiscussionEvents.text]
    )
    followups: int = column("Follow-up questions.", unit="events", ge=0)
    answered_followups: int = column(
        "Of them those that were answered.", unit="events", ge=0, derived_from=[DiscussionEvents.causation_id]
    )
    followups_answered: float | None = column(
        "Share of follow-ups that were answered; null without any.",
        ge=0,
        le=1,
        derived_from=[DiscussionEvents.causation_id],
    )
    disagreement: float | None = column(
        "See above; null where no question was answered by two.",
        ge=0,
        le=1,
        derived_from=[DiscussionEvents.text, DiscussionEvents.persona_id, DiscussionEvents.question_id],
    )
    llm_calls: int = column(
        "Billed calls of language models for it, of its own project (`research/discussion_llm_costs`).",
        unit="calls",
        ge=0,
        derived_from=[DiscussionLlmCosts.calls],
    )
    unpriced_llm_calls: int = column(
        "Of them those without a price.", unit="calls", ge=0, derived_from=[DiscussionLlmCosts.unpriced_calls]
    )
    llm_cost: Decimal | None = column(
        "What they cost, exact; null, never zero, without calls, where one has no price, and in several currencies.",
        decimals=PRICE_DECIMALS,
        derived_from=[DiscussionLlmCosts.cost],
    )
    llm_currency: str | None = column(
        "ISO 4217 code of `llm_cost`; null where that is.", derived_from=[DiscussionLlmCosts.currency]
    )


class SurveyResults(Modelled):
    """What surveys say: one row per question, type of answer and value; of several answers of a respondent to a
    question the last counts. Options and points of the scale that nobody chose have a row too.

    Shares are of the respondents who answered (of a multiple choice they add up to more than 1), with Wilson's 95 %
    interval; a mean has Student's. Intervals are of who was asked, personas or people: they say nothing of a
    population that these were not drawn from. Open text has one row with the number of answers and words; what it says
    is in clean/survey_answers, and searched in research/embeddings by the same survey and question."""

    key = "research/survey_results"
    primary_key = ("tenant_id", "survey_id", "question_id", "question_type", "value")
    row_rules = (
        Rule(
            "answered_as_asked",
            "answers are of the type that the question has",
            pl.col("asked_as") == pl.col("question_type"),
            Severity.WARNING,
        ),
        # A 50 where 1 to 5 was asked for moves the mean, and whoever reads it has to know.
        Rule(
            "answers_were_offered",
            "nobody answered with an option or a rating that the question does not have",
            pl.col("offered") | (pl.col("answers") == 0),
            Severity.WARNING,
        ),
    )

    survey_id: str = column("The survey.", min_length=1)
    question_id: str = column("The question, unique within the survey.", min_length=1)
    project_id: str = column("The survey's project.", min_length=1)
    position: int | None = column("The question's place in the survey; null where the question is not known.")
    question_type: str = column(
        "What kind of answers these are.",
        isin=QUESTION_TYPES,
        derived_from=[SurveyAnswers.choice, SurveyAnswers.choices, SurveyAnswers.rating, SurveyAnswers.text],
    )
    asked_as: str | None = column(
        "The type that the question has; null where the question is not known.",
        derived_from=[SurveyQuestionChanges.question_type],
    )
    value: str = column(
        "The option, or the rating; empty for open text.",
        personal=Personal.CONTENT,
        derived_from=[SurveyAnswers.choice, SurveyAnswers.choices, SurveyAnswers.rating, SurveyQuestionChanges.options],
    )
    place: int | None = column(
        "The option's place among the question's options; null for others.",
        derived_from=[SurveyQuestionChanges.options],
    )
    offered: bool | None = column(
        "Whether the question has this option, or its scale this rating, as it is asked now; null where that is not "
        "known. What was not offered counts all the same.",
        derived_from=[
            SurveyQuestionChanges.options, SurveyQuestionChanges.scale_min, SurveyQuestionChanges.scale_max,
        ],
    )  # fmt: skip
    respondents: int = column(
        "Who answered the question in this way.",
        unit="respondents",
        ge=0,
        derived_from=[SurveyAnswers.respondent_id],
    )
    answers: int = column(
        "Of them those who gave this value.", unit="respondents", ge=0, derived_from=[SurveyAnswers.respondent_id]
    )
    share: float | None = column("answers / respondents.", ge=0, le=1, derived_from=[SurveyAnswers.respondent_id])
    share_low: float | None = column("Lower end of its interval.", ge=0, le=1)
    share_high: float | None = column("Upper end of its interval.", ge=0, le=1)
    mean: float | None = column(
        "Of ratings: their mean, on each row of the question.", derived_from=[SurveyAnswers.rating]
    )
    mean_low: float | None = column("Lower end of its interval; null for less than two answers.")
    mean_high: float | None = column("Upper end of its interval.")
    words: int | None = column("Of open text: words in all.", unit="words", ge=0, derived_from=[SurveyAnswers.text])
