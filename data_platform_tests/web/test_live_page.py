"""The live page over a real server: who may watch, what is told and how fast, crowds, servers that end and begin.
Not here: counting (test_live_counting), how the page looks in a browser (test_watched_pages)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from data_platform.core.discovery import landing_sources, live_views
from data_platform.observability.health.facts import Collector
from data_platform.sources.segments import write_segment
from data_platform.web import viewers
from data_platform.web.app import application
from data_platform.web.live.pages import LivePages
from data_platform_tests.support.health_home import Reader
from data_platform_tests.support.homes import Home, all_tables, event
from data_platform_tests.support.http_server import served

TOKEN = "t0ken-of-sixteen-letters"
SOCKET = "/live/player_events/socket"


@contextlib.contextmanager
def live(home: Home, token: str | None = None) -> Iterator[httpx.Client]:
    collector = Collector(home.lake, all_tables(), landing_sources(), every=3600)
    pages = LivePages(live_views(), home.landing, home.lake)
    with served(application(collector, SecretStr(token) if token else None, live=pages)) as client:
        yield client


@contextlib.contextmanager
def watching(client: httpx.Client, path: str = SOCKET, **headers: str) -> Iterator[ClientConnection]:
    address = f"ws://{client.base_url.host}:{client.base_url.port}{path}"
    origin = headers.pop("origin", None)
    with connect(address, origin=origin, additional_headers=headers, compression=None) as viewer:  # type: ignore[arg-type]
        yield viewer


def send(home: Home, begin: int, count: int, **changes: object) -> None:
    """A segment of events of just now."""
    now = dt.datetime.now(dt.UTC).isoformat()
    rows = [event(event_id=f"e-{n}", timestamp=now, **changes) for n in range(begin, begin + count)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    write_segment(home.landing / "player_events", "http:1", begin, begin + count, text)


def words(page: str) -> str:
    return " ".join(" ".join(Reader(page).words).split())


def until(viewer: ClientConnection, holds: Callable[[str], bool], seconds: float = 20) -> str:
    """The first message for which it holds, as text."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        text = words(str(viewer.recv(timeout=seconds)))
        if holds(text):
            return text
    raise AssertionError("no such message")


def test_events_reach_the_page_as_they_arrive(home: Home) -> None:
    with live(home) as client, watching(client) as viewer:
        assert "nothing arrived yet" in until(viewer, lambda text: "As of" in text)
        send(home, 0, 120, player_id="p-7<b>")
        text = until(viewer, lambda text: "Events, each once 120" in text)
        assert "Active players, 5 min 1 " in text
        assert "p-7<b> 360" in text  # points of 120 combats, and no markup
        assert "c-1 120 1" in text
        write_segment(home.landing / "player_events", "http:1", 120, 122, b"{broken\n[]\n")
        assert "Rejected lines, 5 min 2 " in until(viewer, lambda text: "invalid_json 1" in text)
        viewer.send("nobody listens")
        send(home, 122, 1)
        until(viewer, lambda text: "Events, each once 121" in text)
        page = client.get("/live")
        assert "Events, each once 121" in words(page.text)
        told = client.get("/live/player_events/message.json").json()
        assert (told["events"], told["rejected"]["all"], sum(told["per_second"])) == (121, 2, 121)
        assert client.get("/live/nothing").status_code == 404


def test_without_javascript_the_page_is_whole_and_reloads(home: Home) -> None:
    send(home, 0, 3)
    with live(home) as client:
        end = time.monotonic() + 20
        while "Events, each once 3" not in words(page := client.get("/live").text):
            assert time.monotonic() < end
            time.sleep(0.2)
        assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
        assert "style=" not in page  # the policy of the pages would refuse it
        front = Reader(client.get("/").text)
        assert any(tag == "a" and attributes.get("href") == "/live" for tag, attributes in front.tags)


def test_nobody_watches_without_the_token_or_from_a_page_of_others(home: Home) -> None:
    with live(home, TOKEN) as client:
        mine = f"http://{client.base_url.host}:{client.base_url.port}"
        for path, headers in (
            (SOCKET, {}),
            (f"{SOCKET}?token=wrong", {}),
            (f"{SOCKET}?token={TOKEN}", {"origin": "http://evil.example"}),
            (f"{SOCKET}?token={TOKEN}", {"origin": "null"}),
            (f"/live/nothing/socket?token={TOKEN}", {}),
        ):
            with pytest.raises(InvalidStatus) as refused, watching(client, path, **headers):
                pass
            assert refused.value.response.status_code == 403
        with watching(client, f"{SOCKET}?token={TOKEN}", origin=mine) as viewer:
            until(viewer, lambda text: "As of" in text)
        with watching(client, authorization=f"Bearer {TOKEN}") as viewer:
            until(viewer, lambda text: "As of" in text)
        assert client.get("/live").status_code == 401
        page = Reader(client.get(f"/live?token={TOKEN}").text)
        (main,) = [attributes for tag, attributes in page.tags if tag == "main"]
        assert main["data-socket"] == f"{SOCKET}?token={TOKEN}"
        assert client.get("/static/web/watched.js").status_code == 200
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    with live(home) as client:
        key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        assert client.get(SOCKET, headers={"Host": "evil.example"} | upgrade | key).status_code == 403


def test_a_hundred_watch_and_who_is_slow_delays_nobody(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "MOST_VIEWERS", 101)
    with live(home) as client, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(watching(client)) for _ in range(100)]
        stack.enter_context(watching(client))  # reads nothing
        with watching(client) as one_too_many, pytest.raises(Exception, match="1013"):
            one_too_many.recv(timeout=20)
        send(home, 0, 50)
        seen = [0] * len(crowd)

        def follow(number: int) -> None:
            until(crowd[number], lambda text: "Events, each once 50" in text, 40)
            seen[number] += 1

        threads = [threading.Thread(target=follow, args=[number]) for number in range(len(crowd))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [1] * len(crowd)
        assert client.get("/healthz").status_code == 200


def test_a_server_that_begins_again_knows_what_arrived_meanwhile(home: Home) -> None:
    with live(home) as client, watching(client) as viewer:
        send(home, 0, 10)
        until(viewer, lambda text: "Events, each once 10" in text)
    send(home, 10, 5)
    home.ingest()
    with live(home) as client, watching(client) as viewer:
        text = until(viewer, lambda text: "Events, each once 15" in text)
        assert "Windows are recorded here" in text
        with live(home) as other, watching(other) as second:
            assert "by another server" in until(second, lambda text: "Events, each once 15" in text)
