"""What focus groups and surveys come to, by hand: crafted ones, and two real surveys whose counts are known.
Not here: personas and projects (test_research_star)."""

from __future__ import annotations

import csv
import datetime as dt
import math
import statistics
from collections import Counter
from typing import Any

import polars as pl
import pytest

from data_platform.core.quality.validation import judge
from data_platform.domains.research.contracts.activity import RawSurveyAnswers, SurveyAnswers
from data_platform.domains.research.contracts.discussions import DiscussionEvents, Discussions
from data_platform.domains.research.contracts.findings import FocusGroupEffectiveness, SurveyResults
from data_platform.domains.research.contracts.registry import SurveyQuestionChanges
from data_platform.domains.research.sources import SURVEY_ANSWERS
from data_platform.domains.research.transforms.activity import clean_answers
from data_platform.domains.research.transforms.discussions import discussion_states
from data_platform.sources.files.foreign_files import FileFormat
from data_platform.sources.files.mapping import map_file
from data_platform_tests.support.homes import Home
from data_platform_tests.support.research_rows import NOON, frame
from data_platform_tests.support.research_sql import computed
from data_platform_tests.support.running import ROOT
from data_platform_tests.support.shared_data import SHARED_DATA

DATA = SHARED_DATA
real_data = pytest.mark.skipif(not (DATA / "surveys").is_dir(), reason="the real data is not here")
Row = dict[str, Any]


# -------------------------------------------------------------------------------------------------- focus groups
def turn(sequence: int, kind: str, persona: str | None = None, text: str | None = None, **fields: Any) -> Row:
    at = NOON + dt.timedelta(minutes=sequence)
    made = {"event_date": at.date(), "tenant_id": "t-1", "discussion_id": "d-1", "sequence": sequence,
            "event_id": f"e-{sequence}", "event_type": kind, "event_version": 1, "occurred_at": at, "event_data": "{}",
            "project_id": "r-1", "persona_id": persona, "text": text}  # fmt: skip
    return made | fields


def effectiveness(*turns: Row) -> Row:
    events = frame(DiscussionEvents, turns)
    states = discussion_states(events.lazy()).collect()
    (found,) = computed(FocusGroupEffectiveness, {DiscussionEvents: events, Discussions: states}).to_dicts()
    return found


def test_a_discussion_by_hand() -> None:
    found = effectiveness(
        turn(1, "discussion_started"),
        turn(2, "response", "p-1", "Price, price and PRICE!", question_id="q1"),
        turn(3, "response", "p-2", "Żółta cena; price?", question_id="q1"),
        turn(4, "followup", "p-2", "Why?", question_id="q1"),  # answered by what names it, though late
        turn(5, "followup", "p-1", "And you?", question_id="q1"),  # answered by what comes after it
        turn(6, "response", "p-1", "Trust.", question_id="q1"),
        turn(7, "response", "p-2", "Because of the price", question_id="q1", causation_id="e-4"),
        turn(8, "followup", "p-1", "Really?", question_id="q2"),  # what comes after it has another cause
        turn(9, "response", "p-1", "", question_id="q2", causation_id="e-1"),
        turn(11, "discussion_ended"),
    )
    words = ["price", "price", "and", "price", "żółta", "cena", "price", "trust", "because", "of", "the", "price"]
    assert found["responses_per_question"] == 5 / 2
    assert found["seconds_per_question"] == 600 / 2
    assert found["words_per_response"] == len(words) / 5
    assert found["lexical_diversity"] == pytest.approx(len(set(words)) / math.sqrt(len(words)))
    assert (found["followups"], found["answered_followups"], found["followups_answered"]) == (3, 2, 2 / 3)
    # q1: {price, and, trust} and {żółta, cena, price, because, of, the} share one word; q2 was answered by nobody else.
    assert found["disagreement"] == pytest.approx(1 - 2 * 1 / ((2 - 1) * (3 + 6)))


def test_disagreement_goes_from_nothing_to_all() -> None:
    def of(*texts: str) -> float | None:
        said = [turn(n, "response", f"p-{n}", text, question_id="q1") for n, text in enumerate(texts, 1)]
        found: float | None = effectiveness(*said)["disagreement"]
        return found

    assert of("the same words", "words, the same", "same the words") == pytest.approx(0)
    assert of("one", "two", "three") == 1
    assert of("alone") is None
    assert of("", "...") is None
    assert of("a b", "a c", "d") == pytest.approx(1 - 2 * 1 / (2 * 5))


def test_a_discussion_without_questions_or_words() -> None:
    found = effectiveness(turn(1, "discussion_started"), turn(2, "response", "p-1"))
    empty = (
        "responses_per_question",
        "seconds_per_question",
        "lexical_diversity",
        "followups_answered",
        "disagreement",
    )
    assert {name: found[name] for name in empty} == dict.fromkeys(empty)
    assert found["words_per_response"] == 0


# ------------------------------------------------------------------------------------------------------- surveys
def answer(number: int, question: str, respondent: str, **given: Any) -> Row:
    at = NOON + dt.timedelta(minutes=number)
    made = {"answer_date": at.date(), "tenant_id": "t-1", "answer_id": f"a-{number}", "survey_id": "s-1",
            "question_id": question, "project_id": "r-1", "respondent_id": respondent, "answered_at": at}  # fmt: skip
    return made | given


def asked(question: str, kind: str, position: int, **fields: Any) -> Row:
    made = {"change_date": NOON.date(), "changed_at": NOON, "operation": "insert", "tenant_id": "t-1",
            "survey_id": "s-1", "question_id": question, "project_id": "r-1", "position": position,
            "question_type": kind}  # fmt: skip
    return made | fields


def results(answers: pl.DataFrame, *questions: Row) -> pl.DataFrame:
    return computed(
        SurveyResults, {SurveyAnswers: answers, SurveyQuestionChanges: frame(SurveyQuestionChanges, questions)}
    )


def test_the_four_types_of_questions_by_hand() -> None:
    found = results(
        frame(SurveyAnswers, [
            answer(1, "q1", "u-1", choice="yes"), answer(2, "q1", "u-2", choice="no"),
            answer(3, "q1", "u-1", choice="no"),  # changed their mind
            answer(4, "q1", "u-3", choice="other"),
            answer(5, "q2", "u-1", choices=["a", "b", "a"]), answer(6, "q2", "u-2", choices=["b"]),
            *(answer(10 + n, "q3", f"u-{n}", rating=float(rating)) for n, rating in enumerate([1, 4, 4, 5])),
            answer(20, "q4", "u-1", text="It is fun."), answer(21, "q4", "u-2", text="Nie wiem"),
            answer(22, "q5", "u-1", rating=2.5),
        ]),
        asked("q1", "single_choice", 1, options='{"options":["yes","no","never"]}'),
        asked("q2", "multiple_choice", 2, options='{"options":["b","a"]}'),
        asked("q3", "rating_scale", 3, scale_min=1, scale_max=5),
        asked("q4", "open_text", 4),
        asked("q5", "single_choice", 5, options='{"options":["x"]}'),
        asked("q6", "open_text", 6),
    )  # fmt: skip
    counts = {
        row[:2]: row[2:] for row in found.select("question_id", "value", "place", "respondents", "answers").rows()
    }
    assert counts == {
        ("q1", "yes"): (1, 3, 0), ("q1", "no"): (2, 3, 2), ("q1", "never"): (3, 3, 0), ("q1", "other"): (None, 3, 1),
        ("q2", "b"): (1, 2, 2), ("q2", "a"): (2, 2, 1),
        ("q3", "1"): (None, 4, 1), ("q3", "2"): (None, 4, 0), ("q3", "3"): (None, 4, 0), ("q3", "4"): (None, 4, 2),
        ("q3", "5"): (None, 4, 1),
        ("q4", ""): (None, 2, 2),
        ("q5", "2.5"): (None, 1, 1), ("q5", "x"): (1, 0, 0),
        ("q6", ""): (None, 0, 0),
    }  # fmt: skip
    rated = found.filter(pl.col("question_id") == "q3").row(0, named=True)
    half = 3.182446 * statistics.stdev([1, 4, 4, 5]) / 2
    assert rated["mean"] == 3.5
    assert (rated["mean_low"], rated["mean_high"]) == (pytest.approx(3.5 - half), pytest.approx(3.5 + half))
    no = found.filter(pl.col("question_id") == "q1", pl.col("value") == "no").row(0, named=True)
    assert (no["share_low"], no["share_high"]) == wilson(2, 3)
    assert found.filter(pl.col("question_id") == "q4")["words"].to_list() == [5]
    odd = judge(SurveyResults, found, [""]).failures
    assert sorted((one.rule, one.failed_rows) for one in odd) == [
        ("answered_as_asked", 1), ("answers_were_offered", 1),
    ], "q5 was answered with a number, and “other” is no option of q1"  # fmt: skip


def test_what_no_question_offers_is_told_of_and_counts() -> None:
    found = results(
        frame(SurveyAnswers, [
            *(answer(n, "q1", f"u-{n}", rating=rating) for n, rating in enumerate([1.0, 3.5, 50.0, 1e9])),
            answer(6, "q2", "u-1", choices=["a", "z"]), answer(7, "q3", "u-1", choice="free"),
            answer(8, "q4", "u-1", rating=9.0), answer(9, "q5", "u-1", rating=7.0), answer(10, "q6", "u-1", choices=[]),
        ]),
        asked("q1", "rating_scale", 1, scale_min=1, scale_max=5),
        asked("q2", "multiple_choice", 2, options='{"options":["a","b"]}'),
        asked("q3", "single_choice", 3),
        asked("q4", "rating_scale", 4),
        asked("q6", "multiple_choice", 6, options='{"options":["a"]}'),
    )  # fmt: skip
    offered = {row[:2]: row[2] for row in found.select("question_id", "value", "offered").rows()}
    assert offered == {
        **{("q1", str(n)): True for n in range(1, 6)},
        ("q1", "3.5"): True, ("q1", "50"): False, ("q1", "1000000000"): False,
        ("q2", "a"): True, ("q2", "b"): True, ("q2", "z"): False, ("q3", "free"): None, ("q4", "9"): None,
        ("q5", "7"): None, ("q6", "a"): True,
    }  # fmt: skip
    (told,) = (one for one in judge(SurveyResults, found, [""]).failures if one.rule == "answers_were_offered")
    assert told.failed_rows == 3
    alone = found.filter(pl.col("question_id") == "q4").row(0, named=True)
    assert (alone["mean"], alone["mean_low"], alone["mean_high"]) == (9.0, None, None), "one answer has no interval"
    none = found.filter(pl.col("question_id") == "q6").row(0, named=True)
    assert (none["respondents"], none["answers"], none["share"]) == (1, 0, 0.0), "who chose nothing was asked"


HOSTILE_ANSWERS: list[tuple[str, tuple[Any, ...] | None]] = [
    ('{"choices":[1,true,"a",1.5]}', (None, ["1", "true", "a", "1.5"], None, None)),
    ('{"choices":[]}', (None, [], None, None)),
    ('{"choices":["\\ud800","b"]}', (None, ["?", "b"], None, None)),
    ('{"choice":"\\udc00 c"}', ("? c", None, None, None)),
    ('{"text":"a \\ud83d b \\u0000"}', (None, None, None, "a ? b \x00")),
    ('{"deep":' + "[" * 200 + "]" * 200 + ',"text":"x"}', (None, None, None, "x")),
    ('{"rating":"4"}', (None, None, 4.0, None)),
    ('{"choices":null,"rating":2}', (None, None, 2.0, None)),
    *((text, None) for text in (
        '{"choices":[{"a":1}]}', '{"choices":[["x"]]}', '{"choices":[null,"a"]}', '{"choices":"[1"}',
        '{"choices":"[\\"a\\"]"}', '{"choices":{"a":1}}', '{"rating":"inf"}', '{"rating":"NaN"}', '{"rating":1e999}',
        '{"rating":1e308}', '{"rating":-1e10}',
        '{"rating":true}', '{"choice":"a","rating":1}', '{"reply":"a"}', '{"choices":' + "[" * 3000 + "]" * 3000 + "}",
    )),
]  # fmt: skip


def test_an_answer_that_is_none_is_rejected_and_stops_no_other() -> None:
    rows = [answer(n, "q1", f"u-{n}", answer=text, received_at=NOON, source_file="f", source_line=n)
            for n, (text, _) in enumerate(HOSTILE_ANSWERS)]  # fmt: skip
    found = clean_answers(frame(RawSurveyAnswers, rows).lazy(), [NOON.date()])
    given = {row[0]: row[1:] for row in found.clean.select("answer_id", "choice", "choices", "rating", "text").rows()}
    assert given == {f"a-{n}": told for n, (_, told) in enumerate(HOSTILE_ANSWERS) if told is not None}
    assert found.rejected["reason"].to_list() == ["not_an_answer"] * (len(rows) - len(given))


def wilson(hits: int, n: int) -> tuple[Any, Any]:
    """Wilson's interval as its roots: |p − hits/n| = z √(p (1 − p) / n)."""
    z, share = 1.959963984540054, hits / n
    a, b, c = 1 + z * z / n, -(2 * share + z * z / n), share * share
    root = math.sqrt(b * b - 4 * a * c)
    return pytest.approx((-b - root) / (2 * a)), pytest.approx((-b + root) / (2 * a))


def real_answers(home: Home, mapping: str, file: str, encoding: str = "utf-8") -> pl.DataFrame:
    for path in sorted(DATA.glob(file)):
        map_file(path, ROOT / "examples" / mapping, SURVEY_ANSWERS, home.landing, FileFormat(encoding=encoding))
    assert sum(result.rejected for result in home.ingest()) == 0
    raw = home.rows(RawSurveyAnswers)
    return clean_answers(raw.lazy(), sorted(raw["answer_date"].unique())).clean


@real_data
def test_star_wars_as_fivethirtyeight_counted(home: Home) -> None:
    given = real_answers(home, "star_wars_answers.sql", "surveys/star-wars-survey/StarWars.csv", "latin-1")
    found = results(given)
    seen = found.filter(pl.col("value").is_in(["Yes", "No"]), pl.col("respondents") == 1186)
    assert dict(seen.select("value", "answers").rows()) == {"Yes": 936, "No": 250}
    films = found.filter(pl.col("question_type") == "multiple_choice").sort("value")
    assert films["answers"].to_list() == [673, 571, 550, 607, 758, 738]
    assert films["respondents"].unique().to_list() == [835], "people who saw any"
    shares = [round(100 * share) for share in films["share"]]
    assert shares == [81, 68, 66, 73, 91, 88], "as published: the percentage of those who have seen any of the films"
    for n, hits, low, high in films.select("respondents", "answers", "share_low", "share_high").rows():
        assert (low, high) == wilson(hits, n)


@real_data
def test_flying_as_the_file_counts(home: Home) -> None:
    file = "surveys/flying-etiquette-survey/flying-etiquette.csv"
    found = results(real_answers(home, "flying_answers.sql", file))
    with (DATA / file).open() as lines:
        rows = list(csv.DictReader(lines))
    questions = [name for name in rows[0] if name != "RespondentID"]
    expected = sorted(sorted(Counter(row[name] for row in rows if row[name]).items()) for name in questions)
    by_question = found.group_by("question_id").agg(pl.struct("value", "answers"))["value"].to_list()
    assert sorted(sorted((one["value"], one["answers"]) for one in question) for question in by_question) == expected
    rude = found.filter(pl.col("answers") == 502)
    assert rude.select("value", "respondents").rows() == [("No, not rude at all", 854)]
    assert round(100 * (1 - rude.item(0, "share"))) == 41, "as published: 41 percent find it rude to recline"


@real_data
def test_votes_and_rankings_of_tinytroupe(home: Home) -> None:
    found = results(real_answers(home, "tinytroupe_survey_answers.sql", "tinytroupe/surveys/*.csv"))
    for part, survey in (("Gazpacho", "bottled-gazpacho"), ("story_telling", "story-telling-device")):
        (path,) = DATA.glob(f"tinytroupe/surveys/*{part}*.csv")
        with path.open(encoding="utf-8-sig") as lines:
            votes = [row["Vote"] for row in csv.DictReader(lines)]
        ratings = (
            {f"rank-{option}": [vote.split("-").index(option) + 1 for vote in votes] for option in "ABCDE"}
            if "-" in votes[0]
            else {"vote": [int(vote) for vote in votes]}
        )
        of_survey = found.filter(pl.col("survey_id") == survey)
        for question, given in ratings.items():
            rows = of_survey.filter(pl.col("question_id") == question)
            assert dict(rows.select("value", "answers").rows()) == {str(k): n for k, n in Counter(given).items()}
            half = 2.009575 * statistics.stdev(given) / math.sqrt(50)  # Student's t with 49 degrees of freedom
            assert rows["mean"].unique().to_list() == [pytest.approx(statistics.mean(given))]
            assert rows.item(0, "mean_high") == pytest.approx(statistics.mean(given) + half, abs=1e-5)
        assert of_survey.filter(pl.col("question_type") == "open_text")["respondents"].to_list() == [50]
