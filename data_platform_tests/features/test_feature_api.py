"""The feature API on a real server: what it answers, what it refuses, and that nothing breaks it.
Not here: who may ask (test_feature_api_access), the stores (test_online_store)."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx
import polars as pl
import pyarrow as pa
import pytest

from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.features.api.historical import ARROW
from data_platform_tests.support.feature_home import DAY, ODD_PLAYER, PLAYERS, SET, TODAY, churn_rows, fill, serving
from data_platform_tests.support.homes import Home

FEATURES = [name for name in PlayerChurnFeatures.columns if name not in PlayerChurnFeatures.primary_key]
ONE, BATCH, HISTORICAL = f"/v1/features/{SET}", f"/v1/features/{SET}:batch", f"/v1/features/{SET}:historical"


@pytest.fixture
def client(home: Home) -> Iterator[httpx.Client]:
    fill(home)
    with serving(home) as (client, _):
        yield client


def expected(player: str) -> dict[str, Any]:
    """Money is text in JSON: a decimal must not become a float."""
    row = churn_rows().filter(pl.col("player_id") == player).row(0, named=True)
    return {name: str(row[name]) if isinstance(row[name], Decimal) else row[name] for name in FEATURES}


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["type"]) == (status, f"urn:data-platform:problem:{kind}")
    assert not [word for word in ("Traceback", "sqlite", "/tmp", "SELECT") if word in answer.text]
    return dict(document)


def test_one_player_with_the_very_values_of_the_lake(client: httpx.Client) -> None:
    for player in (*PLAYERS[:4], ODD_PLAYER):
        answer = client.get(f"{ONE}/{quote(player, safe='')}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        answered = answer.json()
        assert answered["player_id"] == player
        assert repr(answered["features"]) == repr(expected(player)), "to the last bit, in declared order"
        assert (answered["snapshot_date"], answered["table_version"]) == (DAY.isoformat(), 1)
        assert (answered["contract_version"], answered["stale"]) == (PlayerChurnFeatures.version(), False)
        midnight = dt.datetime.combine(TODAY, dt.time(), dt.UTC)
        assert math.isclose(answered["age_seconds"], (dt.datetime.now(dt.UTC) - midnight).total_seconds(), abs_tol=30)


def test_chosen_features_come_in_the_order_asked_for(client: httpx.Client) -> None:
    wanted = ["weekend_ratio", "preferred_themes", "avg_session_duration_minutes"]
    answered = client.get(f"{ONE}/player-0", params={"features": ",".join(wanted)}).json()
    assert list(answered["features"].items()) == [(name, expected("player-0")[name]) for name in wanted]
    batch = client.post(BATCH, json={"player_ids": ["player-1", "player-0"], "features": wanted}).json()
    assert batch["features"] == wanted
    assert batch["vectors"][1]["values"] == [expected("player-0")[name] for name in wanted]


def test_a_batch_keeps_the_order_repeats_and_those_who_are_missing(client: httpx.Client) -> None:
    asked = ["player-3", "nobody\n"[:6], ODD_PLAYER, "player-3", '","', "'; DROP TABLE vectors; --"]
    answer = client.post(BATCH, json={"player_ids": asked})
    answered = answer.json()
    assert [vector["player_id"] for vector in answered["vectors"]] == asked
    assert [vector["found"] for vector in answered["vectors"]] == [True, False, True, True, False, False]
    assert answered["features"] == FEATURES
    for vector in answered["vectors"]:
        if vector["found"]:
            assert vector["values"] == list(expected(vector["player_id"]).values())
            assert (vector["snapshot_date"], vector["table_version"], vector["stale"]) == (DAY.isoformat(), 1, False)
    assert len(client.post(BATCH, json={"player_ids": ["player-1"] * 1000}).json()["vectors"]) == 1000


def test_a_new_snapshot_is_served_at_once_and_an_old_one_says_that_it_is_stale(home: Home) -> None:
    fill(home, TODAY - dt.timedelta(3), events=1)
    with serving(home) as (client, _):
        before = client.get(f"{ONE}/player-0").json()
        assert (before["features"]["total_events"], before["stale"]) == (1, True)
        assert before["age_seconds"] > 26 * 3600
        fill(home, DAY, events=2)
        after = client.get(f"{ONE}/player-0").json()
        assert (after["features"]["total_events"], after["stale"], after["table_version"]) == (2, False, 2)


def test_the_catalogue_tells_what_contracts_say_and_what_is_served(client: httpx.Client) -> None:
    sets = {one["name"]: one for one in client.get("/v1/features").json()["feature_sets"]}
    assert sets[SET]["online"]["players"] == len(PLAYERS)
    assert sets["player_campaign_features"]["online"] is None
    minutes = next(f for f in sets[SET]["features"] if f["name"] == "max_session_duration_minutes")
    assert (minutes["unit"], minutes["nullable"]) == ("min", True)
    assert "Longest session" in minutes["description"]
    problem(client.get("/v1/features/player_campaign_features/player-1"), 404, "not-served")
    document = client.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert f"/v1/features/{SET}:batch" in document["paths"]


def test_history_is_joined_as_of_each_moment(home: Home) -> None:
    fill(home, TODAY - dt.timedelta(3), events=100)
    fill(home, TODAY - dt.timedelta(2), events=200)
    noon = dt.datetime.combine(TODAY, dt.time(12), dt.UTC)
    moments = [noon - dt.timedelta(1), noon - dt.timedelta(2), noon - dt.timedelta(9), noon - dt.timedelta(1)]
    asked = pl.DataFrame({"player_id": ["player-1", "player-2", "player-1", "nobody"], "event_timestamp": moments})
    with serving(home) as (client, _):
        answer = client.post(
            f"{HISTORICAL}?features=total_events,preferred_themes",
            content=arrow(asked),
            headers={"content-type": ARROW},
        )
        assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW), answer.text
        answered = pl.read_ipc_stream(io.BytesIO(answer.content))
        assert answered["player_id"].to_list() == asked["player_id"].to_list()
        assert answered["total_events"].to_list() == [201, 102, None, None]
        naive = asked.with_columns(pl.col("event_timestamp").dt.replace_time_zone(None))
        refused = client.post(HISTORICAL, content=arrow(naive), headers={"content-type": ARROW})
        answered = problem(refused, 422, "unusable-entities")
        assert "time zone" in answered["detail"] + answered["remedy"]
        missing = client.post(HISTORICAL, content=arrow(asked.drop("event_timestamp")), headers={"content-type": ARROW})
        assert "event_timestamp" in problem(missing, 422, "unusable-entities")["detail"]


def arrow(frame: pl.DataFrame, compression: Any = "uncompressed") -> bytes:
    written = io.BytesIO()
    frame.write_ipc_stream(written, compression=compression, compat_level=pl.CompatLevel.oldest())
    return written.getvalue()


def stream_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_arrow_from_outside_is_proven_before_it_is_read(client: httpx.Client) -> None:
    sound = pl.DataFrame({"player_id": ["player-1"] * 50, "event_timestamp": [dt.datetime.now(dt.UTC)] * 50})
    post = lambda body: client.post(HISTORICAL, content=body, headers={"content-type": ARROW})  # noqa: E731
    problem(post(b""), 400, "malformed-arrow")
    problem(post(b"\x00" * 1000), 400, "malformed-arrow")
    problem(post(json.dumps({"player_id": ["a"]}).encode()), 400, "malformed-arrow")
    problem(post(arrow(sound, "zstd")), 415, "unsupported-encoding")
    few, many = (rows.to_bytes(8, "little") for rows in (54_321, 10**12))
    claimed = stream_of(pa.table({"player_id": pa.nulls(54_321)}))
    problem(post(claimed), 422, "unsupported-column")
    assert few in claimed
    problem(post(claimed.replace(few, many)), 422, "too-many-rows")
    problem(post(stream_of(pa.table({"player_id": pa.nulls(3)}))), 422, "unsupported-column")
    problem(post(stream_of(pa.table({"player_id": [["nested"]]}))), 422, "unsupported-column")
    problem(post(stream_of(pa.table([["a"], ["b"]], names=["player_id", "player_id"]))), 422, "repeated-column")
    problem(post(b"x" * (33 * 1024 * 1024)), 413, "too-large")
    body = arrow(sound)
    for cut in range(0, len(body), 97):
        assert post(body[:cut]).status_code in (200, 400, 422)
        broken = bytearray(body)
        broken[cut] ^= 0xFF
        assert post(bytes(broken)).status_code in (200, 400, 415, 422)
    wide = pa.array([Decimal(1)], pa.decimal256(50, 2))
    problem(post(stream_of(pa.table({"player_id": ["a"], "x": wide}))), 422, "unsupported-column")
    # Metadata is ignored, whatever it claims: Polars panics on some that is not UTF-8.
    odd = pa.field("player_id", pa.string(), metadata={b"ARROW:extension:name": b"\xff", b"\xfe": b"\xff"})
    rows = [pa.array(["player-1"]), pa.array([dt.datetime.now(dt.UTC)], pa.timestamp("us", "UTC"))]
    schema = pa.schema([odd, pa.field("event_timestamp", rows[1].type)], metadata={b"pandas": b"\xff{{{"})
    assert post(stream_of(pa.table(rows, schema=schema))).status_code == 200
    assert client.get(f"{ONE}/player-0").status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "kind", "hint"),
    [
        ("/v1/features/player_churn_feature/p", 404, "unknown-feature-set", "player_churn_features"),
        ("/v1/features/'; DROP TABLE x; --/p", 404, "unknown-feature-set", ""),
        ("/v1/features/..%2F..%2Fetc%2Fpasswd/p", 404, "unknown-feature-set", ""),
        (f"{ONE}/nobody", 404, "unknown-player", ""),
        (f"{ONE}/..%2F..%2F..%2Fetc%2Fpasswd", 404, "unknown-player", ""),
        (f"{ONE}/' OR '1'='1", 404, "unknown-player", ""),
        (f"{ONE}/a%00b", 422, "malformed-id", ""),
        (f"{ONE}/a%0Ab", 422, "malformed-id", ""),
        (f"{ONE}/{'x' * 257}", 422, "malformed-id", "256"),
        (f"{ONE}/{'x' * 30_000}", 422, "malformed-id", "256"),
        (f"{ONE}/%FF%FE", 400, "malformed-path", ""),
        (f"{ONE}/player-1?features=total_event", 422, "unknown-feature", "total_events"),
        (f"{ONE}/player-1?features=", 422, "no-features", ""),
        (f"{ONE}/player-1?features=%FF", 400, "malformed-query", ""),
        (f"{ONE}/player-1?feature=total_events", 422, "unknown-parameter", "features"),
        (f"{ONE}/player-1?features=level_ups&features=level_ups", 422, "repeated-parameter", ""),
        (f"{ONE}/", 404, "no-such-address", ""), ("/v1/", 404, "no-such-address", ""),
        (f"{ONE}/a/b", 404, "no-such-address", ""), ("/v1/features/", 404, "no-such-address", ""),
        (BATCH, 405, "method-not-allowed", "POST"),
    ],
)  # fmt: skip
def test_addresses_that_are_wrong(home: Home, path: str, status: int, kind: str, hint: str) -> None:
    fill(home)
    with serving(home) as (client, _):
        answered = problem(client.get(path), status, kind)
        assert hint in json.dumps(answered)
        assert len(json.dumps(answered)) < 2_000, "a long request is not echoed"
        assert client.get(f"{ONE}/player-0").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "malformed-json"), (b"{", 400, "malformed-json"), (b"\xff", 400, "malformed-json"),
        (b"[" * 100_000, 400, "malformed-json"), (b"1" * 10_000, 400, "malformed-json"),
        (b"[]", 422, "malformed-request"), (b"{}", 422, "malformed-request"), (b"null", 422, "malformed-request"),
        (b'{"player_ids": "player-1"}', 422, "malformed-request"), (b'{"player_ids": []}', 422, "malformed-request"),
        (b'{"player_ids": [1]}', 422, "malformed-id"), (b'{"player_ids": [null]}', 422, "malformed-id"),
        (b'{"player_ids": [["a"]]}', 422, "malformed-id"), (b'{"player_ids": [""]}', 422, "malformed-id"),
        (b'{"player_ids": ["\\ud800"]}', 422, "malformed-id"), (b'{"player_ids": ["a\\u0000"]}', 422, "malformed-id"),
        (b'{"player_ids": ["a\\nb"]}', 422, "malformed-id"), (b'{"player_ids": ["a", "b\\nc"]}', 422, "malformed-id"),
        (json.dumps({"player_ids": ["x\n" * 500_000 + "x"]}).encode(), 422, "malformed-id"),
        (b'{"player_ids": ["a"], "features": "level_ups"}', 422, "malformed-request"),
        (b'{"player_ids": ["a"], "features": [1]}', 422, "malformed-request"),
        (b'{"player_ids": ["a"], "features": null}', 422, "malformed-request"),
        (b'{"player_ids": ["a"], "features": []}', 422, "no-features"),
        (b'{"player_ids": ["a"], "features": ["level_up"]}', 422, "unknown-feature"),
        (b'{"player_id": ["a"]}', 422, "unknown-field"),
        (json.dumps({"player_ids": ["a"] * 1001}).encode(), 422, "too-many-ids"),
        (json.dumps({"player_ids": ["a"] * 10_000_000}).encode(), 413, "too-large"),
    ],
)  # fmt: skip
def test_batches_that_are_wrong(client: httpx.Client, body: bytes, status: int, kind: str) -> None:
    problem(client.post(BATCH, content=body, headers={"content-type": "application/json"}), status, kind)
    assert client.get(f"{ONE}/player-0").status_code == 200


def test_other_methods_media_types_and_encodings_are_refused(client: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert client.request(method, f"{ONE}/player-0").headers["allow"] == "GET"
    sound = json.dumps({"player_ids": ["player-0"]})
    for wrong in ({"content-type": "text/plain"}, {}, {"content-type": ARROW}):
        problem(client.post(BATCH, content=sound, headers=wrong), 415, "unsupported-media-type")
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    problem(client.post(BATCH, content=sound, headers=packed), 415, "unsupported-encoding")
    json_type = {"content-type": "application/json; charset=utf-8"}
    assert client.post(BATCH, content=sound, headers=json_type).status_code == 200

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 100_000

    problem(client.post(BATCH, content=endless(), headers=json_type), 413, "too-large")


def test_a_client_that_goes_away_in_the_middle_harms_nobody(client: httpx.Client) -> None:
    address = (client.base_url.host, client.base_url.port or 0)
    for path, kind in ((BATCH, "application/json"), (HISTORICAL, ARROW)):
        for _ in range(5):
            with socket.create_connection(address) as one:
                head = (
                    f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
                )
                one.sendall(head.encode() + b"{" * 10)
    assert client.get(f"{ONE}/player-0").status_code == 200
    empty = arrow(pl.DataFrame({"player_id": ["player-1"], "event_timestamp": [dt.datetime.now(dt.UTC)]}))
    answer = client.post(HISTORICAL, content=empty, headers={"content-type": ARROW})
    assert answer.status_code == 200, "no place is taken by those who left"
