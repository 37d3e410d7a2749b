"""Interactions with personas and answers to surveys, each once. Not here: what they add up to."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.research.contracts.activity import (
    CLOCKS_DIFFER,
    PersonaInteractions,
    RawPersonaInteractions,
    RawSurveyAnswers,
    SurveyAnswers,
)
from data_platform.domains.research.transforms.each_once import EachOnce, each_once
from data_platform.domains.research.transforms.json_fields import as_words, json_field

ANSWERS = ("choice", "choices", "rating", "text")
OPTIONS = pl.List(pl.String())
LARGEST_RATING = 1e9


def clean_interactions(raw: pl.LazyFrame, days: Sequence[dt.date]) -> EachOnce:
    """Whole days of RawPersonaInteractions → PersonaInteractions, rejected ones, and copies by day."""
    rows = raw.filter(pl.col("interaction_date").is_in(list(days))).collect()
    faults = {
        "ends_before_start": (pl.col("ended_at") < pl.col("started_at")).fill_null(False),
        "ends_in_the_future": (pl.col("ended_at") > pl.col("received_at") + CLOCKS_DIFFER).fill_null(False),
    }
    named = list(PersonaInteractions.primary_key)
    found = each_once(rows, RawPersonaInteractions, named, "started_at", faults)
    return EachOnce(conform(PersonaInteractions, found.clean), found.rejected, found.duplicates)


def clean_answers(raw: pl.LazyFrame, days: Sequence[dt.date]) -> EachOnce:
    """Whole days of RawSurveyAnswers → SurveyAnswers, rejected ones, and copies by day."""
    rows = raw.filter(pl.col("answer_date").is_in(list(days)))
    read = rows.collect()
    answered = read.with_columns(_given(read["answer"]))
    given = pl.sum_horizontal(pl.col(name).is_not_null() for name in ANSWERS)
    faults = {"not_an_answer": given != 1}
    found = each_once(answered, RawSurveyAnswers, list(SurveyAnswers.primary_key), "answered_at", faults)
    clean = found.clean.with_columns(_given(found.clean["answer"]))
    return EachOnce(conform(SurveyAnswers, clean), found.rejected, found.duplicates)


def _given(answers: pl.Series) -> list[pl.Series]:
    """What was answered, by kind; null for the kinds it is not."""
    rating = json_field(answers, "rating").cast(pl.Float64, strict=False)
    return [
        json_field(answers, "choice"),
        _choices(answers),
        # "inf" and "NaN" are numbers to a cast; one of them, or of 1e308, would be the mean of all.
        rating.set(~(rating.abs() <= LARGEST_RATING), None),
        json_field(answers, "text"),
    ]


def _choices(answers: pl.Series) -> pl.Series:
    """Lists of options. Read by Python, each distinct answer once: the engine's parser refuses a whole column for one
    answer whose options are no texts."""
    lists = answers.filter(answers.str.contains('"choices":', literal=True)).unique()
    found = {text: options for text in lists if (options := _options(text)) is not None}
    kept = {"answer": pl.Series([*found], dtype=pl.String), "choices": pl.Series([*found.values()], dtype=OPTIONS)}
    return pl.DataFrame({"answer": answers}).join(pl.DataFrame(kept), on="answer", how="left", maintain_order="left")[
        "choices"
    ]


def _options(answer: str) -> list[str] | None:
    """The options of an answer, numbers and truths as JSON writes them; None where it is not a list of such."""
    try:
        told = json.loads(answer).get("choices")
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, list) or not all(isinstance(one, str | bool | int | float) for one in told):
        return None
    return [as_words(one) for one in told]
