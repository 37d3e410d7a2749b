"""The graph of research as assets: who is like whom, who speaks of what, how personas group.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

from data_platform.core.orchestration.assets import asset
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.contracts.graph import Concepts, Mentions, PersonaCommunities, PersonaSimilarity
from data_platform.domains.research.contracts.registry import Personas
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.transforms.concepts import concepts, mentions
from data_platform.domains.research.transforms.persona_communities import persona_communities
from data_platform.domains.research.transforms.persona_similarity import persona_similarity

mentioned_concepts = asset(Mentions, mentions, events=DiscussionEvents.days())
concepts_of_projects = asset(Concepts, concepts, mentions=Mentions)
similar_personas = asset(PersonaSimilarity, persona_similarity, personas=Personas, texts=Embeddings)
communities_of_personas = asset(
    PersonaCommunities, persona_communities, personas=Personas, similarity=PersonaSimilarity
)
