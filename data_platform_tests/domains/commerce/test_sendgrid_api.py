"""SendGrid: numbers of days from its API, events from its webhook, over real HTTP and with real signatures.
Oracle: what was sent."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import polars as pl
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from data_platform.core.errors import PlatformError
from data_platform.domains.commerce.contracts.sources import (
    RawSendgridEvents,
    RawSendgridEventsRejected,
    RawSendgridStats,
)
from data_platform.sources.connectors import Section
from data_platform.sources.rest.mounted import beside, webhooks
from data_platform_tests.support.homes import Home, Row, kill
from data_platform_tests.support.http_server import served
from data_platform_tests.support.rest_reading import gaps, newest, read_all, ways

PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(
    PRIVATE.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
HOOK = "/webhooks/mail"
TODAY = dt.datetime.now(dt.UTC).date()


def section(**more: object) -> Section:
    start = TODAY - dt.timedelta(days=70)
    return Section("rest", "mail", {"api": "sendgrid", "key": "SG.x", "start": start, "webhook_key": PUBLIC} | more)


# --------------------------------------------------------------------------- numbers of days
def test_every_day_is_read_when_it_is_over_and_again_while_its_numbers_grow(home: Home) -> None:
    days = {str(TODAY - dt.timedelta(days=age)): age for age in range(80)}
    grown = 0

    async def stats(request: Request) -> Response:
        asked = request.query_params
        assert asked["aggregated_by"] == "day"
        told = [day for day in sorted(days) if asked["start_date"] <= day <= asked["end_date"]]
        return JSONResponse([{"date": day, "stats": [{"metrics": {"opens": days[day] + grown}}]} for day in told])

    with served(Starlette(routes=[Route("/v3/stats", stats)])) as server:
        of = section(base_url=str(server.base_url), settle="0s")
        read_all(home, of)
        found = newest(home, RawSendgridStats)
        assert sorted(found) == [day for day in sorted(days) if 1 <= days[day] <= 70], "today is not over"
        assert all(one["stats"][0]["metrics"]["opens"] == days[day] for day, one in found.items())
        grown = 1000
        read_all(home, of)
        assert newest(home, RawSendgridStats) == found, "nothing is asked for until a further day is over"
    assert gaps(home).is_empty()


# ----------------------------------------------------------------------------------- webhook
def event(number: int, **more: object) -> Row:
    made = {"sg_event_id": f"e-{number}", "sg_message_id": f"m-{number}", "event": "open", "email": "a@example.org"}
    return {**made, "timestamp": int(time.time()) - 60, "user_id": "u-1", **more}


def signed(body: bytes, at: float | None = None, key: ec.EllipticCurvePrivateKey = PRIVATE) -> dict[str, str]:
    timestamp = str(int(at if at is not None else time.time()))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }


@contextmanager
def receiving(home: Home) -> Iterator[httpx.Client]:
    with webhooks([section()], ways(home)) as hooks, served(beside(Starlette(), hooks)) as client:
        yield client


def post(client: httpx.Client, *events: Row, at: float | None = None) -> int:
    body = json.dumps(events).encode()
    return client.post(HOOK, content=body, headers=signed(body, at)).status_code


def waiting(home: Home) -> list[Path]:
    return sorted((home.landing / "sendgrid_events").glob("*.zst"))


def test_events_are_on_disk_before_they_are_acknowledged_and_stored_once(home: Home) -> None:
    with receiving(home) as client:
        assert post(client, event(1), event(2), event(2)) == 200
        assert len(waiting(home)) == 1
        home.ingest()
        body = json.dumps([event(3)]).encode()
        headers = signed(body)
        assert [client.post(HOOK, content=body, headers=headers).status_code for _ in range(3)] == [200] * 3
        assert post(client, event(2), event(4)) == 200, "what is delivered again comes with a new signature"
    with receiving(home) as client:  # after a restart
        assert post(client, event(5, timestamp="soon"), event(6)) == 200
        assert post(client) == 200
    home.ingest()
    assert sorted(home.rows(RawSendgridEvents)["object_id"]) == ["e-1", "e-2", "e-3", "e-4", "e-6"]
    assert home.rows(RawSendgridEventsRejected)["reason"].to_list() == ["wrong_type_created_at"]
    assert gaps(home).is_empty()
    stretches = home.ledger().filter(pl.col("stream") == "rest:mail/events").sort("begin_position")
    assert stretches.select("begin_position", "end_position").rows() == [(0, 2), (2, 3), (3, 4), (4, 6)]


def test_what_is_not_signed_for_now_is_refused_and_leaves_nothing(home: Home) -> None:
    body = json.dumps([event(1)]).encode()
    other = ec.generate_private_key(ec.SECP256R1())
    good = signed(body)
    name, at = good
    refused: list[tuple[bytes, dict[str, str]]] = [
        (body, {}),
        (body, {at: good[at]}),
        (body, {name: good[name]}),
        (body + b" ", good),
        (body, {**good, at: str(int(good[at]) + 1)}),
        (body, {**good, at: "now"}),
        (body, {**good, at: "9" * 400}),
        (body, {**good, name: "no base64!"}),
        (body, {**good, name: "AAAA"}),
        (body, signed(body, key=other)),
        (body, signed(body, time.time() - 26 * 3600)),
        (body, signed(body, time.time() + 600)),
    ]
    with receiving(home) as client:
        assert [client.post(HOOK, content=one, headers=headers).status_code for one, headers in refused] == [403] * len(
            refused
        )
        assert client.get(HOOK).status_code == 405
        assert client.post(HOOK, content=b"x" * (9 << 20), headers=good).status_code == 413
        assert waiting(home) == []
        assert client.post(HOOK, content=body, headers=signed(body, time.time() - 3600)).status_code == 200


def test_a_signed_body_that_cannot_be_read_is_kept_as_a_rejected_line(home: Home) -> None:
    with receiving(home) as client:
        for body in (b"{\n", b'{"sg_event_id": "e"}', b"[1, null]"):
            assert client.post(HOOK, content=body, headers=signed(body)).status_code == 200
    home.ingest()
    assert len(home.rows(RawSendgridEventsRejected)) == 4
    assert home.rows(RawSendgridEvents).is_empty()


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/dev/full").exists(), reason="nothing to fail on")
def test_what_cannot_be_written_is_to_be_sent_again(home: Home) -> None:
    with receiving(home) as client:
        folder = home.landing / "sendgrid_events"
        aside = folder.rename(folder.with_name("aside"))
        folder.write_text("no folder")
        assert post(client, event(1)) == 503
        folder.unlink()
        aside.rename(folder)
        assert post(client, event(1)) == 200
    home.ingest()
    assert home.rows(RawSendgridEvents)["object_id"].to_list() == ["e-1"]


def test_one_process_receives_and_a_section_without_a_key_nothing(home: Home) -> None:
    with receiving(home) as client:
        assert client.get("/other").status_code == 404
        with webhooks([section()], ways(home)) as others:
            assert others == {}, "another collector leaves it to this one"
    with webhooks([section(webhook_key=None), Section("kafka", "k", {})], ways(home)) as hooks:
        assert hooks == {}
    wrong = section(webhook_key="c2VjcmV0")
    with pytest.raises(PlatformError, match="no public key"), webhooks([wrong], ways(home)):
        pass


def test_the_collector_serves_it(home: Home) -> None:
    sources = home.path / "sources.toml"
    sources.parent.mkdir(parents=True)
    sources.write_text(f'[rest.mail]\napi = "sendgrid"\nkey = "SG.x"\nstart = 2024-01-01\nwebhook_key = "{PUBLIC}"\n')
    process = home.start(
        "-m",
        "data_platform_tests.support.command",
        "serve",
        "collector",
        "--port",
        "0",
        DATA_PLATFORM_SOURCES=str(sources),
        COLUMNS="500",
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        told = re.search(r"(http://\S+/webhooks/mail)", line)
        assert told, line
        body = json.dumps([event(1)]).encode()
        posted = [httpx.post(told[1], content=body, headers=headers) for headers in (signed(body), {})]
        assert [answer.status_code for answer in posted] == [200, 403]
        assert len(waiting(home)) == 1
    finally:
        kill(process)


def test_the_webhook_is_shown_where_its_key_is_given() -> None:
    assert [one.key for one in section().external_tables()] == [("rest", "mail", "stats"), ("rest", "mail", "events")]
    assert [one.key for one in section(webhook_key=None).external_tables()] == [("rest", "mail", "stats")]
