"""Measures of a graph whose nodes are places from 0: components, communities, PageRank, betweenness. The same graph
has the same measures. Not here: what the nodes are."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data_platform.core.errors import PlatformError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Places = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
SEED = 0
DAMPING = 0.85
SOURCES = 128
"""Nodes whose shortest paths are counted at once: some 1 KB for each node there is."""
ROUNDS = 100
"""Of PageRank: 0.85^100 of the first guess is left, less than 1e-7."""


@dataclass(frozen=True)
class Edges:
    """A directed graph: edge n goes from `source[n]` to `target[n]`."""

    nodes: int
    source: Places
    target: Places
    weight: Numbers

    def both_ways(self) -> Edges:
        """The undirected graph of these edges, each of which is told once."""
        ends = np.concatenate([self.source, self.target]), np.concatenate([self.target, self.source])
        return Edges(self.nodes, *ends, np.concatenate([self.weight, self.weight]))

    def matrix(self) -> csr_matrix:
        """(nodes, nodes): weights from row to column. Raises PlatformError without the extra `graph`."""
        try:
            from scipy.sparse import csr_matrix
        except ImportError:
            raise missing() from None
        return csr_matrix((self.weight, (self.source, self.target)), shape=(self.nodes, self.nodes))


def is_installed() -> bool:
    """Whether the extra `graph` is: communities and betweenness need it."""
    return importlib.util.find_spec("sknetwork") is not None


def missing() -> PlatformError:
    return PlatformError(
        "scikit-network is not installed, and communities of personas need it.",
        "Run `pip install 'data-platform[graph]'`.",
    )


def pagerank(edges: Edges, rounds: int = ROUNDS, damping: float = DAMPING) -> Numbers:
    """(nodes,): adds up to 1. A node without an edge out of it gives to all alike, as in LDBC Graphalytics;
    scikit-network differs there, it gives to such nodes alone."""
    if not edges.nodes:
        return np.empty(0)
    given = np.bincount(edges.source, edges.weight, edges.nodes)
    share = edges.weight / given[edges.source]
    rank = np.full(edges.nodes, 1 / edges.nodes)
    for _ in range(rounds):
        lost = rank[given == 0].sum()
        received = np.bincount(edges.target, rank[edges.source] * share, edges.nodes)
        rank = (1 - damping + damping * lost) / edges.nodes + damping * received
    return rank


def components(edges: Edges) -> Places:
    """(nodes,): the smallest node that each hangs together with, whatever way the edges go."""
    smallest = np.arange(edges.nodes)
    while True:
        found = smallest.copy()
        np.minimum.at(found, edges.source, smallest[edges.target])
        np.minimum.at(found, edges.target, smallest[edges.source])
        found = found[found]
        if (found == smallest).all():
            return found
        smallest = found


def communities(edges: Edges, resolution: float = 1.0) -> Places:
    """(nodes,): the community of each in the undirected graph of these edges, by Louvain (scikit-network), numbered as
    `numbered` does. A node without an edge is one by itself. Raises PlatformError without the extra `graph`."""
    try:
        from sknetwork.clustering import Louvain
    except ImportError:
        raise missing() from None
    if not len(edges.source):
        return numbered(np.arange(edges.nodes))
    return numbered(Louvain(resolution=resolution, random_state=SEED).fit_predict(edges.both_ways().matrix()))


def betweenness(edges: Edges) -> Numbers:
    """(nodes,): shortest paths between two other nodes that pass each, where there are several the share of them; edges
    are undirected and count alike. Brandes' algorithm, a block of sources at once: scikit-network took 23 s for the
    1,000 nodes that this takes 1 s for. Raises PlatformError without the extra `graph`."""
    near = edges.both_ways().matrix()
    near.data[:] = 1
    found = np.zeros(edges.nodes)
    for start in range(0, edges.nodes, SOURCES):
        found += _dependencies(near, np.arange(start, min(start + SOURCES, edges.nodes)))
    return found / 2  # each pair was counted from both its ends


def _dependencies(near: csr_matrix, sources: Places) -> Numbers:
    """(nodes,): by how much each is between these sources and all others."""
    shape = near.shape[0], len(sources)
    paths, distance = np.zeros(shape), np.full(shape, -1)
    columns = np.arange(len(sources))
    paths[sources, columns], distance[sources, columns] = 1, 0
    depth, frontier = 0, paths.copy()
    while frontier.any():
        depth += 1
        reached = near @ frontier
        frontier = np.where(distance < 0, reached, 0)
        new = frontier > 0
        distance[new], paths[new] = depth, frontier[new]
    passing = np.zeros(shape)
    known = np.where(paths > 0, paths, 1)
    for back in range(depth, 0, -1):
        share = np.where(distance == back, (1 + passing) / known, 0)
        passing += np.where(distance == back - 1, near @ share * paths, 0)
    passing[sources, columns] = 0
    total: Numbers = passing.sum(axis=1)
    return total


def numbered(groups: Places) -> Places:
    """Groups → their numbers: 1 is the largest, of several as large the one with the smallest node."""
    names, first, inverse, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(names), np.int64)
    number[np.lexsort((first, -sizes))] = np.arange(1, len(names) + 1)
    return number[inverse]
