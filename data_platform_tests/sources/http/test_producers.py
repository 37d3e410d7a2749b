"""Who may post to the collector, for which source and tenant, and how often.
Not here: tokens in general (features/test_feature_api_access), what is taken (test_collector)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings
from data_platform.sources.http.producers import producers
from data_platform_tests.support.collectors import JSON, collecting, named, post, producers_file, stored_lines
from data_platform_tests.support.homes import Home, event

GAME, ACME, SLOW = "game-" + "g" * 40, "acme-" + "a" * 40, "slow-" + "s" * 40
TOTALS = {"source": "event_totals"}


@pytest.fixture
def guarded(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = producers_file(
        tmp_path,
        {"token": GAME, "sources": ["player_events"], "requests_per_second": 10_000, "burst": 10_000},
        {"token": ACME, "sources": ["player_events", "event_totals"], "tenant": "acme"},
        {"token": SLOW, "sources": ["player_events"], "requests_per_second": 0.5, "burst": 2},
    )
    monkeypatch.setenv("DATA_PLATFORM_COLLECTOR_TOKENS", str(path))
    settings.cache_clear()
    yield path
    settings.cache_clear()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def basic(user: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}


def test_a_producer_posts_to_its_sources_and_nobody_without_a_token(home: Home, guarded: Path) -> None:
    with collecting(home) as client:
        wrong = [
            {},
            bearer("wrong"),
            bearer(GAME[:-1]),
            basic("wrong:"),
            basic(f"x:{GAME}"),
            {"authorization": "Basic %"},
        ]
        for headers in wrong:
            for path in ("/v1/events", "/v1/batch", "/v1/nothing"):
                assert client.post(path, content="{}", headers=JSON | headers).status_code == 401
        assert client.post(f"/v1/events?token={GAME}", content="{}", headers=JSON).status_code == 401
        assert post(client, *named("a"), headers=bearer(GAME)).status_code == 202
        assert post(client, *named("b"), headers=basic(f"{GAME}:")).status_code == 202
        for source in ("event_totals", "nothing", "../player_events"):
            refused = post(client, *named("c"), headers=bearer(GAME), params={"source": source})
            assert (refused.status_code, "insufficient_scope" in refused.headers["www-authenticate"]) == (403, True)
        assert client.get("/healthz").status_code == 200
    assert len(stored_lines(home.landing / "player_events")) == 2


def test_a_producer_speaks_for_its_tenant_alone(home: Home, guarded: Path) -> None:
    mine, none, other, null = (event(event_id=f"{n}", tenant_id=t) for n, t in enumerate(["acme", ..., "evil", None]))
    with collecting(home) as client:
        told = post(client, mine, none, other, null, headers=bearer(ACME)).json()
        assert told["rejected"] == [{"index": 2, "reason": "another_tenant"}, {"index": 3, "reason": "another_tenant"}]
        # Named twice: one reader takes the first, another the last.
        for first, last in (("acme", "evil"), ("evil", "acme")):
            twice = json.dumps(event())[:-1] + f', "tenant_id": "{first}", "ten\\u0061nt_id": "{last}"}}'
            for body, headers in ((f"[{twice}]", JSON), (twice, {"content-type": "application/x-ndjson"})):
                refused = client.post("/v1/events", content=body, headers=headers | bearer(ACME))
                assert refused.status_code in (400, 422)
                assert "repeated" in refused.text
        assert post(client, other, headers=bearer(GAME)).status_code == 202, (
            "a token without a tenant says nothing of it"
        )
    stored = [json.loads(one) for one in stored_lines(home.landing / "player_events")]
    assert [one["tenant_id"] for one in stored] == ["acme", "acme", "evil"]
    assert stored[1] == none | {"tenant_id": "acme"}


def test_a_producer_may_post_so_often(home: Home, guarded: Path) -> None:
    with collecting(home) as client:
        answers = [post(client, *named("a"), headers=bearer(SLOW)) for _ in range(4)]
        assert [one.status_code for one in answers] == [202, 202, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert post(client, *named("b"), headers=bearer(GAME)).status_code == 202


def test_without_tokens_this_machine_alone_may_post(home: Home) -> None:
    with collecting(home) as client:
        assert post(client, *named("a"), headers={"host": "evil.example"}).status_code == 421
        assert post(client, *named("a")).status_code == 202
    with pytest.raises(PlatformError, match="DATA_PLATFORM_COLLECTOR_TOKENS"), collecting(home, host="0.0.0.0"):
        pass


def test_a_token_taken_out_of_the_file_is_refused_soon(home: Home, guarded: Path) -> None:
    with collecting(home) as client:
        assert post(client, *named("a"), headers=bearer(GAME)).status_code == 202
        producers_file(guarded.parent, {"token": ACME, "sources": ["player_events"]})
        time.sleep(1.1)
        assert post(client, *named("a"), headers=bearer(GAME)).status_code == 401


def test_an_entry_without_sources_is_told_by_place(tmp_path: Path) -> None:
    path = producers_file(tmp_path, {"token": GAME, "sources": []})
    with pytest.raises(PlatformError, match=r"tokens\.0\.sources"):
        producers(path, open_here=True)


def test_the_command_makes_a_token_whose_entry_lets_it_in(home: Home, tmp_path: Path) -> None:
    command = "-m", "data_platform_tests.support.command", "collector-token", "game", "--source", "player_events"
    told, _ = home.start(*command, "--tenant", "acme").communicate(timeout=120)
    token, entry = told.split("kept nowhere: ")[1].split()[0], told[told.index("[[tokens]]") :]
    assert token not in entry
    path = tmp_path / "tokens.toml"
    path.write_text(entry)
    bucket = producers(path, open_here=False).bucket(f"Bearer {token}".encode(), host_is_here=False)
    assert bucket is not None
    assert (bucket.token.sources, bucket.token.tenant) == (frozenset(["player_events"]), "acme")
