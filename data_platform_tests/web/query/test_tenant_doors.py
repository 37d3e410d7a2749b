"""No door beside the query API shows rows of tenants: other routes, features, pages, BI; every contract says whose its
rows are. Not here: the query API (test_tenancy)."""

from __future__ import annotations

import ast
import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from pydantic import SecretStr
from starlette.routing import Route

import data_platform.web
from data_platform.core.contract.table import Table, column
from data_platform.core.discovery import known_contracts, landing_sources, queries
from data_platform.core.settings import settings
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.features.api.access import Access as FeatureAccess
from data_platform.features.api.application import FeatureApi
from data_platform.features.api.historical import Historical
from data_platform.features.online.configured import open_online_store
from data_platform.features.online.vectors import serve_day
from data_platform.features.skew.served_log import ServedLog
from data_platform.features.store.client import FeatureStore
from data_platform.observability.health.facts import Collector
from data_platform.observability.health.pages import Pages
from data_platform.web.app import application
from data_platform.web.dashboards.pages import DashboardPages
from data_platform.web.live.pages import LivePages
from data_platform.web.query.access import Access
from data_platform.web.query.application import QueryApi
from data_platform_tests.support.homes import Home
from data_platform_tests.support.tenants import TENANTS, Asking, asking, bearer, fill, mark_of, token_of, tokens_file

READS_TABLES = {"scan", "scan_files", "snapshot", "open", "partitions"}
GUARDED = {"query/tables.py"}
FOR_OPERATORS = {"dashboards/marts.py"}
"""Behind the page's own token, which no tenant has: see `test_a_tenants_token_opens_no_page_of_operators`."""


def tenant_tables() -> list[type[Table]]:
    return [table for table in known_contracts().values() if "tenant_id" in table.columns]


def test_every_table_with_tenants_says_whose_its_rows_are() -> None:
    assert tenant_tables()
    assert [table.key for table in tenant_tables() if table.tenant != "tenant_id"] == []


def test_web_reads_tables_through_the_guard_alone() -> None:
    web = Path(data_platform.web.__path__[0])
    reading = {
        str(module.relative_to(web))
        for module in web.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in READS_TABLES and "lake" in ast.unparse(node.value).lower()
    }
    assert reading == GUARDED | FOR_OPERATORS


@pytest.fixture
def server(home: Home, tmp_path: Path) -> Iterator[Asking]:
    fill(home.lake)
    collector = Collector(home.lake, list(known_contracts().values()), landing_sources(), every=3600)
    query = QueryApi(queries(), home.lake, Access(tokens_file(tmp_path), open_here=True))
    with asking(application(collector, SecretStr("p" * 24), None, LivePages((), home.path, home.lake), query)) as one:
        yield one


def addresses(home: Home) -> Iterator[str]:
    """Every address of every page, for every table of tenants."""
    pages = Pages(Collector(home.lake, tenant_tables(), (), every=3600))
    live = LivePages((), home.path, home.lake)
    for route in [*pages.routes(), *DashboardPages(pages, ()).routes(), *live.routes()]:
        if isinstance(route, Route):
            for table in tenant_tables():
                group, name = table.key.split("/")
                yield (
                    route.path.replace("{group}", group)
                    .replace("{name}", name)
                    .replace("{anchor}", name)
                    .replace("{dashboard}", group)
                    .replace("{panel}", name)
                )


def test_a_tenants_token_opens_no_page_of_operators(server: Asking, home: Home) -> None:
    for address in sorted({*addresses(home)} - {"/healthz"}):
        for sent in (bearer(token_of("acme")), {}):
            answer = server.get(address, f"token={token_of('acme')}", sent)
            assert answer.status == 401, address
            assert not any(mark_of(tenant).encode() in answer.body for tenant in TENANTS)


def test_the_document_that_a_tenant_sees_is_that_of_the_query_api(server: Asking) -> None:
    document = json.loads(server.get("/v1/openapi.json", "", bearer(token_of("acme"))).body)
    assert sorted(document["paths"]) == [
        "/v1/costs",
        "/v1/costs/export",
        "/v1/costs/focus",
        "/v1/usage",
        "/v1/usage/export",
    ]
    assert server.get("/v1/features", "", bearer(token_of("acme"))).status in (401, 404)


@pytest.fixture
def features(home: Home, tmp_path: Path) -> Iterator[Asking]:
    """The feature API over a set that tells tenants apart and one that does not, and a token `t` of acme."""

    class TenantScores(Table):
        """Scores of players of several tenants."""

        key = "testing/tenant_scores"
        partition = "snapshot_date"
        primary_key = ("snapshot_date", "player_id")
        owner = "team:tests"
        tenant = "tenant_id"

        snapshot_date: dt.date = column("Day.")
        player_id: str = column("Player.")
        tenant_id: str = column("Whose player.")
        score: int = column("Score.")

    path, digest = tmp_path / "tokens.toml", hashlib.sha256(b"t").hexdigest()
    scopes = '["features:read", "features:historical"]'
    path.write_text(f'[[tokens]]\nname = "a"\nsha256 = "{digest}"\nscopes = {scopes}\ntenant = "acme"\n')
    path.chmod(0o600)
    day = dt.date(2024, 1, 3)
    scores = [{"snapshot_date": day, "player_id": f"p-{name}", "tenant_id": name, "score": 1} for name in TENANTS]
    store = open_online_store(settings())
    version = home.lake.replace(TenantScores, pl.DataFrame(scores, schema=TenantScores.schema()), [day]).version
    assert version is not None
    serve_day(home.lake, store, TenantScores, day, version)
    api = FeatureApi(
        {"tenant_scores": TenantScores, "player_churn_features": PlayerChurnFeatures},
        store,
        FeatureAccess(path, open_here=True),
        ServedLog(settings().served, 0),
        Historical(FeatureStore(home.lake)),
    )
    with asking(api) as one:
        yield one
    store.close()


def test_a_tenants_feature_token_finds_the_players_of_that_tenant_alone(features: Asking) -> None:
    mine = features.get("/v1/features/tenant_scores/p-acme", "", bearer("t"))
    assert json.loads(mine.body)["features"] == {"tenant_id": "acme", "score": 1}
    for tenant in TENANTS[1:]:
        answer = features.get(f"/v1/features/tenant_scores/{quote('p-' + tenant, safe='')}", "", bearer("t"))
        assert answer.status == 404
        assert b"unknown-player" in answer.body
    players = [f"p-{tenant}" for tenant in TENANTS]
    many = features.post(
        "/v1/features/tenant_scores:batch", {"player_ids": players, "features": ["score"]}, bearer("t")
    )
    assert [one["player_id"] for one in json.loads(many.body)["vectors"] if one["found"]] == ["p-acme"]


def test_sets_that_do_not_tell_tenants_apart_are_not_there_for_a_tenant(features: Asking) -> None:
    listed = json.loads(features.get("/v1/features", "", bearer("t")).body)["feature_sets"]
    assert [one["name"] for one in listed] == ["tenant_scores"]
    assert features.get("/v1/features/player_churn_features/p-acme", "", bearer("t")).status == 404
    assert features.post("/v1/features/tenant_scores:historical", {}, bearer("t")).status == 403
