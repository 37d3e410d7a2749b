"""Questions to texts: held against a naive search that shares no code, tenant by tenant, with places.
Not here: real models (test_models), HTTP (test_search_endpoint)."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import random
import re
import time
import unicodedata
from collections import Counter
from pathlib import Path

import hypothesis
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.domains.research.search import corpus as corpora
from data_platform.domains.research.search.index import chosen, indexed
from data_platform.domains.research.search.models import ModelFails, Patience, Vectors
from data_platform.domains.research.search.nearest import Approximate, Exact, best, fused
from data_platform.domains.research.search.searching import Hit, Question, Searcher, answered
from data_platform.domains.research.search.words import K1, STEM, B, WordIndex
from data_platform_tests.support.research_rows import NOON
from data_platform_tests.support.search_rows import (
    CountingModel,
    changed,
    embedded,
    open_answer,
    publish,
    question,
    spoken,
    texts_of,
)

WORDS = ["price", "Prices", "cena", "ceny", "żółty", "ZOLTY", "muzyka", "a", "I", "łódź", "2024", "priceless",
         "値段が高すぎる", "高い", "ゲーム", "RPGが好き", "ราคาแพง", "비싸요"]  # fmt: skip
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join), min_size=1, max_size=12)


def naive_stems(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.lower()).replace("ł", "l")
    plain = "".join(letter for letter in plain if not unicodedata.category(letter).startswith("M"))
    found: list[str] = []
    for word in re.findall(r"[^\W_]+", plain):
        for unspaced, letters in itertools.groupby(word, lambda letter: bool(UNSPACED.match(letter))):
            run = "".join(letters)
            found += [run[n : n + 2] for n in range(max(len(run) - 1, 1))] if unspaced else [run[:STEM]]
    return found


UNSPACED = re.compile("[\u3005\u3041-\u30ff\u4e00-\u9fff\u0e01-\u0e4f]")
"""Of the words of these tests: Chinese and Japanese, and Thai."""


def naive_bm25(texts: list[str], query: str) -> list[float]:
    documents = [Counter(naive_stems(text)) for text in texts]
    mean = sum(map(Counter.total, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in dict.fromkeys(naive_stems(query)):
            if times := document[word]:
                having = sum(word in other for other in documents)
                rarity = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
                score += rarity * times * (K1 + 1) / (times + K1 * (1 - B + B * document.total() / mean))
        scores.append(score)
    telling = naive_stems(" ".join(word for word in query.split() if word not in ("a", "I"))) or naive_stems(query)
    return scores if any(document.keys() & telling for document in documents) else [0.0] * len(documents)


def test_stop_words_of_a_query_find_nothing_where_its_other_words_do_not() -> None:
    words = WordIndex(pl.Series(["It is the story.", "Too expensive for me!", "Czy to dobre?", "Za drogie."]))

    def found(query: str, *allowed: int) -> list[int]:
        may = np.isin(np.arange(4), allowed) if allowed else None
        return np.flatnonzero(words.scores(query, may)).tolist()

    assert found("is it too expensive") == [0, 1]
    assert found("is it too expensive", 0, 2) == []
    assert found("is it too slow") == []
    assert found("IS IT") == found("the") == [0]
    assert found("czy to za drogie?") == [2, 3]
    assert found("don’t") == []


@given(TEXTS, st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join))
def test_words_are_weighed_as_bm25_says(texts: list[str], query: str) -> None:
    found = WordIndex(pl.Series(texts)).scores(query)
    assert np.allclose(found, naive_bm25(texts, query), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("このゲームは値段が高すぎると思う。", "値段"), ("这个游戏太贵了", "太贵"), ("ราคาแพงเกินไป", "แพง"),
        ("Die Preise sind überhöht.", "UBERHOHT"), ("Za drogo, żółta cena", "ZOLTA ceny"),
        ("ｇａｍｅ　が好き", "game 好き"), ("यह हिन्दी है", "हिन्दी"),
    ],
)  # fmt: skip
def test_words_are_found_in_any_script(text: str, query: str) -> None:
    texts = pl.Series([text, "Something else. 別の話。อื่น"])
    assert (WordIndex(texts).scores(query) > 0).tolist() == [True, False]


def hits(events: list[dict[str, object]], question: Question, tenants: set[str] | None = None) -> list[Hit]:
    model = CountingModel()
    index = indexed(embedded(texts_of(events), model), 1, model)
    return answered(question, chosen(index, tenants), model.query(question.query), question.way)


@hypothesis.settings(max_examples=30)
@given(TEXTS, st.sampled_from(WORDS), st.integers(1, 15))
def test_both_ways_are_put_together_by_rank(texts: list[str], query: str, top: int) -> None:
    events = [spoken(text, place) for place, text in enumerate(texts, 1)]
    model = CountingModel()
    cosine = [float(model.query(text).astype(np.float16).astype(np.float32) @ model.query(query)) for text in texts]
    words = naive_bm25(texts, query)
    expected: dict[int, float] = {place: 0.0 for place in range(len(texts))}
    for scores, among in ((cosine, expected), (words, [n for n, score in enumerate(words) if score > 0])):
        for rank, place in enumerate(sorted(among, key=lambda n: (-round(scores[n], 6), n)), 1):
            expected[place] += 1 / (60 + rank)
    order = sorted(expected, key=lambda place: (-expected[place], place))[:top]
    found = hits(events, Question(query, top))
    assert [hit.sequence for hit in found] == [place + 1 for place in order]
    assert [hit.score for hit in found] == pytest.approx([expected[place] for place in order])


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(1, 12))
def test_the_best_are_the_first_of_all_sorted(seed: int, size: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, size).astype(np.float32)
    allowed = rng.random(size) < 0.6
    expected = sorted(np.flatnonzero(allowed).tolist(), key=lambda place: (-scores[place], place))[:count]
    assert best(scores, count, allowed).places.tolist() == expected


def test_an_open_answer_is_found_with_the_question_it_answers() -> None:
    day = dt.timedelta(days=1)
    asked = [
        question("Why do you play?"),
        question("Why did you stop?", changed_at=NOON + day),
        question("Why would they?", tenant_id="t-2"),
        question("What of the price?", question_id="q5"),
    ]
    answers = [
        open_answer("Because of the price.", "a-1"),
        open_answer("The price again.", "a-2", survey_id="s-2", persona_id=None, respondent_id="u-7"),
        open_answer("Their price.", "a-3", tenant_id="t-2"),
        open_answer("No price then.", "a-4", answered_at=NOON + 3 * day, project_id="project-2"),
    ]
    texts = texts_of([spoken("A price.", 1, question_id="q4")], [changed()], (), answers, asked)
    index = indexed(embedded(texts, None), 1, None)

    def found(tenants: set[str] | None = None, **more: object) -> list[tuple[str | None, str | None, str | None]]:
        asking = Question("price", **more)  # type: ignore[arg-type]
        hits = answered(asking, chosen(index, tenants or {"t-1"}), None, "words")
        return sorted((hit.answer_id or "", hit.survey_id, hit.asked) for hit in hits)

    of_s1, unknown = ("a-1", "s-1", "Why did you stop?"), ("a-2", "s-2", None)
    later = ("a-4", "s-1", None)  # a question of another project than the answer's
    assert found() == [("", None, None), of_s1, unknown, later], "and no question before its answers"
    assert found(kinds=("answer",)) == [of_s1, unknown, later]
    assert found(surveys=("s-1",)) == [of_s1, later]
    assert found(kinds=("answer",), projects=("project-1",)) == [of_s1, unknown]
    assert found(kinds=("answer",), personas=("p-1",)) == [of_s1, later]
    assert found(kinds=("answer",), since=NOON + day) == [later]
    assert found(kinds=("question",)) == [("", "s-1", None)]
    assert found({"t-2"}) == [("a-3", "s-1", "Why would they?")]


def test_no_row_of_another_tenant_is_found_whatever_is_asked() -> None:
    rng = random.Random(1)
    tenants = ["t-1", "T-1", "t-1 ", "t-2", "*", "%", "' OR 1=1 --", "t\u0000"]
    events = [
        spoken(rng.choice(WORDS), n, tenant_id=rng.choice(tenants), discussion_id="d-1", project_id="project-1")
        for n in range(1, 400)
    ]
    model = CountingModel()
    index = indexed(embedded(texts_of(events), model), 1, model)
    for _ in range(100):
        tenant = rng.choice(tenants)
        question = Question(
            rng.choice(WORDS),
            rng.randint(1, 100),
            rng.choice([(), ("project-1",)]),
            way=rng.choice(["hybrid", "words"]),
        )
        mine = [row for row in events if row["tenant_id"] == tenant]
        found = answered(question, chosen(index, {tenant}), model.query(question.query), question.way)
        alone = hits(mine, question)
        assert found == alone, "what others said weighs on the order"
        assert {hit.tenant_id for hit in found} <= {tenant}
        near = [one for hit in found for one in (hit.before, hit.after) if one]
        assert {one["sequence"] for one in near} <= {row["sequence"] for row in mine}


def test_filters_and_places() -> None:
    day = dt.timedelta(days=1)
    events = [
        spoken("What of the price?", 1, persona_id=None, event_type="followup"),
        spoken("The price is too high.", 2),
        spoken("I like the music.", 3, persona_id="p-2"),
        spoken("The price again.", 1, discussion_id="d-2", project_id="project-2", occurred_at=NOON + day),
    ]
    found = hits(events, Question("price", projects=("project-1",), personas=("p-1",)))
    (hit,) = found
    assert hit.before == {
        "sequence": 1, "event_type": "followup", "persona_id": None, "text": "What of the price?",
    }  # fmt: skip
    assert hit.after is not None
    assert hit.after["text"] == "I like the music."
    (hit,) = hits(events, Question("price", since=NOON + day))
    assert (hit.discussion_id, hit.before, hit.after) == ("d-2", None, None)
    assert {hit.discussion_id for hit in hits(events, Question("price", until=NOON + day))} == {"d-1"}
    assert {hit.discussion_id for hit in hits(events, Question("price", discussions=("d-2", "d-3")))} == {"d-2"}
    assert not hits(events, Question("price", projects=("%",)))
    assert not hits(events, Question("price", kinds=("persona",)))


def test_concepts_are_found_when_they_are_asked_for() -> None:
    said = {"mention_date": NOON.date(), "tenant_id": "t-1", "project_id": "project-1", "concept": "price"}
    texts = texts_of([spoken("The price.")], mentions=[said | {"persona_id": who} for who in ("p-1", "p-2")])
    index = indexed(embedded(texts, None), 1, None)
    kinds = [
        {hit.text_kind for hit in answered(Question("price", kinds=kinds), index.tenants, None, "words")}
        for kinds in ((), ("concept",), ("concept", "event"))
    ]
    assert kinds == [{"event"}, {"concept"}, {"concept", "event"}]


def test_of_a_persona_the_newest_description_counts() -> None:
    def about(*changes: dict[str, object]) -> list[str]:
        index = indexed(embedded(texts_of(personas=changes), None), 1, None)
        return [hit.text for hit in answered(Question("clocks"), index.tenants, None, "words")]

    moved = changed(
        changed_at=NOON + dt.timedelta(days=3), operation="update", background="She mends clocks in Gdynia."
    )
    assert [text.split(". ")[1] for text in about(changed(), moved)] == ["She mends clocks in Gdynia"]
    assert not about(changed(), changed(changed_at=NOON + dt.timedelta(days=3), operation="delete"))


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"query": " \u200b"}, "says nothing"), ({"query": "x" * 2001}, "characters"), ({"top": 0}, "hits"),
        ({"top": 101}, "hits"), ({"kinds": ("events",)}, "kind"), ({"way": "magic"}, "way"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(given: dict[str, object], what: str) -> None:
    with pytest.raises(PlatformError, match=what):
        Question(**({"query": "price"} | given))  # type: ignore[arg-type]


def test_texts_are_text(tmp_path: Path) -> None:
    hostile = ["\x00price", "\u202eprice\u202c", "price'; DROP TABLE x; --", "price\U000e0001", "price " * 10_000]
    lake = Lake(str(tmp_path))
    publish(lake, embedded(texts_of([spoken(text, n) for n, text in enumerate(hostile, 1)]), None))
    for query in [*(text[:2000] for text in hostile), "\ud800 price"]:
        assert len(Searcher(lake).search(Question(query)).hits) == len(hostile)


def test_the_index_follows_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "LOOK_SECONDS", 0.0)
    lake = Lake(str(tmp_path))
    searcher = Searcher(lake)
    with pytest.raises(PlatformError, match="no texts"):
        searcher.search(Question("price"))
    publish(lake, embedded(texts_of([spoken("The price.")]), None))
    found = until_version(searcher, lake, 1)
    assert [hit.text for hit in found] == ["The price."]
    publish(lake, embedded(texts_of([spoken("The price rose.", 2)]), None))
    assert [hit.text for hit in until_version(searcher, lake, 2)] == ["The price rose."]


def until_version(searcher: Searcher, lake: Lake, version: int) -> list[Hit]:
    """What is found once the index is of this version; it is made aside."""
    for _ in range(200):
        try:
            found = searcher.search(Question("price"))
        except PlatformError:
            found = None
        if found and found.version == version:
            assert found.note is not None, "no model is configured"
            return found.hits
        time.sleep(0.05)
    raise AssertionError(f"no index of version {version}")


def test_texts_without_a_vector_are_found_by_words_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CountingModel()
    monkeypatch.setattr(corpora, "configured_model", lambda _settings, _patience: model)
    lake = Lake(str(tmp_path))
    publish(lake, embedded(texts_of([spoken("The price.")]), CountingModel(version="0")))
    found = Searcher(lake).search(Question("price"))
    assert [(hit.text, hit.similarity) for hit in found.hits] == [("The price.", None)]
    assert found.note is not None
    assert "1 texts have no vector" in found.note
    assert settings().embeddings_model == "none"


class Failing(CountingModel):
    """A model behind an endpoint that may be away."""

    is_away = False

    def query(self, text: str) -> Vectors:
        if self.is_away:
            raise ModelFails("The endpoint is away.", "Wait.")
        return super().query(text)


def test_a_model_that_fails_leaves_the_words_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = Failing(), list[float]()

    def configured(_settings: object, patience: Patience) -> CountingModel:
        asked.append(patience.timeout)
        if model.is_away:
            raise ModelFails("The endpoint is away.", "Wait.")
        return model

    monkeypatch.setattr(corpora, "configured_model", configured)
    lake = Lake(str(tmp_path))
    publish(lake, embedded(texts_of([spoken("The price."), spoken("Music.", 2)]), CountingModel()))
    searcher = Searcher(lake)

    def found(way: str = "hybrid") -> tuple[str, bool, int]:
        told = searcher.search(Question("price", way=way))
        assert (told.note is None) == (told.way == way), told.note
        return told.way, "The endpoint is away" in (told.note or ""), len(told.hits)

    assert found() == ("hybrid", False, 2)
    model.is_away = True
    assert [found(way) for way in ("hybrid", "meaning", "words")] == [("words", True, 1)] * 2 + [("words", False, 1)]
    assert len(asked) == 1, "who asks next does not wait for it"
    monkeypatch.setattr(corpora, "ASKS_AGAIN_SECONDS", 0.0)
    searcher.corpus.give_up(ModelFails("The endpoint is away.", "Wait."))
    assert found() == ("words", True, 1)
    model.is_away = False
    assert found() == ("hybrid", False, 2)
    assert max(asked) <= 10, "somebody waits for the answer"


def test_vectors_of_another_model_are_not_compared_with_the_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider exchanged its model while the index is of the old one."""
    models = [CountingModel(), CountingModel(version="2")]
    models[1].dimensions = 16
    monkeypatch.setattr(corpora, "configured_model", lambda _settings, _patience: models[0])
    monkeypatch.setattr(corpora, "ASKS_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(corpora, "LOOK_SECONDS", 1e9)
    lake = Lake(str(tmp_path))
    publish(lake, embedded(texts_of([spoken("The price.")]), models[0]))
    searcher = Searcher(lake)
    assert searcher.search(Question("price")).way == "hybrid"
    del models[0]
    searcher.corpus.give_up(ModelFails("It is another model.", "Wait."))
    found = searcher.search(Question("price"))
    assert (found.way, len(found.hits)) == ("words", 1)
    assert "another model" in (found.note or "")
    monkeypatch.setattr(corpora, "LOOK_SECONDS", 0.0)
    for _ in range(200):
        found = searcher.search(Question("price"))
        if found.way == "hybrid":
            break
        time.sleep(0.05)
    assert "1 texts have no vector" in (found.note or "")


def test_the_graph_finds_what_looking_at_all_finds() -> None:
    pytest.importorskip("usearch")
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((60, 64))
    vectors = (centres[rng.integers(0, 60, 4000)] + 0.7 * rng.standard_normal((4000, 64))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact, graph = Exact(vectors), Approximate(vectors)
    allowed = rng.random(4000) < 0.5
    few = np.arange(4000) < 7
    same = 0
    for query in vectors[:100]:
        same += len(set(exact.nearest(query, 10).places) & set(graph.nearest(query, 10).places))
        some = graph.nearest(query, 10, allowed)
        assert allowed[some.places].all()
        assert len(some.places) == 10
        assert graph.nearest(query, 10, few).places.tolist() == exact.nearest(query, 10, few).places.tolist()
    assert same >= 990


def test_fusing_nothing_is_nothing() -> None:
    places, scores = fused([], 10)
    assert not len(places)
    assert not len(scores)
