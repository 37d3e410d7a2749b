"""Commands of the graph of research: `research related` and `research export-graph`.
Not here: the graph (domains/research/graph)."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid

from data_platform.core.errors import counted
from data_platform.core.terminal import AsJson, cell, out, print_json

Tenant = Annotated[str | None, typer.Option(metavar="TENANT", help="Whose personas.")]
Project = Annotated[str | None, typer.Option(metavar="PROJECT", help="Of this project, and those of none.")]


class Format(StrEnum):
    GRAPHML = "graphml"
    NEO4J = "neo4j"


def related(
    persona: Annotated[str, typer.Argument(metavar="PERSONA", help="For example persona-0001.")],
    hops: Annotated[int, typer.Option(min=1, help="How many steps from alike to alike.")] = 3,
    tenant: Tenant = None,
    project: Project = None,
    top: Annotated[int, typer.Option(min=1, help="How many to show, the nearest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """See who is related to a persona: who is like it, who is like those, and so on."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.research.graph.related import related_personas

    found = related_personas(configured_lake(), persona, hops, tenant, project)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found[:top]])
        return
    grid = Grid("hops", "persona", "name", "project", "strength", "via", box=None, pad_edge=False)
    for one in found[:top]:
        facts = (one.hops, one.persona_id, one.name, one.project_id or "–", one.strength, one.via)
        grid.add_row(*(cell(fact) for fact in facts))
    out.print(grid)
    out.print(f"{counted(len(found), 'persona')} within {counted(hops, 'hop')}.")


def export_graph(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A file for graphml, a folder for neo4j.")],
    form: Annotated[Format, typer.Option("--format", help="What reads it.")] = Format.GRAPHML,
    tenant: Tenant = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Write personas, concepts and what is between them to files that graph tools read."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.research.graph.exporting import graph_rows, import_command, write_graphml, write_neo4j

    graph = graph_rows(configured_lake(), tenant, project)
    if form == Format.GRAPHML:
        write_graphml(graph, path)
        files = [path]
    else:
        files = write_neo4j(graph, path)
    if as_json:
        print_json({"files": [str(file) for file in files], **graph.counts()})
        return
    out.print(", ".join(f"{number:,} {name}" for name, number in graph.counts().items()))
    for file in files:
        out.print(f"  {file}", soft_wrap=True, markup=False)
    if form == Format.NEO4J:
        out.print(f"In that folder: {import_command(files)}", soft_wrap=True, markup=False)
