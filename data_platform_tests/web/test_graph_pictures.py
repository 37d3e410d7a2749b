"""The page of graphs over a real server: what it shows of a lake, that it is the same each time, that text stays text,
and colours that can be seen. Not here: the graph itself (domains/research)."""

from __future__ import annotations

import html
import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from data_platform import web
from data_platform.core.contract.graphs import GraphView
from data_platform.core.http.problems import Problem
from data_platform.core.http.tenants import Reach
from data_platform.domains.research.contracts.graph import Concepts, PersonaCommunities, PersonaSimilarity
from data_platform.domains.research.contracts.registry import ResearchUsers
from data_platform.domains.research.graph_views import PERSONAS
from data_platform.web.graphs.drawing import COLOURS, LABELLED, LABELLED_ON_PHONES
from data_platform.web.graphs.layout import laid_out
from data_platform.web.graphs.pictures import MOST_NODES, Choice, Pictures
from data_platform.web.query.access import Access
from data_platform.web.query.application import QueryApi
from data_platform.web.query.tables import TenantTables
from data_platform_tests.observability.test_health_style import READABLE, contrast
from data_platform_tests.observability.test_health_style import palette as palette_of_all
from data_platform_tests.support.health_home import HOSTILE, Reader, serving
from data_platform_tests.support.homes import Home
from data_platform_tests.support.research_rows import NOON, Row, frame
from data_platform_tests.support.tenants import OPERATOR, TENANTS, mark_of, token_of, tokens_file

TABLES = [PersonaCommunities, PersonaSimilarity, Concepts]
VISIBLE = 3.0
"""Contrast of what is drawn, by WCAG 2.2 (1.4.11)."""
CSS = (Path(web.__file__).parent / "static" / "graphs.css").read_text()


def node(number: int, **changes: object) -> Row:
    made: Row = {
        "tenant_id": "t-1", "persona_id": f"p-{number:04}", "project_id": "a", "name": f"Ana {number}", "segment": "s",
        "community": 1 + number % 3, "community_size": 2, "component": 1, "neighbours": 1,
        "pagerank": 1 / (number + 1), "betweenness": None,
    }  # fmt: skip
    return made | changes


def pair(one: int, other: int, **changes: object) -> Row:
    made: Row = {
        "tenant_id": "t-1", "persona_id": f"p-{one:04}", "other_persona_id": f"p-{other:04}", "project_id": "a",
        "other_project_id": "a", "similarity": 0.9, "basis": "traits",
    }  # fmt: skip
    return made | changes


def spoken_of(concept: str, **changes: object) -> Row:
    made: Row = {
        "tenant_id": "t-1", "project_id": "a", "concept": concept, "words": 1, "personas": 2, "texts": 3, "mentions": 4,
        "first_day": NOON.date(), "last_day": NOON.date(),
    }  # fmt: skip
    return made | changes


def write(home: Home, nodes: list[Row], pairs: list[Row], concepts: list[Row] | None = None) -> None:
    rows = {PersonaCommunities: nodes, PersonaSimilarity: pairs, Concepts: concepts or []}
    for table, found in rows.items():
        home.lake.replace(table, frame(table, found), [])


def test_a_project_is_shown_with_its_own_and_those_of_none(home: Home) -> None:
    nodes = [*map(node, range(6)), node(6, project_id=None), node(7, project_id="b"), node(0, tenant_id="t-2")]
    concepts = [spoken_of("price", mentions=9), spoken_of("trust"), spoken_of("music", project_id="b")]
    write(home, nodes, [pair(0, 1), pair(1, 6), pair(2, 7), pair(0, 1, tenant_id="t-2")], concepts)
    with serving(home, tables=TABLES) as (client, _):
        page = client.get("/graphs").text
        assert "Personas of aurora" not in page
        assert page.count("<circle") == 7, "the largest project is shown: its six, and the one of no project"
        assert "7 nodes, 2 edges, 3 groups" in page
        assert page.index("price") < page.index("trust")
        assert "music" not in page
        assert "Ana 7" not in page
        options = re.findall(r'<option value="([^"]*)"( selected)?>([^<]*)</option>', page)
        assert options == [
            ("t-1/a", " selected", "t-1 / a (6)"), ("t-1/b", "", "t-1 / b (1)"), ("t-2/a", "", "t-2 / a (1)"),
            ("t-1/", "", "t-1 / all (8)"), ("t-2/", "", "t-2 / all (1)"),
        ]  # fmt: skip
        whole = client.get("/graphs?of=t-1/").text
        assert whole.count("<circle") == 8
        assert "What they speak of" not in whole
        other = client.get("/graphs/personas?of=t-2/a").text
        assert other.count("<circle") == 1
        assert "There is nothing of <bdi>t-3</bdi>" in client.get("/graphs?of=t-3/a").text
        assert client.get("/graphs/nothing").status_code == 404
        assert '<a href="/graphs">Graphs</a>' in client.get("/dashboards").text


def test_the_same_graph_is_the_same_page_and_another_version_another(home: Home) -> None:
    nodes, pairs = [node(n) for n in range(40)], [pair(n, n + 1) for n in range(39)]
    write(home, nodes, pairs)
    with serving(home, tables=TABLES) as (client, _):
        first = svg(client.get("/graphs").text)
    write(home, nodes[::-1], pairs[::-1])
    with serving(home, tables=TABLES) as (client, _):
        assert svg(client.get("/graphs").text) == first
        write(home, [*nodes, node(40)], pairs)
    with serving(home, tables=TABLES) as (client, _):
        assert svg(client.get("/graphs").text) != first


def svg(page: str) -> str:
    (found,) = re.findall(r'<svg class="graph".*?</svg>', page, re.DOTALL)
    return str(found)


def test_of_many_the_largest_are_shown_and_the_others_are_counted(home: Home) -> None:
    write(home, [node(n) for n in range(MOST_NODES + 50)], [pair(0, MOST_NODES + 1), pair(0, 1)])
    with serving(home, tables=TABLES) as (client, _):
        page = client.get("/graphs").text
    assert page.count("<circle") == MOST_NODES
    labels = page.count('class="label')
    assert 10 <= labels <= LABELLED
    assert page.count('class="label minor') == labels - LABELLED_ON_PHONES
    assert "50 are not" in page
    assert f"{MOST_NODES} nodes, 1 edge," in page


def test_hostile_text_is_text(home: Home) -> None:
    name, project = "<script>alert(1)</script>‮\x00", '"><img src=x>/%2F'
    nodes = [node(n, name=one, project_id=project) for n, one in enumerate([name, *HOSTILE])]
    write(home, nodes, [pair(0, 1)], [spoken_of(name, project_id=project)])
    with serving(home, tables=TABLES) as (client, _):
        for address in ("/graphs", f"/graphs?of=t-1/{quote(quote(project, safe=''), safe='')}"):
            answered = client.get(address)
            read = Reader(answered.text)
            assert not [tag for tag, _ in read.tags if tag in ("script", "img")]
            assert "<script>alert(1)</script>⟨U+202E⟩⟨U+0000⟩" in read.text
            assert answered.text.count("<circle") == len(nodes)
        attributes = {name for _, given in read.tags for name in given}
        assert not {name for name in attributes if name.startswith("on") or name == "style"}


def test_personas_without_a_community_are_shown_all_the_same(home: Home) -> None:
    """A plain installation, without the extra `graph`, has none."""
    none = {"community": None, "community_size": None}
    write(home, [node(0, **none), node(1, **none)], [pair(0, 1)])
    with serving(home, tables=TABLES) as (client, _):
        page = client.get("/graphs")
        assert page.status_code == 200
        assert page.text.count("<circle") == 2
        assert "2 nodes, 1 edge, 1 group" in page.text
        assert "None" not in page.text
    write(home, [node(0, **none), node(1)], [pair(0, 1)])
    with serving(home, tables=TABLES) as (client, _):
        assert "2 nodes, 1 edge, 2 groups" in client.get("/graphs").text


def test_before_the_first_build_it_says_what_to_build(home: Home) -> None:
    with serving(home, tables=TABLES) as (client, _):
        page = client.get("/graphs").text
        assert "data-platform build research/persona_communities" in page
        assert "There is nothing of" in client.get("/graphs?of=t-1/a").text


def test_it_needs_the_token_of_the_pages(home: Home) -> None:
    write(home, [node(0)], [])
    with serving(home, token="a-token-of-sixteen") as (client, _):
        assert client.get("/graphs").status_code == 401
        page = client.get("/graphs?token=a-token-of-sixteen").text
        assert '<input type="hidden" name="token" value="a-token-of-sixteen">' in page


def test_a_tenant_s_token_shows_its_own_graphs_and_no_other_s(home: Home, tmp_path: Path) -> None:
    """Every tenant has projects a and b, whose ids are every tenant's names, and its mark in every text."""
    nodes = [
        node(n, tenant_id=one, project_id=project, name=f"{mark_of(one)} {n}", persona_id=f"{mark_of(one)}-{n}")
        for one in TENANTS
        for n, project in enumerate(["a", "a", "b", None, *TENANTS])
    ]
    pairs = [
        pair(0, 1, tenant_id=one, persona_id=f"{mark_of(one)}-0", other_persona_id=f"{mark_of(one)}-1")
        for one in TENANTS
    ]
    concepts = [spoken_of(f"{mark_of(one)} price", tenant_id=one) for one in TENANTS]
    write(home, nodes, pairs, concepts)
    query = QueryApi((), home.lake, Access(tokens_file(tmp_path), open_here=True))
    page_token, rng = "a-token-of-sixteen", random.Random(5)
    told = [quote(name, safe="") for name in TENANTS]
    hostile = [
        *told,
        "%252F",
        "..",
        "*",
        "%25",
        "acme%00",
        "' OR 1=1 --",
        "a",
        "",
        "\udcff".encode("utf-8", "surrogateescape"),
    ]
    with serving(home, token=page_token, tables=TABLES, query=query) as (client, _):

        def ask(path: str, tenant: str, **more: Any) -> httpx.Response:
            return client.get(path, params={"token": token_of(tenant), **more})

        for tenant in TENANTS:
            page = ask("/graphs", tenant)
            assert page.status_code == 200
            assert mark_of(tenant) in page.text
            assert f"{mark_of(tenant)} price" in page.text
            options = re.findall(r'<option value="([^"/]*)/', page.text)
            assert {html.unescape(option) for option in options} == {quote(tenant, safe="")}
            hrefs = [given.get("href") or "" for _, given in Reader(page.text).tags]
            assert not [address for address in hrefs if address.startswith(("/tables", "/health", "/runbook", "http"))]
        others = ("ACME", "nobody", "acme2", "*", "%D0%B0cme", "acme%20", "acme%00", "", "/")
        refused = [ask("/graphs", "acme", of=f"{other}/a") for other in others]
        assert {answer.status_code for answer in refused} == {403}
        assert len({answer.text for answer in refused}) == 1, "the same whether there is such a tenant or not"
        statuses = set()
        for _ in range(400):
            tenant, graph = (
                rng.choice(TENANTS),
                rng.choice(["", "/personas", "/personas", "/nothing", "/..%2Ftables%2Fa"]),
            )
            one, other = rng.choice(hostile), rng.choice(hostile)
            of = one if isinstance(one, bytes) or isinstance(other, bytes) else rng.choice([f"{one}/{other}", one])
            answer = ask(f"/graphs{graph}", tenant, of=of)
            statuses.add(answer.status_code)
            foreign = [name for name in TENANTS if name != tenant and mark_of(name) in answer.text]
            assert not foreign, (tenant, graph, of)
        assert statuses == {200, 403, 404}
        everybody = client.get("/graphs", params={"token": page_token}).text
        assert all(f'value="{html.escape(quote(name, safe=""))}/a"' in everybody for name in TENANTS)
        assert client.get("/graphs", params={"token": OPERATOR}).text.count("<option") == everybody.count("<option")
        assert '<a href="/tables/' not in ask("/graphs", "acme", of="acme/a").text
        for path in ("/", "/dashboards", "/tables/research/personas", "/health.json", "/graphsx", "/runbook"):
            assert ask(path, "acme").status_code == 401
        assert ask("/graphs/../tables/research/personas", "acme").status_code in (401, 404)
        assert client.get("/graphs", params={"token": "wrong"}).status_code == 401
        assert client.get("/graphs").status_code == 401


def test_pictures_of_anything_but_projects_are_for_whole_tenants(home: Home) -> None:
    """A segment may be called what a project is: a token for the project does not open its picture."""
    write(home, [node(0, segment="a"), node(1, segment="a", project_id="b")], [pair(0, 1)])
    pictures = Pictures(GraphView(**(vars(PERSONAS) | {"scope": "segment", "listing": None})), TenantTables(home.lake))
    of_project, chosen = Reach("t-1", ("a",)), Choice("t-1", "a")
    for refused in (
        lambda: pictures.choices(of_project),
        lambda: pictures.choice("t-1/a", of_project),
        lambda: pictures.of(chosen, of_project),
    ):
        with pytest.raises(Problem, match="whole tenants"):
            refused()
    assert len(pictures.of(chosen, Reach("t-1")).nodes) == 2


def test_neighbours_are_nearer_than_strangers() -> None:
    """Two cliques that one edge joins."""
    ends = [(a, b) for base in (0, 8) for a in range(base, base + 8) for b in range(a + 1, base + 8)]
    edges = np.array([*ends, (0, 8)])
    at = laid_out(np.zeros(16, np.int64), edges, np.ones(len(edges)))
    assert at.min() >= 0
    assert at.max() <= 1
    distance = np.linalg.norm(at[:, None] - at[None], axis=2)
    first = np.arange(16) < 8
    same = first[:, None] == first[None]
    assert distance[same].sum() / (same.sum() - 16) < 0.6 * distance[~same].mean()
    assert distance[np.triu_indices(16, 1)].min() > 0.01, "no node hides another"


def test_few_nodes_are_laid_out_too() -> None:
    nothing = np.empty((0, 2), np.int64)
    for count in (0, 1, 2, 3):
        at = laid_out(np.ones(count, np.int64), nothing, np.empty(0))
        assert at.shape == (count, 2)
        assert len(np.unique(at, axis=0)) == count


@pytest.mark.parametrize("dark", [False, True])
def test_groups_can_be_seen_and_their_numbers_read(dark: bool) -> None:
    light, _, rest = CSS.partition("@media (prefers-color-scheme: dark)")
    colours = palette_of_all(dark) | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rest)) if dark else {}
    for number in range(1, COLOURS + 2):
        assert contrast(colours[f"c{number}"], colours["card"]) >= VISIBLE
        assert contrast(colours[f"c{number}"], colours["number"]) >= READABLE


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"group": "pagerank"}, "pagerank is no whole number"),
        ({"size": "name"}, "name is no number"),
        ({"label": "nickname"}, "research/persona_communities has no nickname"),
        ({"edges": ResearchUsers, "ends": ("user_id", "email"), "weight": "is_current"}, "tells of single persons"),
    ],
)
def test_a_graph_that_cannot_be_shown_is_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        GraphView(**(vars(PERSONAS) | changes))
