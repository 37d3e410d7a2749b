"""Events of a game arrive each once: over outages, restarts and forks. The game never waits and never fails.
Not here: what the collector takes (sources/http)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import data_platform.sdk
from data_platform.sdk import Client, sending
from data_platform.sdk.outbox import Memory, Outbox, Spool
from data_platform_tests.support.collectors import collecting, stored_lines
from data_platform_tests.support.homes import Home

NOBODY = "http://127.0.0.1:9"
"""A port that nobody listens on."""


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a test's length."""
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.02)


@contextlib.contextmanager
def client_of(url: str, **options: Any) -> Iterator[Client]:
    made = Client(url, **options)
    try:
        yield made
    finally:
        made.close(1)


class Answers(ThreadingHTTPServer):
    """A server that answers requests in turn as it is told, the last answer again and again."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers, self.bodies, self.heads, self.moments = list(answers), [], [], []  # type: ignore[var-annotated]
        super().__init__(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                answers.moments.append(time.monotonic())
                answers.heads.append({name.lower(): value for name, value in self.headers.items()})
                answers.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                status, headers, body = answers.answers.pop(0) if len(answers.answers) > 1 else answers.answers[0]
                self.send_response(status)
                for name, value in ({"content-length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_said: Any) -> None:
                return

        return Handler


OK = (202, {}, b'{"accepted": 1, "rejected": []}')


def events_of(home: Home) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stored_lines(home.landing / "player_events")]


# ---------------------------------------------------------------------------- the good case
def test_tracked_events_arrive_as_rows(home: Home) -> None:
    moment = dt.datetime(2024, 1, 3, 10, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    with collecting(home) as server, client_of(str(server.base_url)) as client:
        made = client.track(
            "spell_cast", "p-1", {"spell": "frost"}, session_id="s-1", campaign_id="c-1", device={"os": "linux"},
            timestamp=moment, client_timestamp=moment.replace(tzinfo=None), level=7,
        )  # fmt: skip
        client.track("combat_start", "p-2", timestamp=moment, event_id="mine")
        assert client.flush()
        stats = client.stats()
    assert (stats.tracked, stats.sent, stats.waiting, stats.dropped) == (2, 2, 0, 0)
    home.ingest()
    first, other = home.raw().sort("player_id").to_dicts()
    assert (first["event_id"], first["event_type"], first["session_id"]) == (made, "spell_cast", "s-1")
    assert (first["timestamp"].hour, first["client_timestamp"].hour) == (8, 10)
    assert json.loads(first["event_data"]) == {"spell": "frost"}
    assert json.loads(first["extra_fields"]) == {"level": 7}
    assert other["event_id"] == "mine"
    assert home.rejected().is_empty()


def test_events_leave_when_they_are_many_old_or_critical() -> None:
    server = Answers(OK)
    with client_of(server.url, flush_at=10, flush_seconds=60, critical=["purchase"]) as client:
        for _ in range(9):
            client.track("step", "p")
        time.sleep(0.2)
        assert not server.bodies, "nine of ten wait"
        client.track("step", "p")
        until(lambda: len(server.bodies) == 1)
        client.track("purchase", "p")
        until(lambda: len(server.bodies) == 2)
    with client_of(server.url, flush_at=10, flush_seconds=0.3) as client:
        begun = time.monotonic()
        client.track("step", "p")
        until(lambda: len(server.bodies) == 3)
        assert server.moments[-1] - begun >= 0.3


def test_what_is_wrong_is_counted_and_told_and_the_rest_arrives(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    with collecting(home) as server, client_of(str(server.base_url)) as client:
        client.track("x", "")
        client.track("x", "p-1")
        assert client.flush()
        assert (client.stats().sent, client.stats().rejected) == (1, 1)
    assert "missing_player_id" in caplog.text


# ------------------------------------------------------------------------------- outages
def test_an_outage_is_waited_out_and_nothing_is_lost(home: Home, tmp_path: Path, quick: None) -> None:
    for spool in (None, tmp_path / "spool"):
        server = Answers((503, {}, b""), (502, {}, b"<html>"), (200, {}, b"<html>no collector"), OK)
        with client_of(server.url, spool=spool, flush_at=1) as client:
            ids = [client.track("x", "p") for _ in range(5)]
            until(lambda: client.stats().waiting == 0)
            until(lambda: client.stats().failures == 0)
        sent = b"".join(body for body in server.bodies)
        assert all(str(one).encode() in sent for one in ids)


def test_retry_after_is_kept_and_pauses_grow(quick: None) -> None:
    server = Answers((429, {"retry-after": "0.4"}, b""), OK)
    with client_of(server.url, flush_at=1) as client:
        client.track("x", "p")
        until(lambda: len(server.bodies) == 2)
    assert server.moments[1] - server.moments[0] >= 0.4
    assert sending._seconds("Wed, 21 Oct 2065 07:28:00 GMT") == 3600
    assert sending._seconds("soon") == sending._seconds(None) == sending._seconds("-1") == 0


def test_pauses_double_up_to_a_minute_and_differ() -> None:
    for failures, most in ((1, 1.0), (2, 2.0), (5, 16.0), (50, 60.0)):
        drawn = {sending.pause(failures, 0.0) for _ in range(200)}
        assert len(drawn) > 100
        assert most * 0.5 < max(drawn) <= most


def test_what_could_not_be_sent_survives_the_process(home: Home, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    dead = Client(NOBODY, spool=spool, flush_at=10)
    ids = [dead.track("x", "p") for _ in range(25)]
    dead.close()
    assert dead.stats().waiting == 25
    assert oct(spool.stat().st_mode & 0o777) == "0o700"
    with collecting(home) as server, client_of(str(server.base_url), spool=spool) as client:
        until(lambda: client.stats().waiting == 0)
    assert [one["event_id"] for one in events_of(home)] == ids
    assert not list(spool.iterdir())


def test_a_spool_and_a_memory_have_an_end_and_what_is_dropped_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(NOBODY, spool=tmp_path / "spool", spool_bytes=3_000, flush_at=1) as client:
        for _ in range(100):
            client.track("x", "p")
        until(lambda: client.stats().dropped > 0)
    stats = client.stats()
    assert stats.dropped + stats.waiting == stats.tracked == 100
    assert sum(path.stat().st_size for path in (tmp_path / "spool").iterdir()) <= 3_000
    assert "events were dropped" in caplog.text


@pytest.mark.parametrize("kind", ["memory", "spool"])
def test_an_outbox_gives_the_oldest_first(tmp_path: Path, kind: str) -> None:
    outbox: Outbox = Memory(100) if kind == "memory" else Spool(tmp_path, 100)
    assert outbox.oldest() is None
    assert [outbox.put(text) for text in (b"a\n" * 20, b"b\n" * 20, b"c\n" * 20)] == [True, True, False]
    seen = []
    while oldest := outbox.oldest():
        seen.append((oldest[1][:1], outbox.events()))
        outbox.remove(oldest[0])
    assert seen == [(b"a", 40), (b"b", 20)]


def test_a_spool_that_cannot_be_written_drops_and_does_not_fail(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with client_of(NOBODY, spool=tmp_path / "file", flush_at=1) as client:
        client.track("x", "p")
        until(lambda: client.stats().dropped == 1)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_batch_that_is_never_taken_stops_no_other(status: int, quick: None) -> None:
    server = Answers((status, {}, b"{}"), OK)
    with client_of(server.url, flush_at=1) as client:
        client.track("x", "p")
        until(lambda: client.stats().rejected == 1)
        client.track("x", "p")
        until(lambda: client.stats().sent == 1)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 500])
def test_what_somebody_may_put_right_is_waited_for_and_no_token_goes_elsewhere(status: int, quick: None) -> None:
    other = Answers(OK)
    server = Answers((status, {"location": f"{other.url}/v1/events"}, b""), OK)
    with client_of(server.url, token="secret", flush_at=1) as client:
        client.track("x", "p")
        until(lambda: client.stats().sent == 1)
    assert not other.bodies
    assert server.heads[0]["authorization"] == "Bearer secret"


# ----------------------------------------------------------------------- the game goes on
def test_the_game_never_waits_and_never_fails(tmp_path: Path) -> None:
    """A collector that takes connections and never answers, a buffer that fills, values that are no JSON."""

    circular: dict[str, Any] = {}
    circular["me"] = circular
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = Client(url, most_waiting=1_000, flush_at=100)
        slowest = 0.0
        for _ in range(5_000):
            begun = time.thread_time()
            client.track("x", "p", {"n": 1})
            slowest = max(slowest, time.thread_time() - begun)
        for bad in (circular, {"x": float("nan")}, {"x": "y" * 200_000}, {(1, 2): 3}):
            assert client.track("x", "p", bad) is None
        assert client.track("x", "p", 5, timestamp="no time") is None  # type: ignore[arg-type]
        begun = time.monotonic()
        client.close(0.5)
        assert time.monotonic() - begun < 5
    stats = client.stats()
    assert stats.tracked == 5_005
    assert stats.dropped >= 5_005 - 1_000 - 1_000
    assert slowest < 0.05
    assert client.track("x", "p") is None, "after close"
    client.close()
    with pytest.raises(ValueError, match="no address"):
        Client("file:///etc/passwd")


def test_what_is_on_its_way_at_the_end_is_kept(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", spool=tmp_path / "spool", flush_at=1)
        made = client.track("x", "p")
        connection, _ = silent.accept()
        client.close(0.1)
        (kept,) = (tmp_path / "spool").iterdir()
        connection.close()
        assert json.loads(kept.read_text())["event_id"] == made
        client._thread.join(20)
    assert list((tmp_path / "spool").iterdir()) == [kept], "not once more when its request fails after all"
    assert client.stats().waiting == 1


def test_a_process_that_ends_sends_what_it_has(home: Home, tmp_path: Path) -> None:
    program = """
import sys
from data_platform.sdk import Client
client = Client(sys.argv[1], spool=sys.argv[2])
for number in range(3):
    client.track("x", "p", event_id=f"e-{number}")
"""
    command = [sys.executable, "-c", program]
    spool = tmp_path / "spool"
    with collecting(home) as server:
        subprocess.run([*command, str(server.base_url), str(spool)], check=True, env=home.environment())
    assert [one["event_id"] for one in events_of(home)] == ["e-0", "e-1", "e-2"]
    subprocess.run([*command, NOBODY, str(spool)], check=True, env=home.environment())
    assert len(list(spool.iterdir())) == 1


def test_a_forked_process_sends_its_own_and_not_its_parents(home: Home) -> None:
    program = """
import os, sys
from data_platform.sdk import Client
client = Client(sys.argv[1], flush_seconds=60)
client.track("x", "p", event_id="parent")
child = os.fork()
if not child:
    client.track("x", "p", event_id="child")
    client.close()
    os._exit(0)
os.waitpid(child, 0)
"""
    with collecting(home) as server:
        subprocess.run(
            [sys.executable, "-c", program, str(server.base_url)], check=True, env=home.environment(), timeout=60
        )
    assert sorted(one["event_id"] for one in events_of(home)) == ["child", "parent"]


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    """A copy of it, with an interpreter that sees no installed package."""
    package = tmp_path / "data_platform"
    shutil.copytree(Path(data_platform.sdk.__file__).parent, package / "sdk")
    shutil.copy(Path(data_platform.__file__ or ""), package)
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from data_platform.sdk import Client
client = Client({NOBODY!r})
client.track("x", "p")
client.close()
assert client.stats().dropped == 1
foreign = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names)
print(sorted(name for name in foreign if not name.startswith("_")))
"""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "['data_platform']"
