"""The graph as files for others: GraphML, and the CSV files that `neo4j-admin database import` reads.
Not here: the tables it is made of (contracts/graph).

Nodes are personas and concepts, edges SIMILAR_TO (told once, it goes both ways) and MENTIONS. An id is made of the
kind, the tenant, for a concept its project, and the name, each percent-encoded where it has a `/` or `%`. Characters
that XML forbids, and line breaks, which an import takes for a new row, are written as �."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

import polars as pl

from data_platform.core.durable import durable_file
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.domains.research.contracts.graph import Concepts, Mentions, PersonaCommunities, PersonaSimilarity

ID, START, END = "id", "start", "end"
NODES = {"personas": "Persona", "concepts": "Concept"}
EDGES = {"similar_to": "SIMILAR_TO", "mentions": "MENTIONS"}
FORBIDDEN = "[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]"
TYPES: dict[type[pl.DataType], str] = {pl.Int64: "long", pl.Float64: "double", pl.String: "string"}
"""The same words in GraphML and in headers of Neo4j."""
CHUNK = 10_000


@dataclass(frozen=True)
class GraphRows:
    """What is exported, in order of ids. Frames of nodes have `id`, those of edges `start` and `end`."""

    nodes: Mapping[str, pl.DataFrame]
    edges: Mapping[str, pl.DataFrame]

    def counts(self) -> dict[str, int]:
        return {name: len(frame) for name, frame in (*self.nodes.items(), *self.edges.items())}


def graph_rows(lake: Lake, tenant: str | None = None, project: str | None = None) -> GraphRows:
    """The graph as the tables have it; of a project its concepts, its personas and those of none.

    Raises PlatformError before the first build."""
    for table in (PersonaCommunities, PersonaSimilarity, Concepts, Mentions):
        if not lake.exists(table):
            raise PlatformError(f"{table.key} has not been built yet.", f"Run `data-platform build {table.key}`.")
    mine = pl.lit(True) if tenant is None else pl.col("tenant_id") == tenant
    of_project = pl.lit(True) if project is None else pl.col("project_id") == project
    personas = lake.scan(PersonaCommunities).filter(mine, of_project | pl.col("project_id").is_null())
    concepts = lake.scan(Concepts).filter(mine, of_project)
    nodes = {
        "personas": personas.select(
            node_id("persona", "persona_id").alias(ID), "tenant_id", "persona_id", "project_id", "name", "segment",
            "community", "neighbours", "pagerank", "betweenness",
        ),
        "concepts": concepts.select(
            node_id("concept", "project_id", "concept").alias(ID), "tenant_id", "project_id", "concept", "personas",
            "texts", "mentions",
        ),
    }  # fmt: skip
    similar = lake.scan(PersonaSimilarity).filter(mine)
    said = lake.scan(Mentions).filter(mine, of_project)
    edges = {
        "similar_to": similar.select(
            node_id("persona", "persona_id").alias(START), node_id("persona", "other_persona_id").alias(END),
            "similarity",
        ),
        "mentions": said.group_by("tenant_id", "project_id", "persona_id", "concept")
        .agg(pl.col("texts", "mentions").sum())
        .select(
            node_id("persona", "persona_id").alias(START), node_id("concept", "project_id", "concept").alias(END),
            "texts", "mentions",
        ),
    }  # fmt: skip
    ids = pl.concat([frame.select(ID) for frame in nodes.values()])
    # A persona that is gone has said something all the same: an edge to nobody is no edge of a graph.
    known = {
        name: frame.join(ids, left_on=START, right_on=ID, how="semi").join(ids, left_on=END, right_on=ID, how="semi")
        for name, frame in edges.items()
    }
    return GraphRows(
        {name: _clean(frame.sort(ID)).collect() for name, frame in nodes.items()},
        {name: _clean(frame.sort(START, END)).collect() for name, frame in known.items()},
    )


def node_id(kind: str, *names: str) -> pl.Expr:
    parts = [
        pl.col(name).str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F", literal=True)
        for name in ("tenant_id", *names)
    ]
    return pl.concat_str(pl.lit(kind), *parts, separator="/")


def _clean(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.with_columns(pl.col(pl.String).str.replace_all(FORBIDDEN, "�"))


def write_graphml(graph: GraphRows, file: Path) -> None:
    """One file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with durable_file(file) as out:
        out.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
        keys = {
            kind: {name: f"{kind}_{name}" for frame in frames.values() for name in ("label", *_properties(frame))}
            for kind, frames in (("node", graph.nodes), ("edge", graph.edges))
        }
        types = {
            name: kind
            for frame in (*graph.nodes.values(), *graph.edges.values())
            for name, kind in _properties(frame).items()
        }
        for kind, names in keys.items():
            for name, key in names.items():
                typed = types.get(name, "string")
                out.write(f'<key id="{key}" for="{kind}" attr.name="{name}" attr.type="{typed}"/>\n'.encode())
        out.write(b'<graph edgedefault="directed">\n')
        for name, frame in graph.nodes.items():
            _write_elements(out, "node", NODES[name], frame, keys["node"])
        for name, frame in graph.edges.items():
            _write_elements(out, "edge", EDGES[name], frame, keys["edge"])
        out.write(b"</graph>\n</graphml>\n")


def _write_elements(out: BinaryIO, kind: str, label: str, frame: pl.DataFrame, keys: Mapping[str, str]) -> None:
    attributes = {"node": {"id": ID}, "edge": {"source": START, "target": END}}[kind]
    names = [*_properties(frame)]
    for part in frame.iter_slices(CHUNK):
        lines = []
        for row in part.iter_rows(named=True):
            ends = " ".join(f"{name}={quoteattr(row[column])}" for name, column in attributes.items())
            told = [("label", label), *((name, row[name]) for name in names if row[name] is not None)]
            data = "".join(f'<data key="{keys[name]}">{escape(str(value))}</data>' for name, value in told)
            lines.append(f"<{kind} {ends}>{data}</{kind}>\n")
        out.write("".join(lines).encode())


def write_neo4j(graph: GraphRows, folder: Path) -> list[Path]:
    """A file for each kind of node and edge, with the header that the import expects; the files, nodes first."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, frame in (*graph.nodes.items(), *graph.edges.items()):
        ends = {ID: ":ID", START: ":START_ID", END: ":END_ID"}
        headers = {column: f"{column}:{kind}" for column, kind in _properties(frame).items()}
        label = pl.lit(NODES[name]).alias(":LABEL") if name in NODES else pl.lit(EDGES[name]).alias(":TYPE")
        file = folder / f"{name}.csv"
        with durable_file(file) as out:
            found = {column: header for column, header in ends.items() if column in frame.columns}
            frame.rename(found | headers).with_columns(label).write_csv(out)
        files.append(file)
    return files


def import_command(files: list[Path]) -> str:
    """How the files are read into a new database of Neo4j 5."""
    options = [f"--{'nodes' if file.stem in NODES else 'relationships'}={file.name}" for file in files]
    return f"neo4j-admin database import full {' '.join(options)} research"


def _properties(frame: pl.DataFrame) -> dict[str, str]:
    """Column → its type, in the words of both formats."""
    return {name: TYPES[type(dtype)] for name, dtype in frame.schema.items() if name not in (ID, START, END)}
