"""A tenant's token reads its rows and no others, at every door: 2,500 hostile requests, not one foreign row.
Not here: what is answered (test_query_api)."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import polars as pl
import pytest

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.domains.metering.queries import QUERIES
from data_platform.web.query.access import Access, new_query_token
from data_platform.web.query.application import QueryApi
from data_platform_tests.support.tenants import (
    DAYS,
    OPERATOR,
    TENANTS,
    Asking,
    Response,
    asking,
    bearer,
    fill,
    mark_of,
    share_of,
    token_of,
    tokens_file,
)  # fmt: skip

HOSTILE = (
    "%", "_", "*", "?", "a%", "acm_", "acme%", "acme*", "ac?e", "[a-z]cme", ".*", "^acme$", "acme|globex", "acme,ACME",
    "acme\x00", "\x00", "acme\x00ACME", "ACME", "Acme", " acme", "acme ", "acme\t", "acme\n", "аcme", "ａｃｍｅ",
    "acme\u200b", "acme\u00ad", "\u202eemca", "nai\u0308ve", "naïve", "ⓐcme", "ℵ", "İ", "ß", "\U000e0061cme",
    "' OR '1'='1", "acme' OR 1=1 --", "'; DROP TABLE tenants; --", "acme') UNION SELECT * FROM t --", '" OR ""="',
    "${tenant}", "{{tenant_id}}", "$(id)", "`id`", "../acme", "globex/../acme", "%2e%2e%2facme", "%61cme", "%2561cme",
    "null", "None", "NULL", "true", "NaN", "[]", "{}", '["ACME"]', '{"$ne": null}', "tenant_id", "=acme", "!acme", "",
    "acme&tenant_id=ACME", "acme#", "acme;tenant_id=ACME", "0x61636d65", "read_parquet('/etc/passwd')", "a" * 500,
)  # fmt: skip
FORMATS = ("json", "csv", "parquet", "arrow", "ndjson")
MARK = re.compile(r"mark\d\dx")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    fill(lake, DAYS[1:3])
    access = Access(tokens_file(tmp_path_factory.mktemp("tokens")), open_here=True)
    with asking(QueryApi(QUERIES, lake, access)) as one:
        yield one


class Attacker:
    """Makes requests that try to see more, seeded so that a failure can be repeated."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def request(self) -> tuple[str, str, dict[str, str]]:
        """(path, query, headers without the token)."""
        chance = self._chance
        path = chance.choice(
            ("/v1/costs", "/v1/usage", "/v1/costs", "/v1/costs/export", "/v1/usage/export", "/v1/costs/focus")
        )
        if chance.random() < 0.03:
            path = chance.choice(
                (f"/v1/costs/{quote(self._value())}", "/v1/%63osts", "/v1/costs/../usage", "/v1/costs//")
            )
        pairs = [self._pair(path) for _ in range(chance.randint(0, 2 if path.endswith("focus") else 4))]
        period = (
            [("month", chance.choice(("2024-01", "2024-02")))]
            if path.endswith("focus")
            else [("from", str(DAYS[0])), ("to", str(DAYS[-1]))]
        )
        pairs += period if chance.random() < 0.9 else []
        chance.shuffle(pairs)
        headers = {"accept": "text/csv"} if chance.random() < 0.2 else {}
        headers |= {"x-tenant-id": "ACME", "tenant": "*"} if chance.random() < 0.05 else {}
        return path, "&".join(f"{self._encoded(name)}={self._encoded(value)}" for name, value in pairs), headers

    def _value(self) -> str:
        return self._chance.choice((*HOSTILE, *TENANTS))

    def _pair(self, path: str) -> tuple[str, str]:
        chance = self._chance
        kind = chance.random()
        if kind < 0.35:
            return chance.choice(
                ("tenant_id", "tenant_id", "tenant_id", "tenant", "Tenant_ID", "tenant_id[]")
            ), self._value()
        if kind < 0.55:
            return chance.choice(("model", "project_id", "feature", "user_id", "currency")), self._value()
        if kind < 0.7 and "export" not in path:
            names = [
                "tenant_id",
                "model",
                "project_id",
                "user_id",
                "day",
                "month",
                "hour",
                "currency",
                "1",
                self._value(),
            ]
            return "group_by", ",".join(chance.sample(names, chance.randint(1, 3)))
        if kind < 0.8 and "export" not in path:
            return "measures", chance.choice(
                ("cost", "calls", "cost,calls", "total_tokens", "sum(cost)", self._value())
            )
        if kind < 0.9:
            return "format", chance.choice(FORMATS)
        return chance.choice(("order", "limit", "month", "where", "sql", "q")), chance.choice(
            ("-calls", "5", self._value())
        )

    def _encoded(self, text: str) -> str:
        """As a client sends it, or more, or less."""
        how = self._chance.random()
        if how < 0.8:
            return quote(text, safe="")
        if how < 0.9:
            return "".join(f"%{byte:02X}" for byte in text.encode())
        return quote(quote(text, safe=""), safe="") if how < 0.95 else text


def foreign(answer: Response, tenant: str) -> str | None:
    """What of another tenant is in an answer: a text of his rows, or a sum that his rows are part of."""
    texts, sums = _told(answer)
    if others := {found for text in texts for found in MARK.findall(text)} - {mark_of(tenant)}:
        return f"marks {others}"
    share = share_of(tenant)
    odd = [number for number in sums if number % share or not 0 <= number < 1000 * share]
    return f"sums {odd}" if odd else None


def _told(answer: Response) -> tuple[list[str], list[int]]:
    """Every text of an answer, and every number of its rows."""
    kind = answer.headers["content-type"]
    if answer.status == 200 and kind.endswith("parquet"):
        frame = pl.read_parquet(io.BytesIO(answer.body))
    elif answer.status == 200 and kind.endswith("arrow.stream"):
        frame = pl.read_ipc_stream(io.BytesIO(answer.body))
    elif answer.status == 200 and kind == "text/csv":
        frame = pl.read_csv(io.BytesIO(answer.body), infer_schema=False)
    elif answer.status == 200 and kind == "application/x-ndjson":
        frame = pl.DataFrame([json.loads(line) for line in answer.body.splitlines()], infer_schema_length=None)
    elif answer.status == 200 and kind == "application/json":
        frame = pl.DataFrame(json.loads(answer.body)["rows"], infer_schema_length=None)
    else:
        return [answer.body.decode()], []
    measured = [name for name in ("calls", "total_tokens") if name in frame.columns]
    sums = [int(value) for name in measured for value in frame[name].drop_nulls()]
    return [str(frame.rows())], sums


def attack(api: Asking, requests: int, seed: int) -> dict[int, int]:
    """Send so many, each with one tenant's token; how often which status was answered."""
    attacker, chance, statuses = Attacker(seed), random.Random(seed), dict[int, int]()
    for number in range(requests):
        tenant = chance.choice(TENANTS)
        path, query, headers = attacker.request()
        answer = api.get(path, query, headers | bearer(token_of(tenant)))
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status != 304:
            seen = foreign(answer, tenant)
            assert seen is None, f"request {number} of seed {seed} by {tenant!r}: {path}?{query}: {seen}"
    return statuses


def test_ten_thousand_hostile_requests_show_not_one_foreign_row(api: Asking) -> None:
    statuses = attack(api, 10_000, seed=1)
    assert statuses.keys() <= {200, 400, 403, 404, 406, 422}, f"nothing breaks either: {statuses}"
    assert min(statuses.get(200, 0), statuses.get(403, 0), statuses.get(422, 0)) > 1_000, statuses


@pytest.mark.soak
def test_hundreds_of_thousands_of_hostile_requests(api: Asking) -> None:
    for seed in range(2, 22):
        attack(api, 10_000, seed)


def test_each_tenant_sees_all_that_is_its_own(api: Asking) -> None:
    for tenant in TENANTS:
        asked = urlencode({"from": str(DAYS[0]), "to": str(DAYS[-1]), "group_by": "tenant_id", "measures": "calls"})
        mine = json.loads(api.get("/v1/usage", asked, bearer(token_of(tenant))).body)["rows"]
        assert mine == [{"tenant_id": tenant, "calls": 2 * 15 * share_of(tenant)}]
        named = api.get("/v1/usage", f"{asked}&{urlencode({'tenant_id': tenant})}", bearer(token_of(tenant)))
        assert json.loads(named.body)["rows"] == mine, "to name oneself is no offence"
    everybody = json.loads(api.get("/v1/usage", asked, bearer(OPERATOR)).body)["rows"]
    assert {row["tenant_id"] for row in everybody} == {*TENANTS}


def test_another_tenant_is_refused_whether_there_is_one_or_not(api: Asking) -> None:
    answers = [
        api.get("/v1/costs", urlencode({"tenant_id": asked}, doseq=True), bearer(token_of("acme")))
        for asked in ("ACME", "nobody", ["acme", "ACME"], "")
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}


def test_an_etag_of_another_tenant_is_no_answer(api: Asking) -> None:
    asked = urlencode({"from": str(DAYS[0]), "to": str(DAYS[-1])})
    his = api.get("/v1/costs", asked, bearer(token_of("ACME"))).headers["etag"]
    mine = api.get("/v1/costs", asked, bearer(token_of("acme")) | {"if-none-match": his})
    assert (mine.status, mine.headers["etag"] != his) == (200, True)


@pytest.mark.parametrize(
    "right", ["", 'tenants = "acme"', 'tenant = ""', 'tenant = "a"\ntenants = "*"', 'tenants = ["*"]', "tenant = 1"]
)
def test_a_token_is_for_one_tenant_or_says_that_it_is_for_all(tmp_path: Path, right: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(f'[[tokens]]\nname = "x"\nsha256 = "{"0" * 64}"\n{right}\n')
    with pytest.raises(PlatformError, match=r"tokens\.0"):
        Access(path, open_here=True)


def test_without_a_token_nothing_is_told(api: Asking) -> None:
    for path in ("/v1/costs", "/v1/costs/export", "/v1/openapi.json", "/v1/costs/nothing"):
        for headers in ({}, bearer("wrong"), {"authorization": f"Basic {OPERATOR}"}):
            answer = api.get(path, "", headers)
            assert (answer.status, MARK.search(answer.body.decode())) == (401, None)
        assert api.get(path, f"token={OPERATOR}").status == 401, "never in an address, which is logged"


def test_the_entry_that_is_printed_lets_in(tmp_path: Path) -> None:
    for tenant in ("a'c\"me \\ ü", None):
        token, entry = new_query_token("finance", tenant)
        (tmp_path / "tokens.toml").write_text(entry)
        with asking(QueryApi(QUERIES, Lake(str(tmp_path / "lake")), Access(tmp_path / "tokens.toml", False))) as api:
            assert api.get("/v1/costs", "", bearer(token)).status == 200
