"""Who may read the health page, and how browsers are told to treat it.
Not here: what it says (test_health_page)."""

from __future__ import annotations

import contextlib
import re
import signal

import httpx
import pytest
from pydantic import SecretStr

from data_platform.core.errors import PlatformError
from data_platform.web.app import require_token
from data_platform_tests.support.health_home import Reader, fill, serving
from data_platform_tests.support.homes import Home

TOKEN = "t0ken-of-sixteen-letters"


@pytest.fixture
def filled(home: Home) -> Home:
    return fill(home)


def test_with_a_token_nothing_is_told_without_it(filled: Home) -> None:
    with serving(filled, TOKEN) as (client, _):
        for wrong in ("", "?token=", "?token=wrong", f"?token={TOKEN}x", "?token=%FF"):
            answer = client.get(f"/{wrong}")
            assert (answer.status_code, "player_sessions" in answer.text) == (401, False)
        assert client.get("/health.json", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/", headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401
        assert client.get("/tables/gameplay/player_sessions").status_code == 401
        assert client.get("/static/../health.json").status_code == 401
        assert client.get("/health.json", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.get("/healthz").status_code == 200
        page = client.get(f"/?token={TOKEN}")
        inside = [a["href"] for tag, a in Reader(page.text).tags if tag == "a" and str(a.get("href")).startswith("/")]
        assert inside
        assert all(f"token={TOKEN}" in str(link) for link in inside)
        assert all(client.get(str(link)).status_code == 200 for link in inside)


def test_every_answer_forbids_what_pages_do_not_need(filled: Home) -> None:
    with serving(filled, TOKEN) as (client, _):
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        answers = [client.get("/"), client.get("/static/health.css")]
        answers += [client.get(path, headers=bearer) for path in ("/", "/nothing", "/health.json", "/runbook")]
        for answer in answers:
            assert answer.headers["content-security-policy"].startswith("default-src 'self'")
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert (answer.headers["x-content-type-options"], answer.headers["referrer-policy"]) == (
                "nosniff", "no-referrer",
            )  # fmt: skip
            assert "set-cookie" not in answer.headers
        assert client.post("/", headers=bearer).status_code == 405
        assert client.get("/", headers=bearer).headers["cache-control"] == "no-store"
        sheet = client.get("/static/health.css")
        known = client.get("/static/health.css", headers={"If-None-Match": sheet.headers["etag"]})
        assert (sheet.headers["cache-control"], known.status_code, known.content) == ("no-cache", 304, b"")


def test_without_a_token_only_this_machine_is_answered(filled: Home) -> None:
    with serving(filled) as (client, _):
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
        assert client.get("/", headers={"Host": "127.0.0.1.evil.example"}).status_code == 421
        assert client.get("/", headers={"Host": "localhost:3002"}).status_code == 200
        assert client.get("/", headers={"Host": "[::1]:3002"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "token", "refused"),
    [
        ("127.0.0.1", None, False), ("localhost", None, False), ("::1", None, False), ("0.0.0.0", None, True),
        ("::", None, True), ("10.0.0.1", None, True), ("myhost", None, True), ("", None, True),
        ("0.0.0.0", TOKEN, False), ("0.0.0.0", "short", True), ("127.0.0.1", "", True),
    ],
)  # fmt: skip
def test_it_listens_beyond_this_machine_only_with_a_token(host: str, token: str | None, refused: bool) -> None:
    with pytest.raises(PlatformError) if refused else contextlib.nullcontext() as raised:
        require_token(host, SecretStr(token) if token is not None else None)
    if raised is not None:
        assert "DATA_PLATFORM_SERVE_TOKEN" in raised.value.remedy


def test_the_command_serves_and_its_output_never_has_the_token(home: Home) -> None:
    refused = home.start("-m", "data_platform_tests.support.command", "serve", "--host", "0.0.0.0")
    output, _ = refused.communicate(timeout=60)
    assert (refused.returncode, "Traceback" in output) == (1, False)
    assert "no token is set" in output
    served = home.start(
        "-m", "data_platform_tests.support.command", "serve", "--port", "0", DATA_PLATFORM_SERVE_TOKEN=TOKEN
    )
    try:
        assert served.stdout is not None
        # On a busy machine it says every ten seconds that it is loading.
        line = next(one for one in served.stdout if "http" in one)
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line
        assert httpx.get(f"{address[0]}/?token={TOKEN}", timeout=60).status_code == 200
        assert httpx.get(f"{address[0]}/?token=wrong", timeout=60).status_code == 401
        served.send_signal(signal.SIGINT)
        rest, _ = served.communicate(timeout=30)
    finally:
        served.kill()
    assert TOKEN not in line + rest
    assert "Traceback" not in rest
