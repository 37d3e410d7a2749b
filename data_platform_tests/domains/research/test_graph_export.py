"""The exported graph: read back by networkx, and by the rules of Neo4j's import; hostile names come back as text.
Not here: the tables (test_persona_graph, test_concepts)."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import networkx as nx
import polars as pl
import pytest

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.publication import Publication
from data_platform.domains.research.contracts.graph import Concepts, Mentions, PersonaCommunities, PersonaSimilarity
from data_platform.domains.research.graph.exporting import (
    GraphRows,
    graph_rows,
    import_command,
    node_id,
    write_graphml,
    write_neo4j,
)
from data_platform_tests.support.research_rows import NOON, Row, frame

HOSTILE = '‮"quoted", <b>&amp;</b> \x00 \x1b[31m \n new line, ; \\ \' ]]> 🙂\ufffe'


def node(persona_id: str, **changes: object) -> Row:
    made: Row = {
        "tenant_id": "t-1", "persona_id": persona_id, "project_id": "a", "name": "Ana", "segment": None, "community": 1,
        "community_size": 2, "component": 1, "neighbours": 1, "pagerank": 0.25, "betweenness": None,
    }  # fmt: skip
    return made | changes


def mention(persona_id: str, concept: str, **changes: object) -> Row:
    made: Row = {
        "mention_date": NOON.date(), "tenant_id": "t-1", "project_id": "a", "persona_id": persona_id,
        "concept": concept, "texts": 1, "mentions": 2,
    }  # fmt: skip
    return made | changes


def concept(name: str, **changes: object) -> Row:
    made: Row = {
        "tenant_id": "t-1", "project_id": "a", "concept": name, "words": 1, "personas": 1, "texts": 2, "mentions": 4,
        "first_day": NOON.date(), "last_day": NOON.date(),
    }  # fmt: skip
    return made | changes


def pair(one: str, other: str, **changes: object) -> Row:
    made: Row = {
        "tenant_id": "t-1", "persona_id": one, "other_persona_id": other, "project_id": "a", "other_project_id": "a",
        "similarity": 0.5, "basis": "traits",
    }  # fmt: skip
    return made | changes


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(str(tmp_path / "lake"))
    next_day = NOON.replace(day=4).date()
    rows: dict[type, list[Row]] = {
        PersonaCommunities: [
            node("p-1", name=HOSTILE), node("p/2%"), node("p-3", project_id="b"), node("p-4", project_id=None),
            node("p-1", tenant_id="t-2"),
        ],
        PersonaSimilarity: [pair("p-1", "p/2%"), pair("p-1", "p-3"), pair("p-1", "p-gone")],
        Concepts: [concept("price"), concept("price", project_id="b"), concept("a/b")],
        Mentions: [
            mention("p-1", "price"), mention("p-1", "price", mention_date=next_day), mention("p-gone", "price"),
            mention("p-3", "price", project_id="b"),
        ],
    }  # fmt: skip
    for table, found in rows.items():
        days = [NOON.date(), next_day] if table is Mentions else []
        Publication(table).publish(made, [frame(table, found)], days, "test", [])
    return made


def graph(lake: Lake, tmp_path: Path, **scope: str) -> tuple[GraphRows, nx.DiGraph]:
    rows, file = graph_rows(lake, **scope), tmp_path / "out/graph.graphml"
    write_graphml(rows, file)
    return rows, nx.read_graphml(file)


def test_networkx_reads_what_was_written(lake: Lake, tmp_path: Path) -> None:
    rows, read = graph(lake, tmp_path)
    assert rows.counts() == {"personas": 5, "concepts": 3, "similar_to": 2, "mentions": 2}
    assert (read.number_of_nodes(), read.number_of_edges()) == (8, 4)
    assert read.edges["persona/t-1/p-1", "persona/t-1/p%2F2%25"] == {"label": "SIMILAR_TO", "similarity": 0.5}
    said = read.edges["persona/t-1/p-1", "concept/t-1/a/price"]
    assert said == {"label": "MENTIONS", "texts": 2, "mentions": 4}
    assert read.nodes["concept/t-1/a/a%2Fb"]["concept"] == "a/b"
    name = read.nodes["persona/t-1/p-1"]["name"]
    assert name == re.sub("[\x00\x1b\n\ufffe]", "�", HOSTILE)
    assert "segment" not in read.nodes["persona/t-1/p-1"], "what is not known is left out"
    ET.parse(tmp_path / "out/graph.graphml")


def test_a_tenant_and_a_project_have_their_own(lake: Lake, tmp_path: Path) -> None:
    _, of_tenant = graph(lake, tmp_path, tenant="t-2")
    assert list(of_tenant) == ["persona/t-2/p-1"]
    _, of_project = graph(lake, tmp_path, tenant="t-1", project="a")
    personas = {"persona/t-1/p-1", "persona/t-1/p%2F2%25", "persona/t-1/p-4"}
    assert set(of_project) == personas | {"concept/t-1/a/price", "concept/t-1/a/a%2Fb"}
    assert of_project.number_of_edges() == 2


def test_neo4j_imports_the_files(lake: Lake, tmp_path: Path) -> None:
    """By the rules of its manual: headers name and type fields, ids are one space, every edge has both its ends."""
    files = write_neo4j(graph_rows(lake), tmp_path / "neo4j")
    read = {file.name: list(csv.reader(file.open(newline="", encoding="utf-8"))) for file in files}
    assert read["personas.csv"][0] == [
        ":ID", "tenant_id:string", "persona_id:string", "project_id:string", "name:string", "segment:string",
        "community:long", "neighbours:long", "pagerank:double", "betweenness:double", ":LABEL",
    ]  # fmt: skip
    assert read["concepts.csv"][0][0] == ":ID"
    assert read["similar_to.csv"][0] == [":START_ID", ":END_ID", "similarity:double", ":TYPE"]
    assert read["mentions.csv"][0] == [":START_ID", ":END_ID", "texts:long", "mentions:long", ":TYPE"]
    ids = [row[0] for name in ("personas.csv", "concepts.csv") for row in read[name][1:]]
    assert len(ids) == len(set(ids)) == 8
    for name in ("similar_to.csv", "mentions.csv"):
        assert {end for row in read[name][1:] for end in row[:2]} <= set(ids)
    for rows in read.values():
        assert len({len(row) for row in rows}) == 1
    text = (tmp_path / "neo4j/personas.csv").read_text()
    assert text.count("\n") == 6, "a row is a line: the import takes no line breaks unless it is told"
    assert import_command(files) == (
        "neo4j-admin database import full --nodes=personas.csv --nodes=concepts.csv --relationships=similar_to.csv "
        "--relationships=mentions.csv research"
    )


def test_the_same_graph_is_the_same_bytes(lake: Lake, tmp_path: Path) -> None:
    first, second = tmp_path / "1.graphml", tmp_path / "2.graphml"
    write_graphml(graph_rows(lake), first)
    write_graphml(graph_rows(lake), second)
    assert first.read_bytes() == second.read_bytes()


def test_before_the_first_build_it_says_what_to_build(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="data-platform build research/persona_communities"):
        graph_rows(Lake(str(tmp_path / "nothing")))


def test_ids_of_different_things_differ() -> None:
    """A tenant `a/b` with the project `c` is not the tenant `a` with the project `b/c`."""
    rows = pl.DataFrame([{"tenant_id": "a/b", "project_id": "c"}, {"tenant_id": "a", "project_id": "b/c"},
                         {"tenant_id": "a%2Fb", "project_id": "c"}])  # fmt: skip
    ids = rows.select(node_id("x", "project_id")).to_series().to_list()
    assert ids == ["x/a%2Fb/c", "x/a/b%2Fc", "x/a%252Fb/c"]
