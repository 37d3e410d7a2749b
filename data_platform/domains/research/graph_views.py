"""What of research is shown as a picture of a graph. Not here: the tables (contracts/graph), drawing (web/graphs)."""

from __future__ import annotations

from data_platform.core.contract.graphs import GraphView, Listing
from data_platform.domains.research.contracts.graph import Concepts, PersonaCommunities, PersonaSimilarity

PERSONAS = GraphView(
    "Personas",
    "A line joins personas that are alike; a colour is a community (Louvain), and a larger circle has more PageRank. "
    "A project whose personas all have one colour asks one kind of person.",
    nodes=PersonaCommunities,
    node="persona_id",
    label="name",
    scope="project_id",
    group="community",
    size="pagerank",
    shown={"segment": "segment", "alike": "neighbours", "betweenness": "betweenness"},
    edges=PersonaSimilarity,
    ends=("persona_id", "other_persona_id"),
    weight="similarity",
    listing=Listing(
        "What they speak of", Concepts, "concept", by="mentions", columns={"personas": "personas", "said": "mentions"}
    ),
)
GRAPHS = (PERSONAS,)
