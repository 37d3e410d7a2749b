"""Where each persona stands in the graph of its tenant. Not here: the edges (persona_similarity), the measures
(graph_measures)."""

from __future__ import annotations

import numpy as np
import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.research.contracts.graph import LARGEST_BETWEENNESS, PersonaCommunities
from data_platform.domains.research.transforms.graph_measures import (
    Edges,
    betweenness,
    communities,
    components,
    is_installed,
    numbered,
    pagerank,
)
from data_platform.domains.research.transforms.persona_similarity import current_personas

DIGITS = 9


def persona_communities(personas: pl.LazyFrame, similarity: pl.LazyFrame) -> pl.DataFrame:
    """All Personas and PersonaSimilarity → PersonaCommunities. The order of rows does not matter."""
    now = current_personas(personas)
    edges = similarity.select("tenant_id", "persona_id", "other_persona_id", "similarity").collect()
    found = [
        _of_tenant(nodes, edges.filter(pl.col("tenant_id") == tenant))
        for (tenant,), nodes in now.group_by("tenant_id", maintain_order=True)
    ]
    return pl.concat([PersonaCommunities.empty(), *found])


def graph_of(ids: pl.Series, pairs: pl.DataFrame) -> Edges:
    """Pairs of PersonaSimilarity between the personas of these ids, whose places are the nodes; in order of both."""
    places = pl.DataFrame({"id": ids, "place": np.arange(len(ids))})
    known = pairs.join(places.rename({"place": "source"}), left_on="persona_id", right_on="id").join(
        places.rename({"place": "target"}), left_on="other_persona_id", right_on="id"
    )
    ordered = known.sort("source", "target")
    weights = ordered["similarity"].cast(pl.Float64).to_numpy()
    source, target = (ordered[end].cast(pl.Int64).to_numpy() for end in ("source", "target"))
    return Edges(len(ids), source, target, weights)


def _of_tenant(nodes: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    edges = graph_of(nodes["persona_id"], pairs)
    both, unknown = edges.both_ways(), [None] * edges.nodes
    # A plain installation builds the table too, without what the extra measures.
    community = communities(edges) if is_installed() else None
    between = betweenness(edges).round(DIGITS) if is_installed() and edges.nodes <= LARGEST_BETWEENNESS else unknown
    measured = nodes.with_columns(
        community=pl.Series(unknown if community is None else community, dtype=pl.Int64),
        community_size=pl.Series(unknown if community is None else np.bincount(community)[community], dtype=pl.Int64),
        component=pl.Series(numbered(components(edges))),
        neighbours=pl.Series(np.bincount(both.source, minlength=edges.nodes)),
        pagerank=pl.Series(pagerank(both).round(DIGITS)),
        betweenness=pl.Series(between, dtype=pl.Float64),
    )
    return conform(PersonaCommunities, measured.lazy()).collect()
