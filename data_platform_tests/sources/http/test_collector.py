"""What the collector takes, as it was sent, and what it says of the rest.
Not here: who may post (test_producers), disks that fail and kills (test_journal, test_collector_kills), hostile clients
(test_hostile_clients)."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.discovery import landing_sources
from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings
from data_platform.domains.gameplay.transforms.clean_events import clean_events
from data_platform.sources.connectors import sections
from data_platform.sources.http import events as events_module
from data_platform.sources.positions import Position, discontinuities, positions
from data_platform.sources.streams import ways
from data_platform_tests.support.collectors import (
    JSON,
    LINES,
    PACKED,
    STREAM,
    Process,
    collecting,
    named,
    packed,
    post,
    stored_ids,
    stored_lines,
)
from data_platform_tests.support.homes import Home, event, line

EVENTS = "/v1/events"


def accepted(answer: httpx.Response) -> int:
    assert answer.status_code == 202, answer.text
    return int(answer.json()["accepted"])


def test_one_event_an_array_and_lines_are_stored_in_order_and_taken_in_once(home: Home) -> None:
    with collecting(home) as client:
        assert accepted(client.post(EVENTS, content=line(event_id="one"), headers=JSON)) == 1
        assert accepted(post(client, *named("two", "three"))) == 2
        lines = "\n\n".join(json.dumps(one) for one in named("four", "five"))
        assert accepted(client.post(EVENTS, content=lines + "\r\n", headers=LINES)) == 2
        assert accepted(client.post(EVENTS, content=packed(*named("six")), headers=PACKED)) == 1
        assert accepted(client.post(f"{EVENTS}?source=player_events", content=packed(*named("7")), headers=PACKED)) == 1
    assert stored_ids(home) == ["one", "two", "three", "four", "five", "six", "7"]
    folder = home.landing / "player_events"
    assert positions(home.lake, folder) == {STREAM: Position(0, 7)}
    home.ingest()
    assert len(home.raw()) == 7
    assert positions(home.lake, folder) == {STREAM: Position(0, 7)}
    with collecting(home) as client:
        post(client, *named("eight"))
    home.ingest()
    assert home.ledger()["begin_position"].max() == 7
    assert home.ledger()["end_position"].max() == 8


def test_an_event_is_stored_as_it_was_written(home: Home) -> None:
    odd = '{"event_id": "e",\t"player_id":"ü\\u00fc\\n","timestamp":"2024-01-03T10:00:00Z", "n": 1.10, "n2": 12345678901234567890.5e1}'  # noqa: E501
    pretty = json.dumps(event(event_id="f", event_data={"deep": [1, {"a": "b"}]}), indent=2)
    with collecting(home) as client:
        assert accepted(client.post(EVENTS, content=f" [ {odd} ,\r\n{pretty} ] ".encode(), headers=JSON)) == 2
    one, other = stored_lines(home.landing / "player_events")
    assert one == odd.encode() + b"\n"
    assert json.loads(other) == json.loads(pretty)


WRONG: list[Any] = [
    event(event_id=...),
    event(event_id=None),
    event(event_id=" \t"),
    event(event_id=7),
    event(player_id=""),
    event(player_id={"a": 1}),
    event(timestamp=...),
    event(timestamp="yesterday"),
    event(timestamp=1_700_000_000),
    [],
    "text",
    5,
]


def test_what_is_wrong_is_told_event_by_event_with_the_reasons_of_rejected_lines(home: Home) -> None:
    with collecting(home) as client:
        answer = post(client, *(one for wrong in WRONG for one in (wrong, event(event_id="good"))))
        told = answer.json()
        assert accepted(answer) == len(WRONG)
        assert [one["index"] for one in told["rejected"]] == [2 * number for number in range(len(WRONG))]
        none = post(client, *WRONG)
        assert (none.status_code, none.json()["accepted"]) == (422, 0)
    assert stored_ids(home) == ["good"] * len(WRONG)
    # The same lines in a file that somebody dropped, judged by ingestion.
    home.drop("wrong.ndjson", [json.dumps(one) for one in WRONG])
    home.ingest()
    assert home.rejected()["reason"].to_list() == [one["reason"] for one in told["rejected"]]


def test_a_line_that_is_no_json_holds_back_no_other(home: Home) -> None:
    first, last = (line(event_id=one).encode() for one in "ac")
    lines = [first, b'{"event_id": "b"', b"\xff", b"NaN", b"[" * 100_000, last]
    with collecting(home) as client:
        told = client.post(EVENTS, content=b"\n".join(lines), headers=LINES).json()
    reasons = ["invalid_json", "invalid_utf8", "invalid_json", "invalid_json"]
    assert told == {"accepted": 2, "rejected": [{"index": n, "reason": r} for n, r in enumerate(reasons, 1)]}
    assert stored_ids(home) == ["a", "c"]


GOOD = line(event_id="whole")
REFUSED = {
    "a body that ends early": (400, f"[{GOOD}, {{", JSON),
    "no comma": (400, f"[{GOOD} {GOOD}]", JSON),
    "something behind": (400, f"[{GOOD}] {GOOD}", JSON),
    "a comma too many": (400, f"[{GOOD},]", JSON),
    "no number": (400, f'[{GOOD}, {{"a": NaN}}]', JSON),
    "depth": (400, "[" * 200_000, JSON),
    "digits": (400, f'{{"a": {"9" * 5000}}}', JSON),
    "no UTF-8": (400, b'["\xff"]', JSON),
    "empty": (400, b"", JSON),
    "no events": (422, b"[]", JSON),
    "no lines": (422, b"\n\n", LINES),
    "a form": (415, b"a=b", {"content-type": "application/x-www-form-urlencoded"}),
    "text, as pages of others may send it": (415, GOOD, {"content-type": "text/plain"}),
    "another packing": (415, b"x", JSON | {"content-encoding": "br"}),
    "no gzip": (400, GOOD, PACKED),
    "half of a gzip": (400, packed(*named("a"))[:-9], PACKED),
    "too many": (413, f"[{','.join(['1'] * 20_001)}]", JSON),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_body_that_is_wrong_as_a_whole_is_refused_as_a_whole(home: Home, kind: str) -> None:
    status, body, headers = REFUSED[kind]
    with collecting(home) as client:
        answer = client.post(EVENTS, content=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert accepted(post(client, *named("next"))) == 1
    assert stored_ids(home) == ["next"]


def test_addresses_are_those_and_no_others(home: Home) -> None:
    with collecting(home) as client:
        for path in ("/", "/v1", "/v1/events/", "//v1/events", "/v1/events/a", "/v1/../v1/events%2f", "/v1/features"):
            url = httpx.URL(client.base_url, raw_path=path.encode())
            assert client.post(url, content=GOOD, headers=JSON).status_code == 404
        for source in ("nothing", "../player_events", "player_events/..", "..%2fplayer_events", "_journal", ""):
            assert client.post(f"{EVENTS}?source={source}", content=GOOD, headers=JSON).status_code == 404
        assert client.post(f"{EVENTS}?token=x", content=GOOD, headers=JSON).status_code == 422
        assert client.get(EVENTS).status_code == 405
        assert client.get("/healthz").json() == {"status": "ok"}
    assert not any(home.path.rglob("*.zst"))


def test_several_sources_have_streams_of_their_own(home: Home) -> None:
    total = {"starts_at": "2024-01-03T00:00:00Z", "events": 3, "counted_at": "2024-01-04T00:00:00Z"}
    with collecting(home) as client:
        assert accepted(post(client, total, params={"source": "event_totals"})) == 1
        none = post(client, total | {"events": None}, params={"source": "event_totals"})
        assert none.json()["rejected"] == [{"index": 0, "reason": "missing_events"}]
        assert accepted(post(client, *named("a"))) == 1
    assert len(stored_lines(home.landing / "event_totals")) == 1
    assert stored_ids(home) == ["a"]


# ---------------------------------------------------------------------- other shapes
AT = "2024-01-03T10:00:00Z"
CONTEXT = {"sessionId": "s-1", "device": {"type": "ios"}}
SPELL = {"type": "track", "event": "spell_cast", "properties": {"spell": "frost", "campaign_id": "c-7"}}
MESSAGES = [
    SPELL | {"messageId": "m-1", "userId": "p-1", "timestamp": AT, "originalTimestamp": AT, "context": CONTEXT},
    {"type": "identify", "messageId": "m-2", "anonymousId": "a-1", "timestamp": AT, "traits": {"plan": "free"}},
    {"type": "page", "messageId": "m-3", "userId": "p-1", "originalTimestamp": AT, "properties": {}},
    {"type": "alias", "messageId": "m-4", "userId": "p-1", "timestamp": AT},
    {"type": "track", "messageId": "m-5", "event": "x", "timestamp": AT},
    {"type": ["track"]},
    None,
]


def test_messages_of_analytics_sdks_become_events(home: Home) -> None:
    with collecting(home) as client:
        answer = client.post("/v1/batch", json={"batch": MESSAGES, "sentAt": "2024-01-03T10:00:01Z"})
        assert answer.json()["rejected"] == [
            {"index": 3, "reason": "unknown_type"},
            {"index": 4, "reason": "missing_player_id"},
            {"index": 5, "reason": "unknown_type"},
            {"index": 6, "reason": "not_an_object"},
        ]
        assert accepted(answer) == 3
        for wrong in ([], {}, {"batch": 5}, 5):
            assert client.post("/v1/batch", json=wrong).status_code == 422
    home.ingest()
    columns = "event_id", "player_id", "event_type", "campaign_id", "session_id"
    found = home.raw().sort("event_id").select(columns).rows()
    assert found == [
        ("m-1", "p-1", "spell_cast", "c-7", "s-1"),
        ("m-2", "a-1", "identify", None, None),
        ("m-3", "p-1", "page", None, None),
    ]
    assert home.rejected().is_empty()


def configure(home: Home, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    home.path.mkdir(parents=True, exist_ok=True)
    path = home.path / "sources.toml"
    path.write_text(text)
    path.chmod(0o600)
    monkeypatch.setenv("DATA_PLATFORM_SOURCES", str(path))
    settings.cache_clear()
    return path


def test_a_section_says_another_name_and_another_mapping(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configure(
        home,
        monkeypatch,
        """
[http.game]
[http.game.batch]
types = ["track"]
[http.game.batch.fields]
event_id = ["messageId"]
player_id = ["properties.hero"]
timestamp = ["sent"]
event_type = ["event"]
""",
    )
    message = {"type": "track", "event": "x", "messageId": "m", "sent": "2024-01-03", "properties": {"hero": "h-1"}}
    with collecting(home) as client:
        assert client.post("/v1/batch", json={"batch": [message, message | {"type": "page"}]}).json()["accepted"] == 1
    folder = home.landing / "player_events"
    assert positions(home.lake, folder) == {"http:game": Position(0, 1)}
    (section,) = sections(path)
    (table,) = section.external_tables()
    reader = section.connect(ways(home.lake, landing_sources()))
    (state,) = table.of(reader.states())
    assert (table.key, table.source, state.position, state.watermark) == (("http", "game"), "player_events", 1, None)
    with collecting(home) as client:
        assert accepted(post(client, *named("later"))) == 1
    (state,) = reader.states()
    assert state.position == 2
    assert state.watermark is not None


def test_segments_are_as_rare_as_the_section_says(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home.landing / "player_events"
    for seconds, segments in ((0.05, 3), (60, 1)):
        configure(home, monkeypatch, f"[http.every-{segments}]\nseal_seconds = {seconds}")
        with collecting(home) as client:
            for number in range(3):
                assert accepted(post(client, *named(f"{number}"))) == 1
                time.sleep(0.3)
        assert len(list(folder.glob(f"http.every-{segments}~*.zst"))) == segments


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[http.game]\nsource = "player_event"', "player_events"),
        ("[http.game]\nsorce = 1", "sorce"),
        ("[http.a]\n[http.b]", "--name: a, b"),
        ('[http.game.batch]\nfields = {event_id = "messageId"}', "batch.fields.event_id"),
    ],
)
def test_wrong_sections_are_told_by_name_and_field(
    home: Home, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    configure(home, monkeypatch, text)
    with pytest.raises(PlatformError, match=told), collecting(home):
        pass


def test_a_retry_is_one_clean_event(home: Home) -> None:
    with collecting(home) as client:
        for _ in range(2):
            assert accepted(post(client, *named("same"))) == 1
    home.ingest()
    assert len(home.raw()) == 2
    assert clean_events(home.raw()).clean["event_id"].to_list() == ["same"]
    assert discontinuities(home.lake.scan(IngestionLedger)).collect().is_empty()


def test_the_command_collects_and_seals_what_it_has_when_it_is_stopped(home: Home) -> None:
    running = Process(home)
    assert re.search(r"POST http://127\.0\.0\.1:\d+/v1/events", running.said)
    assert httpx.post(f"{running.url}{EVENTS}", content=GOOD, headers=JSON, timeout=30).status_code == 202
    assert running.stop() == 0
    assert running.said.strip() == ""
    assert stored_ids(home) == ["whole"]
    assert not list((home.landing / "player_events" / "_journal").iterdir())


def test_most_events_is_what_five_megabytes_hold() -> None:
    assert events_module.MOST_EVENTS * len(GOOD) >= 4_000_000
