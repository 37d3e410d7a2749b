"""One request to a real server that limits, breaks, tears and refuses: what is tried again, how often, what is said.
Not here: lists (test_pages), an API (domains)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from data_platform.sources.rest import client as rest_client
from data_platform.sources.rest.client import ApiClient, Stopped, TokenBucket
from data_platform.sources.rest.declarations import ApiRefusal, ApiUnusable
from data_platform_tests.support.http_server import served
from data_platform_tests.support.stripe_server import Torn

SECRET = "sk_live_never_to_be_told"


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_client, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(rest_client, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(rest_client, "READ_SECONDS", 0.3)


@contextmanager
def answering(*answers: ASGIApp | Callable[[], ASGIApp], rate: float = 1000) -> Iterator[tuple[ApiClient, list[float]]]:
    """A client of a server that gives these answers in turn, the last one for ever; and when it was asked."""
    asked: list[float] = []

    async def answer(request: Request) -> ASGIApp:
        asked.append(time.monotonic())
        return answers[min(len(asked), len(answers)) - 1]  # type: ignore[return-value]

    with served(Starlette(routes=[Route("/list", answer)])) as server:
        found = ApiClient("rest.shop", str(server.base_url), SECRET, {}, rate)
        yield found, asked
        found.close()


def good() -> Response:
    return Response(b'{"ok": true}')


@pytest.mark.parametrize(
    "fault",
    [
        Response("slow down", 429), Response("", 500), Response("", 503), Response("", 409),
        Torn(b'{"ok": true, "more": 1}', says_length=True), Torn(b'{"ok": true, "more": 1}', says_length=False),
        Response(b"<html>"), Response(b"\xff\xfe"), Response(b"nothing", headers={"content-encoding": "gzip"}),
    ],
    ids=["429", "500", "503", "409", "torn", "torn without a length", "html", "no text", "no gzip"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(fault: ASGIApp) -> None:
    with answering(fault, fault, good()) as (client, asked):
        assert client.get("/list", {}).body.value == {"ok": True}
        assert len(asked) == 3


def test_the_apis_word_on_when_to_come_again_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Response("", 429, headers={"Retry-After": "0.45"})
    with answering(limited, good()) as (client, asked):
        client.get("/list", {})
        assert 0.45 <= asked[1] - asked[0] < 0.9, "a fraction of a second is one"
    monkeypatch.setattr(rest_client, "LONGEST_ASKED_WAIT", 0.1)
    with answering(Response("", 429, headers={"Retry-After": "86400"}), good()) as (client, asked):
        client.get("/list", {})
        assert asked[1] - asked[0] < 5
    reset = Response("", 429, headers={"X-RateLimit-Reset": str(time.time() + 3600)})
    with answering(reset, good()) as (client, asked):
        client.get("/list", {})
        assert 0.1 <= asked[1] - asked[0] < 5
    for odd in ("soon", "Wed, 21 Oct 2015 07:28:00 GMT", "-1", "nan-ish"):
        with answering(Response("", 429, headers={"Retry-After": odd}), good()) as (client, asked):
            assert client.get("/list", {}).body.value == {"ok": True}


def test_tries_end_and_the_error_says_what_was_tried() -> None:
    with answering(Response("", 500)) as (client, asked):
        with pytest.raises(ApiUnusable, match=r"\[rest.shop\] GET /list failed 8 times; at last it answered 500"):
            client.get("/list", {})
        assert len(asked) == rest_client.ATTEMPTS
    gone = ApiClient("rest.shop", "http://127.0.0.1:9", SECRET, {}, 1000)
    with pytest.raises(ApiUnusable, match="ConnectError"):
        gone.get("/list", {})


def test_a_server_that_does_not_answer_is_left() -> None:
    async def hanging(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(1)

    with answering(hanging, good()) as (client, asked):
        assert client.get("/list", {}).body.value == {"ok": True}
        assert len(asked) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 422])
def test_what_would_be_refused_again_is_asked_once_and_nobody_is_told_the_key(status: int) -> None:
    told = f'{{"error": {{"message": "Invalid API Key: {SECRET}", "code": "some_code", "param": "limit"}}}}'
    with answering(Response(told, status, headers={"Request-Id": "req_7"})) as (client, asked):
        with pytest.raises(ApiUnusable if status == 401 else ApiRefusal) as error:
            client.get("/list", {"limit": 1})
        assert len(asked) == 1
    said = f"{error.value} {error.value.__cause__} {error.value.__context__}"
    assert SECRET not in said
    assert str(status) in said
    if status != 401:
        assert "some_code, limit, request req_7" in said


def test_whoever_stops_it_waits_for_nothing() -> None:
    with answering(Response("", 429, headers={"Retry-After": "50"})) as (client, _):
        threading.Timer(0.2, client.stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            client.get("/list", {})
        assert time.monotonic() - began < 5


def test_requests_keep_their_pace() -> None:
    with answering(good(), rate=20) as (client, asked):
        for _ in range(30):
            client.get("/list", {})
    assert asked[-1] - asked[0] >= 9 / 20, "20 at once, then 20 a second"
    now = 0.0
    bucket = TokenBucket(2, lambda: now)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0.5, 1.0]
    now = 100.0
    assert [bucket.take() for _ in range(3)] == [0, 0, 0.5], "what was not used is not saved up"
