"""What the nodes of a dbt project say, as its manifest and dbt's own graph hold them: which lake tables are read,
through what. Not here: making a manifest (manifest), running anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MODEL, VIEW = "delta", "view"
"""Materialisations: a table of the lake, and what stands between two."""

Node = Mapping[str, Any]
Nodes = Mapping[str, Node]


def is_lake_table(node: Node) -> bool:
    return bool(node["resource_type"] == "model" and node["config"]["materialized"] == MODEL)


def key_of(node: Node) -> str:
    """The key of the contract that a model computes."""
    return f"{node['schema']}/{node['name']}"


def between(nodes: Nodes, ids: Iterable[str]) -> list[str]:
    """Views, seeds and whatever else lies between these nodes and the lake tables that they read, each after those
    that it reads itself."""
    found: dict[str, None] = {}

    def visit(unique_id: str) -> None:
        for read in nodes[unique_id]["depends_on"].get("nodes", ()):
            if read in nodes and read not in found and not is_lake_table(nodes[read]):
                visit(read)
                found[read] = None

    for unique_id in ids:
        if unique_id in nodes:
            visit(unique_id)
    return list(found)


def tables_read(nodes: Nodes, ids: Iterable[str]) -> set[str]:
    """Keys of the lake tables that these nodes read, also through what lies between."""
    ids = [unique_id for unique_id in ids if unique_id in nodes]
    tables: set[str] = set()
    for unique_id in (*ids, *between(nodes, ids)):
        for read in nodes[unique_id]["depends_on"].get("nodes", ()):
            if read.startswith("source."):
                tables.add("/".join(read.split(".")[2:]))
            elif read in nodes and is_lake_table(nodes[read]):
                tables.add(key_of(nodes[read]))
    return tables


def views_at_once(nodes: Nodes, ids: Iterable[str]) -> list[str]:
    """The views between these nodes and the lake that read nothing else of the run, such as a seed."""
    ready: dict[str, None] = {}
    for unique_id in between(nodes, ids):
        read = nodes[unique_id]["depends_on"].get("nodes", ())
        own = [one for one in read if one in nodes and not is_lake_table(nodes[one])]
        if nodes[unique_id]["config"]["materialized"] == VIEW and all(one in ready for one in own):
            ready[unique_id] = None
    return list(ready)


def judged_model(test: Node) -> str:
    """Name of the model that a test is one of: a generic test of the model it is attached to, a singular one of the
    model that its config names (`meta={'judges': 'fct_orders'}`); empty for what is no test."""
    if test["resource_type"] != "test":
        return ""
    attached = test.get("attached_node") or ""
    return str(attached.rpartition(".")[2] or test["config"].get("meta", {}).get("judges", ""))


def is_written_by_hand(test: Node) -> bool:
    """Whether a test is none of those that the contract was made into."""
    return bool(test["resource_type"] == "test" and not test["config"].get("meta", {}).get("of_contract"))


def one_line(error: object) -> str:
    """What dbt or DuckDB says, without its line breaks and drawings."""
    return " ".join(str(error).split())[:1000]
