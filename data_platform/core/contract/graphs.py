"""What a picture of a graph shows of tables: nodes and the edges between them, declared by columns of contracts.
Belongs here: the declaration, and what is wrong with one. Not here: reading tables, drawing (web/graphs)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.table import Table


@dataclass(frozen=True, eq=False)
class Listing:
    """What is listed beside a picture: the rows of a table with the greatest `by`, of the same tenant and scope."""

    title: str
    table: type[Table]
    name: str
    """Column of what is listed, once in a tenant and scope."""
    by: str
    columns: dict[str, str]
    """Words → column of a number."""


@dataclass(frozen=True, eq=False)
class GraphView:
    """A graph for every tenant and scope. A domain names its own in `GRAPHS` of a module called `graph_views`.

    Columns are named by their names; `scope` and the tenant's column are in every table."""

    title: str
    text: str
    """What one sees, and how to read it."""
    nodes: type[Table]
    node: str
    """Column that names a node, once in a tenant."""
    label: str
    """What people call it."""
    scope: str
    """Column that tells pictures apart, for example projects; null for nodes that are in all of a tenant."""
    group: str
    """Whole number that nodes of one colour have in common."""
    size: str
    """Number that makes a node larger, and has it shown where not all are."""
    shown: dict[str, str]
    """Words → further column of a node, told in words."""
    edges: type[Table]
    ends: tuple[str, str]
    """Columns of the nodes that an edge is between; the edge has no direction."""
    weight: str
    """Number: a greater one draws its ends nearer together."""
    listing: Listing | None = None

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise TypeError(f"graph “{self.title}”: {problem}")

    @property
    def tenant(self) -> str:
        """The column of tenants, the same in every table."""
        assert self.nodes.tenant is not None
        return self.nodes.tenant

    @property
    def slug(self) -> str:
        """Its place in an address."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def tables(self) -> tuple[type[Table], ...]:
        return (self.nodes, self.edges, *([self.listing.table] if self.listing else []))


def _problems(view: GraphView) -> Iterator[str]:
    """What could not be shown, or must not."""
    needed = [
        (view.nodes, (view.node, view.label, view.scope, view.group, view.size, *view.shown.values())),
        (view.edges, (*view.ends, view.weight)),
    ]
    if view.listing:
        one = view.listing
        needed.append((one.table, (one.name, one.by, view.scope, *one.columns.values())))
    for table, names in needed:
        if strangers := [name for name in names if name not in table.columns]:
            yield f"{table.key} has no {', '.join(strangers)}"
            return
        if table.tenant is None or table.tenant != view.nodes.tenant:
            yield f"{table.key} does not say whose its rows are"
        if personal := [name for name in names if table.columns[name].personal]:
            yield f"{', '.join(personal)} tells of single persons"
    numbers = [(view.nodes, view.size), (view.edges, view.weight)]
    if odd := [name for table, name in numbers if not table.columns[name].dtype.is_numeric()]:
        yield f"{', '.join(odd)} is no number"
    if view.nodes.columns[view.group].dtype != pl.Int64():
        yield f"{view.group} is no whole number"
