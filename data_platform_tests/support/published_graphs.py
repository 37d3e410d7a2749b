"""Graphs with published answers, as their files tell them. Not here: any assertion."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_platform.domains.research.transforms.graph_measures import Edges
from data_platform_tests.support.shared_data import SHARED_DATA

GRAPHS = SHARED_DATA / "graphs"
LDBC = GRAPHS / "ldbc_validation"


def neighbours(file: Path) -> dict[int, list[int]]:
    """Vertex → those that it has an edge to, in LDBC's validation graphs; each vertex that is named, in order."""
    told = {int(first): [int(one) for one in rest] for first, *rest in map(str.split, _lines(file))}
    everybody = sorted({*told, *(one for others in told.values() for one in others)})
    return {vertex: told.get(vertex, []) for vertex in everybody}


def edges_of(graph: dict[int, list[int]]) -> Edges:
    """Each edge as it is told, of weight 1; the n-th vertex is place n."""
    place = {vertex: number for number, vertex in enumerate(graph)}
    pairs = [(place[one], place[other]) for one, others in graph.items() for other in others]
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    return Edges(len(graph), ends[:, 0], ends[:, 1], np.ones(len(ends)))


def published(file: Path) -> dict[int, float]:
    return {int(vertex): float(value) for vertex, value in map(str.split, _lines(file))}


def karate() -> tuple[Edges, list[str]]:
    """Zachary's club: who met whom how often outside of it, and whom each followed when it split."""
    rows = [line.split("\t") for line in _lines(GRAPHS / "karate/edges.tsv")]
    one, other, weight = (np.array(column) for column in zip(*rows, strict=True))
    sides = [line.split("\t")[1] for line in _lines(GRAPHS / "karate/nodes.tsv")]
    return Edges(len(sides), one.astype(np.int64), other.astype(np.int64), weight.astype(np.float64)), sides


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.strip()]
