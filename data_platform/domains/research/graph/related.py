"""Personas who are related to one: those that few steps from alike to alike lead to, from memory.
Not here: which personas are alike (transforms/persona_similarity), files (exporting)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.lake.store import Lake
from data_platform.domains.research.contracts.graph import PersonaSimilarity
from data_platform.domains.research.contracts.registry import Personas
from data_platform.domains.research.transforms.persona_communities import graph_of

MOST_HOPS = 10
MOST_RELATED = 100_000
BUILD = "Run `data-platform build research/persona_similarity`."
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Related:
    """A persona that is related to another."""

    persona_id: str
    project_id: str | None
    name: str | None
    hops: int
    strength: float
    """Product of the similarities on the way; of several ways of as many hops the greatest."""
    via: str
    """The persona before it on that way."""


class PersonaGraph:
    """The personas of one tenant and who is like whom, as compressed rows. Keep it: an answer takes some milliseconds,
    reading the lake more. Nothing changes it, so several threads may ask."""

    def __init__(self, personas: pl.DataFrame, pairs: pl.DataFrame) -> None:
        """`personas`: current Personas of one tenant in order of id; `pairs`: PersonaSimilarity, also of others."""
        self.personas = personas
        self._places = {name: place for place, name in enumerate(personas["persona_id"])}
        both = graph_of(personas["persona_id"], pairs).both_ways()
        order = np.lexsort((both.target, both.source))
        self._target, self._weight = both.target[order], both.weight[order]
        self._start = np.searchsorted(both.source[order], np.arange(both.nodes + 1))

    def related(self, persona_id: str, hops: int = 3, top: int = MOST_RELATED) -> list[Related]:
        """Personas at most `hops` steps away: the nearest first, of as many hops the most alike, then by id.

        Raises PlatformError for a persona that is not among these, and for hops that are none."""
        if not 1 <= hops <= MOST_HOPS:
            raise PlatformError(f"{hops} hops cannot be walked.", f"Write a number from 1 to {MOST_HOPS}.")
        start = self._places.get(persona_id)
        if start is None:
            meant = did_you_mean(persona_id, self._places)
            raise PlatformError(
                f"There is no persona {persona_id[:100]!r} here.",
                f"{meant}`data-platform table clean/personas` shows who there is; a --project has its own and those of "
                "no project.",
            )
        distance, strength, via = self._walked(start, hops)
        reached = np.flatnonzero(distance > 0)
        reached = reached[np.lexsort((reached, -strength[reached], distance[reached]))][:top]
        found = self.personas[reached].select(
            "persona_id",
            "project_id",
            "name",
            hops=pl.Series(distance[reached]),
            strength=pl.Series(strength[reached]),
            via=self.personas["persona_id"].gather(via[reached]),
        )
        return [Related(**row) for row in found.iter_rows(named=True)]

    def _walked(self, start: int, hops: int) -> tuple[Places, npt.NDArray[np.float64], Places]:
        """Breadth first: of each node how far it is (-1: not reached), how strongly, and from where."""
        nodes = len(self.personas)
        distance, via = np.full(nodes, -1), np.full(nodes, -1)
        strength = np.zeros(nodes)
        distance[start], strength[start] = 0, 1.0
        frontier = np.array([start])
        for hop in range(1, hops + 1):
            begins, counts = self._start[frontier], self._start[frontier + 1] - self._start[frontier]
            edges = np.repeat(begins - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            source, target = np.repeat(frontier, counts), self._target[edges]
            strong = strength[source] * self._weight[edges]
            new = distance[target] < 0
            source, target, strong = source[new], target[new], strong[new]
            order = np.lexsort((source, -strong, target))
            frontier, first = np.unique(target[order], return_index=True)
            best = order[first]
            distance[frontier], strength[frontier], via[frontier] = hop, strong[best], source[best]
        return distance, strength, via


def persona_graph(lake: Lake, tenant: str, project: str | None = None) -> PersonaGraph:
    """The graph of a tenant's personas; of a project those that are of it, or of none, and the ways between these.

    Raises PlatformError before the first build."""
    if not (lake.exists(Personas) and lake.exists(PersonaSimilarity)):
        raise PlatformError("It is not known yet which personas are alike.", BUILD)
    now = lake.scan(Personas).filter("is_current", pl.col("tenant_id") == tenant)
    if project is not None:
        now = now.filter(pl.col("project_id").is_null() | (pl.col("project_id") == project))
    pairs = lake.scan(PersonaSimilarity).filter(pl.col("tenant_id") == tenant).collect()
    return PersonaGraph(now.select("persona_id", "project_id", "name").sort("persona_id").collect(), pairs)


def related_personas(
    lake: Lake, persona_id: str, hops: int = 3, tenant: str | None = None, project: str | None = None
) -> list[Related]:
    """Who is related to a persona. For many questions keep a `persona_graph`.

    Raises PlatformError for a persona that is not there, and for an id that several tenants use, unless `tenant` names
    one."""
    return persona_graph(lake, tenant or tenant_of(lake, persona_id), project).related(persona_id, hops)


def tenant_of(lake: Lake, persona_id: str) -> str:
    """The tenant whose persona it is. Raises PlatformError where that is nobody, or several."""
    known = lake.scan(Personas).filter("is_current").select("tenant_id", "persona_id").unique().collect()
    tenants = known.filter(pl.col("persona_id") == persona_id)["tenant_id"].sort().to_list()
    if not tenants:
        meant = did_you_mean(persona_id, known["persona_id"])
        raise PlatformError(
            f"There is no persona {persona_id[:100]!r}.", f"{meant}`data-platform table clean/personas` shows all."
        )
    if len(tenants) > 1:
        raise PlatformError(
            f"{len(tenants)} tenants have a persona {persona_id}.", f"Pass --tenant: {', '.join(tenants[:10])}."
        )
    return str(tenants[0])
