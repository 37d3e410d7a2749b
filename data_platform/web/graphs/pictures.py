"""What is on the picture of a graph: which tenant and scope, which nodes and edges, what stands beside it.
Not here: where nodes are put (layout), how it looks (drawing), addresses (pages)."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import polars as pl

from data_platform.core.contract.graphs import GraphView, Listing
from data_platform.core.http.tenants import Reach, whole_tenants_alone
from data_platform.web.graphs.layout import Places, Points, laid_out
from data_platform.web.query.tables import TenantTables

MOST_NODES = 200
"""On a picture: of more a person sees a ball of wool."""
MOST_LISTED = 20
MOST_CHOICES = 500
NEAREST = 3
KEPT = 64
"""Pictures that are kept while their tables have the same versions; each some 100 KB."""


@dataclass(frozen=True)
class Choice:
    """A graph that can be looked at: of a tenant, and of one scope or (None) all."""

    tenant: str
    scope: str | None
    nodes: int = 0

    @property
    def address(self) -> str:
        return quote(self.tenant, safe="") + "/" + quote(self.scope or "", safe="")

    def is_same(self, other: Choice) -> bool:
        return (self.tenant, self.scope) == (other.tenant, other.scope)


@dataclass(frozen=True)
class Node:
    """A node as it is told in the table; `group`: None where none is known; `nearest`: labels of the ends of its
    heaviest edges."""

    name: str
    label: str
    group: int | None
    size: float
    shown: Sequence[Any]
    nearest: Sequence[str]


@dataclass(frozen=True)
class GraphPicture:
    """Nodes in order of size, the largest first; `at` is where they are, `ends` are places among them."""

    nodes: Sequence[Node]
    at: Points
    ends: Places
    weights: Points
    more: int
    """Nodes that are not shown."""
    listed: Sequence[tuple[Any, ...]]

    def groups(self) -> dict[int | None, int]:
        """Group → how many of its nodes are shown; those without one last."""
        counted = Counter(node.group for node in self.nodes)
        return dict(sorted(counted.items(), key=lambda item: (item[0] is None, item[0])))


class Pictures:
    """Makes pictures of one declared graph, and keeps them while its tables do not change. Safe to use from threads."""

    def __init__(self, view: GraphView, tables: TenantTables) -> None:
        self.view, self._tables = view, tables
        self._kept = functools.lru_cache(KEPT)(self._made)
        self._chosen = functools.lru_cache(KEPT)(self._choices)

    def choices(self, reach: Reach) -> list[Choice]:
        """The scopes that may be seen, those with the most nodes first, then each tenant as a whole. Raises Problem 403
        for who sees some projects alone, where pictures are not of projects."""
        self._require(reach)
        return self._chosen(reach, self._tables.version(self.view.nodes))

    def choice(self, asked: str, reach: Reach) -> Choice | None:
        """What an address names; without one the first that there is; None where there is none. Raises Problem 403 for
        another tenant's, whether there is such a tenant or not."""
        if not asked:
            return next(iter(self.choices(reach)), None)
        tenant, _, scope = asked.partition("/")
        choice = Choice(unquote(tenant), unquote(scope) or None)
        self._require(reach, choice)
        return choice

    def of(self, choice: Choice, reach: Reach) -> GraphPicture:
        """Of a project its nodes and those of none, which serve several. Raises Problem 403 for another's."""
        self._require(reach, choice)
        versions = tuple(self._tables.version(table) for table in self.view.tables)
        return self._kept(choice.tenant, choice.scope, versions)

    def _require(self, reach: Reach, choice: Choice | None = None) -> None:
        """Raise Problem 403 for what may not be seen: another's, or all of a tenant for who sees projects alone."""
        if reach.projects is not None and self.view.nodes.within_tenant != self.view.scope:
            raise whole_tenants_alone()
        if choice:
            reach.require((choice.tenant,), (choice.scope or "",))

    def _choices(self, reach: Reach, _version: int | None) -> list[Choice]:
        view = self.view
        rows = self._tables.scan(view.nodes, reach, None, {}).select(view.tenant, view.scope).collect()
        counted = (
            rows.group_by(view.tenant, view.scope)
            .len()
            .sort("len", view.tenant, view.scope, descending=[True, False, False])
        )
        scopes = [Choice(*row) for row in counted.drop_nulls().iter_rows()]
        if reach.projects is not None:
            return scopes[:MOST_CHOICES]
        tenants = rows.group_by(view.tenant).len().sort(view.tenant)
        return [*scopes[:MOST_CHOICES], *(Choice(name, None, count) for name, count in tenants.iter_rows())]

    def _made(self, tenant: str, scope: str | None, _versions: tuple[int | None, ...]) -> GraphPicture:
        view, reach = self.view, Reach(tenant)
        here = pl.lit(True) if scope is None else pl.col(view.scope).is_null() | (pl.col(view.scope) == scope)
        rows = self._tables.scan(view.nodes, reach, None, {}).filter(here).collect()
        rows = rows.sort(pl.col(view.size).fill_null(0), view.node, descending=[True, False])
        nodes = rows.head(MOST_NODES).with_row_index("_place")
        edges = self._edges(nodes, self._tables.scan(view.edges, reach, None, {}))
        ends = edges.select("_one", "_other").to_numpy().astype(np.int64).reshape(-1, 2)
        weights = np.maximum(edges[view.weight].cast(pl.Float64).to_numpy(), 1e-6)
        groups = nodes[view.group].fill_null(0).to_numpy()
        told = _told(view, nodes, edges)
        listed = self._listed(view.listing, reach, scope) if view.listing and scope is not None else []
        return GraphPicture(told, laid_out(groups, ends, weights), ends, weights, len(rows) - len(nodes), listed)

    def _edges(self, nodes: pl.DataFrame, edges: pl.LazyFrame) -> pl.DataFrame:
        """Those between the nodes that are shown, the heaviest first, with the places of their ends."""
        view = self.view
        places = nodes.lazy().select(view.node, pl.col("_place").cast(pl.Int64))
        one, other = view.ends
        return (
            edges.join(places.rename({"_place": "_one"}), left_on=one, right_on=view.node)
            .join(places.rename({"_place": "_other"}), left_on=other, right_on=view.node)
            .select("_one", "_other", view.weight)
            .sort(view.weight, "_one", "_other", descending=[True, False, False])
            .collect()
        )

    def _listed(self, listing: Listing, reach: Reach, scope: str) -> list[tuple[Any, ...]]:
        rows = self._tables.scan(listing.table, reach, None, {self.view.scope: (scope,)})
        ordered = rows.sort(listing.by, listing.name, descending=[True, False]).head(MOST_LISTED)
        return (
            ordered.select(
                pl.col(name).alias(f"{at}") for at, name in enumerate((listing.name, *listing.columns.values()))
            )
            .collect()
            .rows()
        )


def _told(view: GraphView, nodes: pl.DataFrame, edges: pl.DataFrame) -> list[Node]:
    labels = [row[0] or row[1] for row in nodes.select(view.label, view.node).iter_rows()]
    nearest: dict[int, list[str]] = {}
    for one, other in edges.select("_one", "_other").iter_rows():
        for this, that in ((one, other), (other, one)):
            known = nearest.setdefault(this, [])
            if len(known) < NEAREST:
                known.append(labels[that])
    columns: Mapping[str, str] = view.shown
    return [
        Node(
            name=row[view.node],
            label=labels[at],
            group=row[view.group],
            size=row[view.size] or 0.0,
            shown=[row[name] for name in columns.values()],
            nearest=nearest.get(at, []),
        )
        for at, row in enumerate(nodes.iter_rows(named=True))
    ]
