"""`POST /v1/search`: tenant by tenant, what cannot be asked is said, hostile bodies show not one foreign row.
Not here: what is found (domains/research/search), tokens (test_tenancy)."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from data_platform.core.discovery import endpoints
from data_platform.core.lake.store import Lake
from data_platform.domains.research.endpoints import ENDPOINTS, FIELDS, LONGEST_TOLD
from data_platform.web.query.access import Access
from data_platform.web.query.application import QueryApi
from data_platform.web.query.openapi import document
from data_platform_tests.support.research_rows import NOON
from data_platform_tests.support.search_rows import embedded, open_answer, publish, question, spoken, texts_of
from data_platform_tests.support.tenants import (
    OPERATOR,
    TENANTS,
    Asking,
    Response,
    asking,
    bearer,
    mark_of,
    token_of,
    tokens_file,
)  # fmt: skip

JSON = {"content-type": "application/json"}
WORDS = ("price", "music", "story")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """Every tenant has a discussion d-1 of one project, with its mark in every text."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    said = [
        spoken(f"The {WORDS[n % 3]} {mark_of(tenant)}", n, tenant_id=tenant, user_id=f"u {mark_of(tenant)}")
        for tenant in TENANTS
        for n in range(1, 7)
    ]
    said.append(spoken("long " * 4_000, 7, tenant_id=TENANTS[0]))
    answers = [open_answer(f"Why the story {mark_of(one)}", tenant_id=one, project_id="project-2") for one in TENANTS]
    asked = [question(f"What of {mark_of(one)}?", tenant_id=one, project_id="project-2") for one in TENANTS]
    publish(lake, embedded(texts_of(said, answers=answers, questions=asked), None))
    access = Access(tokens_file(tmp_path_factory.mktemp("tokens")), open_here=True)
    with asking(QueryApi((), lake, access, ENDPOINTS)) as one:
        yield one


def ask(api: Asking, tenant: str | None, body: Any, **headers: str) -> Response:
    token = bearer(OPERATOR if tenant is None else token_of(tenant))
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.get("/v1/search", headers={**token, **JSON, **headers}, method="POST", body=sent)


def found(response: Response) -> Any:
    assert response.status == 200, response.body
    return json.loads(response.body)


def test_a_tenant_finds_its_own_with_its_place(api: Asking) -> None:
    told = found(ask(api, "acme", {"query": "music", "top": 1, "project_id": "project-1"}))
    (hit,) = told["hits"]
    assert (hit["tenant_id"], hit["text"], hit["sequence"]) == ("acme", "The music mark00x", 1)
    assert (hit["before"], hit["after"]["sequence"]) == (None, 2)
    assert told["as_of"] == {"research/embeddings": 1}
    assert told["way"] == "words"
    assert told["note"].startswith("Found by words alone.")
    (long,) = found(ask(api, "acme", {"query": "long"}))["hits"]
    assert len(long["text"]) == LONGEST_TOLD


def test_an_open_answer_is_found_with_survey_question_and_answer(api: Asking) -> None:
    for chosen in ({"survey_id": "s-1"}, {"text_kind": "answer"}, {"project_id": "project-2"}):
        (hit,) = found(ask(api, "acme", {"query": "story", **chosen}))["hits"]
        assert (hit["survey_id"], hit["question_id"], hit["answer_id"]) == ("s-1", "q4", "a-1")
        assert (hit["text"], hit["asked"]) == ("Why the story mark00x", "What of mark00x?")
    assert not found(ask(api, "acme", {"query": "story", "survey_id": ["s-2", "d-1"]}))["hits"]


def test_operators_find_everybodys_or_whose_they_name(api: Asking) -> None:
    tenants = {hit["tenant_id"] for hit in found(ask(api, None, {"query": "music", "top": 100}))["hits"]}
    assert tenants == {*TENANTS}
    some = found(ask(api, None, {"query": "music", "tenant_id": ["a%", "*"]}))["hits"]
    assert {hit["tenant_id"] for hit in some} == {"a%", "*"}


def test_another_tenant_is_refused_whether_there_is_one_or_not(api: Asking) -> None:
    refused = [ask(api, "acme", {"query": "music", "tenant_id": other}) for other in ("ACME", "nobody", ["acme", "*"])]
    assert {(answer.status, answer.body) for answer in refused} == {(403, refused[0].body)}
    assert found(ask(api, "acme", {"query": "music", "tenant_id": "acme"}))["hits"]


def test_without_a_token_or_by_another_method_nothing_is_told(api: Asking) -> None:
    assert api.get("/v1/search", headers=JSON, method="POST", body=b'{"query":"x"}').status == 401
    assert api.get("/v1/search", headers=bearer(token_of("acme"))).status == 405
    assert api.get("/v1/search/more", headers=bearer(token_of("acme")) | JSON, method="POST", body=b"{}").status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"[" * 100_000, 400), (b"\xff", 400), ([], 422), ({}, 422), ({"query": 1}, 422),
        ({"query": " "}, 422), ({"query": "x" * 2001}, 422), ({"query": "x", "top": 0}, 422),
        ({"query": "x", "top": True}, 422), ({"query": "x", "top": 10**30}, 422), ({"query": "x", "quary": 1}, 422),
        ({"query": "x", "project_id": None}, 422), ({"query": "x", "project_id": []}, 422),
        ({"query": "x", "project_id": ["a"] * 201}, 422), ({"query": "x", "persona_id": "\ud800"}, 422),
        ({"query": "x", "persona_id": "a" * 513}, 422), ({"query": "x", "since": "yesterday"}, 422),
        ({"query": "x", "since": "0001-01-01T00:00+14:00"}, 422), ({"query": "x", "since": 7}, 422),
        ({"query": "x", "way": ["words"]}, 422), ({"query": "x", "text_kind": "events"}, 422),
        (b" " * 300_000, 413),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(api: Asking, body: Any, status: int) -> None:
    answer = ask(api, "acme", body)
    assert answer.status == status, answer.body
    assert json.loads(answer.body)["type"].startswith("urn:data-platform:problem:")


def test_a_body_of_another_type_is_refused(api: Asking) -> None:
    assert ask(api, "acme", {"query": "x"}, **{"content-type": "text/plain"}).status == 415
    assert ask(api, "acme", {"query": "x"}, **{"content-encoding": "gzip"}).status == 415


def test_hostile_requests_show_not_one_foreign_row(api: Asking) -> None:
    rng = random.Random(7)
    values = [*TENANTS, "%", "*", "' OR 1=1 --", "acme\x00", "\u202eacme", "", "project-1", "d-1", "null", "p-1"]
    statuses = set()
    for _ in range(1_500):
        tenant = rng.choice(TENANTS)
        body: dict[str, Any] = {"query": rng.choice([*WORDS, mark_of(rng.choice(TENANTS)), "*", "The", "x' OR '1"])}
        for name in rng.sample(FIELDS, rng.randint(0, 3)):
            body[name] = rng.choice([rng.choice(values), rng.sample(values, 3), rng.randint(-5, 120), NOON.isoformat()])
        answer = ask(api, tenant, body)
        statuses.add(answer.status)
        assert answer.status in (200, 403, 422), answer.body
        if answer.status == 200:
            told = answer.body.decode()
            foreign = [other for other in TENANTS if other != tenant and mark_of(other) in told]
            assert not foreign, (tenant, body)
    assert statuses == {200, 403, 422}


def test_times_choose(api: Asking) -> None:
    later = (NOON + dt.timedelta(minutes=4)).isoformat()
    hits = found(ask(api, "acme", {"query": "The", "text_kind": "event", "since": later}))["hits"]
    assert {hit["sequence"] for hit in hits} == {4, 5, 6}
    hits = found(ask(api, "acme", {"query": "The", "text_kind": "event", "until": later}))["hits"]
    assert {hit["sequence"] for hit in hits} == {1, 2, 3}


def test_the_document_tells_of_it_and_answers_are_as_it_says(api: Asking) -> None:
    told = document((), endpoints())["paths"]["/v1/search"]["post"]
    schema = told["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(found(ask(api, "acme", {"query": "music"})), json.loads(json.dumps(schema)))
    shown = told["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(shown) == {*FIELDS}
