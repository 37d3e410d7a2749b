"""Interactions with personas and answers to surveys, each once. Not here: what they add up to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.research.contracts.activity import (
    PersonaInteractions,
    RawPersonaInteractions,
    RawSurveyAnswers,
    SurveyAnswers,
)
from data_platform.domains.research.transforms.each_once import EachOnce, each_once

CLOCKS_DIFFER = dt.timedelta(minutes=10)
"""As far ahead as the clock of whoever records may be."""
ANSWERS = ("choice", "choices", "rating", "text")


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
    answered = rows.with_columns(_answers()).collect()
    given = pl.sum_horizontal(pl.col(name).is_not_null() for name in ANSWERS)
    faults = {"not_an_answer": given != 1}
    found = each_once(answered, RawSurveyAnswers, list(SurveyAnswers.primary_key), "answered_at", faults)
    return EachOnce(conform(SurveyAnswers, found.clean.with_columns(_answers())), found.rejected, found.duplicates)


def _answers() -> list[pl.Expr]:
    """What was answered, by kind; null for the kinds it is not, and for an empty text."""
    answer = pl.col("answer")
    choices = answer.str.json_path_match("$.choices")
    return [
        answer.str.json_path_match("$.choice").alias("choice"),
        pl.when(choices.str.starts_with("[")).then(choices).str.json_decode(pl.List(pl.String)).alias("choices"),
        answer.str.json_path_match("$.rating").cast(pl.Float64, strict=False).alias("rating"),
        answer.str.json_path_match("$.text").alias("text"),
    ]
