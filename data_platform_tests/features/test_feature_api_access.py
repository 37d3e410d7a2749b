"""Who may use the feature API and how often; that its OpenAPI document is true, by Schemathesis on a real server.
Not here: what is answered (test_feature_api)."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings
from data_platform.features.api.access import Access, Scope, new_token
from data_platform_tests.support.feature_home import SET, fill, serving, tokens_file
from data_platform_tests.support.homes import Home

READER, HISTORIAN, SLOW = "reader-" + "r" * 40, "historian-" + "h" * 40, "slow-" + "s" * 40
ONE, BATCH, HISTORICAL = f"/v1/features/{SET}/player-1", f"/v1/features/{SET}:batch", f"/v1/features/{SET}:historical"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def guarded(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose API wants tokens; yields the tokens file."""
    path = tokens_file(
        tmp_path,
        (READER, ["features:read"], 1000, 1000),
        (HISTORIAN, ["features:historical"], 1000, 1000),
        (SLOW, ["features:read"], 0.5, 3),
    )
    monkeypatch.setenv("DATA_PLATFORM_API_TOKENS", str(path))
    settings.cache_clear()
    fill(home)
    yield path
    settings.cache_clear()


def test_nothing_is_told_without_a_token_and_no_more_than_its_scopes_with_one(home: Home, guarded: Path) -> None:
    with serving(home) as (client, _):
        for path in (ONE, "/v1/features", "/v1/openapi.json", "/v1/nothing", f"/v1/features/{SET}/nobody"):
            wrong = [
                {},
                bearer("wrong"),
                {"authorization": "Bearer"},
                {"authorization": f"Basic {READER}"},
                bearer(READER[:-1]),
            ]
            for headers in wrong:
                answer = client.get(path, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert SET not in answer.text
            assert client.get(f"{path}?token={READER}").status_code == 401, "never in an address, which is logged"
        assert client.get(ONE, headers=bearer(READER)).status_code == 200
        assert client.get("/v1/openapi.json", headers=bearer(HISTORIAN)).status_code == 200
        refused = client.get(ONE, headers=bearer(HISTORIAN))
        assert (refused.status_code, "features:read" in refused.headers["www-authenticate"]) == (403, True)
        assert client.post(HISTORICAL, headers=bearer(READER)).status_code == 403
        assert client.post(HISTORICAL, headers=bearer(HISTORIAN)).status_code == 415
        for page in ("/", "/health.json"):
            assert client.get(page).status_code == 200, "the health page's guard is its own"


def test_a_token_may_ask_so_often_and_is_told_when_to_come_back(home: Home, guarded: Path) -> None:
    with serving(home) as (client, _):
        answers = [client.get(ONE, headers=bearer(SLOW)) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429, 429]
        wait = int(answers[-1].headers["retry-after"])
        assert 1 <= wait <= 2
        assert client.get(ONE, headers=bearer(READER)).status_code == 200, "of another token nothing is taken"
        time.sleep(wait)
        assert client.get(ONE, headers=bearer(SLOW)).status_code == 200


def test_tokens_taken_out_of_the_file_are_refused_soon_and_a_broken_file_changes_nothing(
    home: Home, guarded: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(home) as (client, _):
        assert client.get(ONE, headers=bearer(SLOW)).status_code == 200
        tokens_file(guarded.parent, (READER, ["features:read"], 1000, 1000))
        time.sleep(1.1)
        assert client.get(ONE, headers=bearer(SLOW)).status_code == 401
        with caplog.at_level(logging.ERROR):
            guarded.write_text("[[tokens]]\nname = ")
            time.sleep(1.1)
            assert client.get(ONE, headers=bearer(READER)).status_code == 200
        assert "stay in force" in caplog.text
        assert READER not in caplog.text


def test_without_tokens_only_this_machine_is_answered(home: Home) -> None:
    fill(home)
    with serving(home) as (client, _):
        assert client.get(ONE).status_code == 200
        assert client.get(ONE, headers={"host": "evil.example"}).status_code == 421
    with serving(home, host="0.0.0.0") as (client, _):
        answer = client.get(ONE)
        assert (answer.status_code, "DATA_PLATFORM_API_TOKENS" in answer.json()["remedy"]) == (401, True)


def test_a_tokens_file_that_is_wrong_is_reported_by_place(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    for text, message in (
        ('[[tokens]]\nname = "a"\nsha256 = "abc"\nscopes = []', "tokens.0.sha256"),
        (f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = ["all"]', "tokens.0.scopes"),
        ('[[tokens]]\nname = "a"\ntoken = "in-the-clear"', "tokens.0"),
        ("[[tokens]", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(PlatformError) as raised:
            Access(path, open_here=True)
        assert message in str(raised.value)
        assert "in-the-clear" not in str(raised.value)
    with pytest.raises(PlatformError, match="cannot be read"):
        Access(tmp_path / "nowhere.toml", open_here=True)


def test_the_command_makes_a_token_whose_entry_lets_it_in(home: Home, tmp_path: Path) -> None:
    made = home.start(
        "-m", "data_platform_tests.support.command", "api-token", 'the "churn" service', "--scope", "features:read"
    )
    output, _ = made.communicate(timeout=60)
    token, entry = output.split("kept nowhere: ")[1].split()[0], output[output.index("[[tokens]]") :]
    assert token not in entry
    path = tmp_path / "tokens.toml"
    path.write_text(entry)
    access = Access(path, open_here=True)
    access.admit(f"Bearer {token}".encode(), False, Scope.READ)
    again, _ = new_token("same", frozenset([Scope.READ]))
    assert again != token
    refused = home.start("-m", "data_platform_tests.support.command", "api-token", "x", "--scope", "everything")
    assert "features:historical" in refused.communicate(timeout=60)[0]


def schemathesis(client: httpx.Client, examples: int) -> str:
    """Every check of Schemathesis, valid and invalid requests alike, all operations; what it printed."""
    # Its generator makes no Arrow streams: of `historical` it may send what is refused, but knows nothing to accept.
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{client.base_url}/v1/openapi.json",
        "--header", f"Authorization: Bearer {READER}", "--max-examples", str(examples), "--seed", "1",
        "--exclude-path-regex", ":historical$", "--no-color", "--workers", "2",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=60 + 4 * examples, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    return run.stdout


def test_the_openapi_document_is_true(home: Home, guarded: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(home)
    with serving(home) as (client, _):
        output = schemathesis(client, 10)
        assert client.get(ONE, headers=bearer(READER)).status_code == 200
    found = re.search(r"(\d+) generated", output)
    assert found, output
    assert int(found[1]) > 100
    assert "Examples (in" in output
    assert "A request to the feature API failed" not in caplog.text


@pytest.mark.soak
def test_the_openapi_document_is_true_for_thousands_of_requests(home: Home, guarded: Path) -> None:
    fill(home)
    with serving(home) as (client, _):
        schemathesis(client, 1000)
