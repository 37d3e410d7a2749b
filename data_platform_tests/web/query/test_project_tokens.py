"""Tokens for some of a tenant's projects: sums, exports, search and pictures show not one row of another project,
whatever is asked, and what does not tell projects apart is refused. Not here: tenants (test_tenancy)."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import polars as pl
import pytest
from pydantic import SecretStr

from data_platform.core.errors import PlatformError
from data_platform.core.http.endpoints import Endpoint
from data_platform.core.lake.store import Lake
from data_platform.domains.metering.contracts.costs import TenantDailyCosts, UsageCosts
from data_platform.domains.metering.contracts.rollups import TenantModelDays
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.queries import QUERIES
from data_platform.domains.research.contracts.graph import Concepts, PersonaCommunities, PersonaSimilarity
from data_platform.domains.research.endpoints import ENDPOINTS, FIELDS
from data_platform.observability.health.facts import Collector
from data_platform.web.app import application
from data_platform.web.query.access import Access, new_query_token
from data_platform.web.query.application import QueryApi
from data_platform_tests.support.research_rows import NOON, frame
from data_platform_tests.support.search_rows import changed, embedded, open_answer, publish, question, spoken, texts_of
from data_platform_tests.support.tenants import Asking, Response, asking, bearer, rows_of

TENANT, OTHER = "acme", "ACME"
PROJECTS = ("p1", "P1", "p1 ", "p*", "%", "p1/p2", "рp1", "p1\u200b", "a'b", "p2")
"""Names that are taken for each other; the seventh begins with a Cyrillic letter."""
DAY = NOON.date()
PERIOD = {"from": str(DAY), "to": str(DAY)}
MINE = ("p1", "p2")
MARK = re.compile(r"mark\w\d\dx")
WORDS = ("price", "music")


def mark_of(tenant: str, project: str) -> str:
    return f"mark{tenant[0]}{PROJECTS.index(project):02}x"


def share_of(tenant: str, project: str) -> int:
    """Calls: each project's are a multiple of this power of 10, and no sum with another's rows is."""
    return 10 ** (PROJECTS.index(project) + (0 if tenant == TENANT else 9))


ALL = [(tenant, project) for tenant in (TENANT, OTHER) for project in PROJECTS]


def token_of(tenant: str, *projects: str) -> str:
    return f"token-{hashlib.sha256(repr((tenant, projects)).encode()).hexdigest()}"


def tokens_file(folder: Path) -> Path:
    path = folder / "query_tokens.toml"
    held = [(tenant, (project,)) for tenant, project in ALL] + [(TENANT, MINE), (TENANT, ())]
    path.write_text(
        "\n".join(
            f'[[tokens]]\nname = "{number}"\n'
            f'sha256 = "{hashlib.sha256(token_of(tenant, *projects).encode()).hexdigest()}"\n'
            f"tenant = {json.dumps(tenant)}\n"
            + (f"projects = {json.dumps(projects)}\n" if projects else "")
            + "requests_per_second = 100000\nburst = 100000\n"
            for number, (tenant, projects) in enumerate(held)
        )
    )
    path.chmod(0o600)
    return path


def costs(lake: Lake) -> None:
    rows = [
        {"usage_date": DAY, "tenant_id": tenant, "project_id": project, "feature": f"{mark_of(tenant, project)}f",
         "provider": "openai", "model": f"{mark_of(tenant, project)}m", "user_id": "u", "currency": "USD",
         "calls": share_of(tenant, project), "unpriced_calls": 0, "failed_calls": 0, "input_tokens": 1,
         "cache_read_tokens": 0, "output_tokens": 1, "total_tokens": 2, "cost": Decimal(1), "started_at": NOON,
         "usage_id": f"{mark_of(tenant, project)}u", "status": "ok"}
        for tenant, project in ALL
    ]  # fmt: skip
    for table in (TenantDailyCosts, UsageCosts, LlmUsage):
        lake.replace(table, rows_of(table, rows), [DAY])
    keys = list(TenantModelDays.primary_key)
    summed = rows_of(TenantDailyCosts, rows).group_by(keys).agg(pl.col(pl.Int64, pl.Decimal).sum())
    lake.replace(TenantModelDays, summed.select(list(TenantModelDays.columns)), [DAY])


def texts(lake: Lake) -> None:
    """Every project has a discussion of the same id as the others', a survey too: they lie side by side."""
    of = [({"tenant_id": tenant, "project_id": project}, mark_of(tenant, project)) for tenant, project in ALL]
    events = [
        spoken(f"The {WORDS[n % 2]} {mark}", 2 * at + n + 1, **own) for at, (own, mark) in enumerate(of) for n in (0, 1)
    ]
    people = [changed(f"p-{mark}", name=f"{mark} price", **own) for own, mark in of]
    answers = [open_answer(f"Why the price {mark}", f"a-{mark}", **own) for own, mark in of]
    asked = [
        question(f"What of {mark}?", question_id="q4" if own["project_id"] == "p1" else mark, **own) for own, mark in of
    ]
    publish(lake, embedded(texts_of(events, people, answers=answers, questions=asked), None))


def graphs(lake: Lake) -> None:
    nodes, pairs = [], []
    for tenant, project in [*ALL, (TENANT, None)]:
        mark = mark_of(tenant, project) if project else "everybody's"
        own = {"tenant_id": tenant, "project_id": project}
        measured = {"community": 1, "community_size": 2, "component": 1, "neighbours": 1, "pagerank": 0.1}
        nodes += [own | measured | {"persona_id": f"{mark}-{n}", "name": f"{mark} {n}"} for n in range(2)]
        ends = {"persona_id": f"{mark}-0", "other_persona_id": "marka03x-1", "other_project_id": "p*"}
        pairs.append(own | ends | {"similarity": 0.9, "basis": "traits"})
    spoken_of = [
        {"tenant_id": tenant, "project_id": project, "concept": f"{mark_of(tenant, project)} price", "words": 1,
         "personas": 2, "texts": 3, "mentions": 4, "first_day": DAY, "last_day": DAY}
        for tenant, project in ALL
    ]  # fmt: skip
    for table, rows in ((PersonaCommunities, nodes), (PersonaSimilarity, pairs), (Concepts, spoken_of)):
        lake.replace(table, frame(table, rows), [])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """The whole server: the query API, search, an answer that knows no projects, and the pages."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for fill in (costs, texts, graphs):
        fill(lake)
    deaf = Endpoint("deaf", "", {}, {}, handler=lambda _lake: lambda _asked, _reach: {"told": mark_of(OTHER, "p1")})
    access = Access(tokens_file(tmp_path_factory.mktemp("tokens")), open_here=True)
    query = QueryApi(QUERIES, lake, access, [*ENDPOINTS, deaf])
    tables = [PersonaCommunities, PersonaSimilarity, Concepts]
    app = application(Collector(lake, tables, (), every=3600), SecretStr("a-token-of-sixteen"), query=query)
    with asking(app) as one:
        yield one


def foreign(answer: Response, tenant: str, projects: tuple[str, ...]) -> set[str]:
    own = {mark_of(tenant, project) for project in projects}
    return {*MARK.findall(answer.body.decode("utf-8", "replace"))} - own


def rows(answer: Response) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = json.loads(answer.body)["rows"]
    return found


def hits(answer: Response) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = json.loads(answer.body)["hits"]
    return found


def test_sums_and_exports_are_those_of_the_token_s_projects(api: Asking) -> None:
    for tenant, project in ALL:
        token = bearer(token_of(tenant, project))
        for measured in ({"measures": "calls"}, {"measures": "calls", "group_by": "model"}):
            (row,) = rows(api.get("/v1/usage", urlencode(PERIOD | measured), token))
            assert row["calls"] == share_of(tenant, project), "also where a table without projects has fewer rows"
        exported = api.get("/v1/costs/export", urlencode(PERIOD | {"format": "csv"}), token)
        assert exported.status == 200
        assert {*MARK.findall(exported.body.decode())} == {mark_of(tenant, project)}
    both = rows(api.get("/v1/usage", urlencode(PERIOD | {"measures": "calls"}), bearer(token_of(TENANT, *MINE))))
    assert both == [{"calls": share_of(TENANT, "p1") + share_of(TENANT, "p2")}]
    whole = rows(api.get("/v1/usage", urlencode(PERIOD | {"measures": "calls"}), bearer(token_of(TENANT))))
    assert whole == [{"calls": sum(share_of(TENANT, project) for project in PROJECTS)}]


def test_another_project_is_refused_whether_there_is_one_or_not(api: Asking) -> None:
    token = bearer(token_of(TENANT, *MINE))
    asked = ("P1", "nobody", "", ["p1", "P1"], "p1 ", "*")
    sums = [api.get("/v1/costs", urlencode(PERIOD | {"project_id": one}, doseq=True), token) for one in asked]
    found = [api.post("/v1/search", {"query": "price", "project_id": one}, token) for one in asked]
    of = [f"{TENANT}/{quote(one, safe='')}" for one in asked if isinstance(one, str)]
    pages = [api.get("/graphs", urlencode({"of": one}), token) for one in of]
    for answers in (sums, found, pages):
        assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}
    assert rows(api.get("/v1/costs", urlencode(PERIOD | {"project_id": "p2"}), token))
    assert hits(api.post("/v1/search", {"query": "price", "project_id": ["p2", "p1"]}, token))


def test_search_finds_the_token_s_projects_alone_with_their_own_neighbours(api: Asking) -> None:
    for tenant, project in ALL:
        found = hits(api.post("/v1/search", {"query": "price music", "top": 100}, bearer(token_of(tenant, project))))
        assert {hit["project_id"] for hit in found} == {project}
        assert {hit["text_kind"] for hit in found} == {"event", "answer", "persona"}
        (first,) = [hit for hit in found if hit["sequence"] and hit["sequence"] % 2 == 1]
        assert (first["before"], mark_of(tenant, project) in first["after"]["text"]) == (None, True)
        (answer,) = [hit for hit in found if hit["answer_id"]]
        expected = f"What of {mark_of(tenant, project)}?" if project == "p1" else None
        assert answer["asked"] == expected, "another project's question of the same id is not told"


def test_a_picture_is_of_the_token_s_projects_and_of_those_personas_that_serve_several(api: Asking) -> None:
    page = api.get("/graphs", "", bearer(token_of(TENANT, *MINE)))
    options = re.findall(r'<option value="([^"]*)"', page.body.decode())
    assert options == ["acme/p1", "acme/p2"], "nor all of the tenant"
    for project in MINE:
        page = api.get("/graphs", f"of=acme/{project}", bearer(token_of(TENANT, *MINE)))
        assert {*MARK.findall(page.body.decode())} == {mark_of(TENANT, project)}
        assert b"everybody&#39;s 0" in page.body
    assert api.get("/graphs", "of=acme/", bearer(token_of(TENANT, *MINE))).status == 403
    assert api.get("/graphs", "of=acme/", bearer(token_of(TENANT))).status == 200


def test_what_does_not_tell_projects_apart_is_refused(api: Asking) -> None:
    token = bearer(token_of(TENANT, *MINE))
    refused = [
        api.get("/v1/costs/focus", f"month={DAY:%Y-%m}", token),
        api.post("/v1/deaf", {}, token),
    ]
    said = [(answer.status, json.loads(answer.body)["title"]) for answer in refused]
    assert said == [(403, "Whole tenants alone")] * 2
    assert api.post("/v1/deaf", {}, bearer(token_of(TENANT))).status == 200
    assert api.get("/v1/usage", urlencode(PERIOD | {"measures": "p50_tokens"}), token).status == 422


def test_an_etag_of_other_projects_is_no_answer(api: Asking) -> None:
    asked = urlencode(PERIOD)
    his = api.get("/v1/costs", asked, bearer(token_of(TENANT, "P1"))).headers["etag"]
    mine = api.get("/v1/costs", asked, bearer(token_of(TENANT, "p1")) | {"if-none-match": his})
    assert (mine.status, mine.headers["etag"] != his) == (200, True)


def test_hostile_requests_show_not_one_row_of_another_project(api: Asking) -> None:
    rng = random.Random(11)
    values = [*PROJECTS, TENANT, OTHER, "", "null", "' OR 1=1 --", "p1\x00", "\u202ep1", '["P1"]', "d-1", "s-1"]
    statuses = set()
    for _ in range(3_000):
        tenant, projects = rng.choice([*((tenant, (project,)) for tenant, project in ALL), (TENANT, MINE)])
        token, kind = bearer(token_of(tenant, *projects)), rng.random()
        if kind < 0.4:
            path = rng.choice(("/v1/costs", "/v1/usage", "/v1/costs/export", "/v1/usage/export", "/v1/costs/focus"))
            pairs = [(rng.choice(("project_id", "project_id", "tenant_id", "model", "feature")), rng.choice(values))
                     for _ in range(rng.randint(0, 2))]  # fmt: skip
            pairs += [("group_by", rng.choice(("project_id", "model", "feature,day", "user_id")))] * (
                rng.random() < 0.3
            )
            answer = api.get(path, urlencode([*PERIOD.items(), *pairs]), token)
        elif kind < 0.8:
            body: dict[str, Any] = {"query": rng.choice([*WORDS, "What", "mark", "Ana"]), "top": 100}
            for name in rng.sample(FIELDS, rng.randint(0, 2)):
                body[name] = rng.choice([rng.choice(values), rng.sample(values, 2), rng.randint(-1, 120)])
            answer = api.post("/v1/search", body, token)
        else:
            of = "/".join(quote(rng.choice(values), safe="") for _ in range(rng.randint(1, 3)))
            answer = api.get("/graphs", urlencode({"of": of}), token)
        statuses.add(answer.status)
        assert not foreign(answer, tenant, projects), (tenant, projects, answer.body[:500])
        if answer.status == 200 and answer.headers["content-type"] == "application/json":
            for row in json.loads(answer.body).get("rows", []):
                assert all(row.get("calls", 0) % share_of(tenant, project) == 0 for project in projects[:1])
    assert statuses == {200, 403, 422}


@pytest.mark.parametrize("right", ['projects = ["a"]', 'tenant = "a"\nprojects = []', 'tenant = "a"\nprojects = [""]',
                                   'tenants = "*"\nprojects = ["a"]', 'tenant = "a"\nprojects = "a"'])  # fmt: skip
def test_projects_are_some_of_one_tenant_s(tmp_path: Path, right: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(f'[[tokens]]\nname = "x"\nsha256 = "{"0" * 64}"\n{right}\n')
    with pytest.raises(PlatformError, match=r"tokens\.0"):
        Access(path, open_here=True)


def test_the_entry_that_is_printed_is_for_these_projects(tmp_path: Path) -> None:
    token, entry = new_query_token("studio", "a'c\"me", ["p 1", 'p"2'])
    (tmp_path / "tokens.toml").write_text(entry)
    reach = Access(tmp_path / "tokens.toml", False).reach_of(token.encode())
    assert reach
    assert (reach.tenant, reach.projects) == ("a'c\"me", ("p 1", 'p"2'))
