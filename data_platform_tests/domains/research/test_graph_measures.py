"""Components, communities, PageRank and betweenness, against published answers (skipped where the data is absent) and
against networkx. Not here: graphs of personas (test_persona_graph)."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from data_platform.domains.research.transforms.graph_measures import (
    Edges,
    betweenness,
    communities,
    components,
    numbered,
    pagerank,
)
from data_platform_tests.support.published_graphs import GRAPHS, LDBC, edges_of, karate, neighbours, published

real = pytest.mark.skipif(not GRAPHS.is_dir(), reason="the real data is not here")


def random_graph(nodes: int, edges: int, seed: int) -> Edges:
    rng = np.random.default_rng(seed)
    pairs = np.unique(np.sort(rng.integers(0, nodes, (edges, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    return Edges(nodes, pairs[:, 0], pairs[:, 1], rng.uniform(0.5, 1, len(pairs)))


def as_networkx(edges: Edges, directed: bool = False) -> nx.Graph:
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(edges.nodes))
    graph.add_weighted_edges_from(zip(edges.source.tolist(), edges.target.tolist(), edges.weight, strict=True))
    return graph


@real
@pytest.mark.parametrize("name", ["pr/dir", "pr/undir"])
def test_pagerank_is_that_of_graphalytics(name: str) -> None:
    graph = neighbours(LDBC / f"{name}-input")
    expected = published(LDBC / f"{name}-output")
    found = dict(zip(graph, pagerank(edges_of(graph), rounds=26), strict=True))
    assert found.keys() == expected.keys()
    assert max(abs(found[vertex] / expected[vertex] - 1) for vertex in expected) < 1e-4, (
        "the tolerance of the benchmark"
    )


@real
@pytest.mark.parametrize("name", ["wcc/dir", "wcc/undir"])
def test_components_are_those_of_graphalytics(name: str) -> None:
    graph = neighbours(LDBC / f"{name}-input")
    expected = published(LDBC / f"{name}-output")
    ids = list(graph)
    assert {vertex: ids[first] for vertex, first in zip(ids, components(edges_of(graph)), strict=True)} == expected


@real
@pytest.mark.parametrize("resolution", [0.4, 0.5, 0.6])
def test_the_karate_club_splits_as_it_did(resolution: float) -> None:
    """All but member 8 (from 0), whom every published method puts with the officer: he followed Mr. Hi for his belt."""
    edges, sides = karate()
    found = communities(edges, resolution)
    by_side = [{side for side, one in zip(sides, found, strict=True) if one == number} for number in (1, 2)]
    assert set(found) == {1, 2}
    assert by_side == [{"Officer", "Mr. Hi"}, {"Mr. Hi"}]
    apart = [member for member, side in enumerate(sides) if (side == "Mr. Hi") != (found[member] == 2)]
    assert apart == [8]


@real
def test_louvain_of_the_karate_club_is_as_good_as_published() -> None:
    """0.4449 is the best modularity of the weighted club that there is (networkx and others agree to 1e-4)."""
    edges, _ = karate()
    found = communities(edges)
    groups = [set(np.flatnonzero(found == number).tolist()) for number in np.unique(found)]
    best = max(
        nx.community.modularity(as_networkx(edges), nx.community.louvain_communities(as_networkx(edges), seed=seed))
        for seed in range(10)
    )
    assert nx.community.modularity(as_networkx(edges), groups) > best - 0.01


@pytest.mark.parametrize(("nodes", "edges"), [(1, 0), (2, 1), (60, 50), (60, 200), (300, 900)])
def test_measures_are_those_of_networkx(nodes: int, edges: int) -> None:
    graph = random_graph(nodes, edges, seed=nodes + edges)
    plain, directed = as_networkx(graph), as_networkx(graph, directed=True)
    ranks = nx.pagerank(directed, tol=1e-12, max_iter=500)
    between = nx.betweenness_centrality(plain, normalized=False)
    assert pagerank(graph) == pytest.approx([ranks[node] for node in range(nodes)], abs=1e-7)
    assert betweenness(graph) == pytest.approx([between[node] for node in range(nodes)], abs=1e-9)
    pieces = {frozenset(np.flatnonzero(components(graph) == first).tolist()) for first in components(graph)}
    assert pieces == set(map(frozenset, nx.connected_components(plain)))


def test_a_long_path_is_measured_too() -> None:
    """As deep as a graph gets, in numbers that hold its paths."""
    nodes = 400
    path = Edges(nodes, np.arange(nodes - 1), np.arange(1, nodes), np.ones(nodes - 1))
    expected = [at * (nodes - 1 - at) for at in range(nodes)]
    assert betweenness(path) == pytest.approx(expected)
    assert set(components(path)) == {0}


def test_the_largest_group_is_number_one() -> None:
    assert numbered(np.array([7, 3, 3, 9, 7, 1])).tolist() == [1, 2, 2, 3, 1, 4]


def test_a_graph_without_edges_has_measures() -> None:
    nothing = np.empty(0, np.int64)
    alone = Edges(3, nothing, nothing, np.empty(0))
    assert communities(alone).tolist() == [1, 2, 3]
    assert pagerank(alone) == pytest.approx([1 / 3] * 3)
    assert betweenness(alone).tolist() == [0, 0, 0]
    assert len(pagerank(Edges(0, nothing, nothing, np.empty(0)))) == 0
