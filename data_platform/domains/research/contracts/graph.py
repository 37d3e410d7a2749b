"""Contracts of the graph of research: which personas are alike, what they speak of, and how they group.
Not here: how that is worked out (transforms), walking and exporting the graph (graph)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.table import Rule, Severity, column
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.contracts.registry import OfTenant, Personas
from data_platform.domains.research.contracts.search import Embeddings

BASES = ("own_vector", "text_vector", "traits")
NEAREST = 5
"""Of each persona so many may be edges; more make one lump of a project's twenty personas."""
LEAST_SIMILARITY = {"own_vector": 0.5, "text_vector": 0.8, "traits": 0.5}
"""Cosines below are no edge. Models of the e5 family give unrelated texts 0.7 and more; traits share half at 0.5."""
MOST_WORDS = 3
"""Words of the longest concept."""
LARGEST_BETWEENNESS = 2_000
"""Personas of the largest graph whose betweenness is worked out: it takes personas × edges, of 2,000 some 5 s."""
VECTOR_SOURCES = [Personas.embedding, Embeddings.vector, Personas.demographics, Personas.personal_values]


class PersonaSimilarity(OfTenant):
    """Personas that are alike: an edge between two of a tenant where one is among the five nearest of the other and
    their cosine is high enough. Each pair is told once, the smaller id first. All personas of a tenant are compared by
    one kind of vector (`basis`); personas that were deleted are not compared."""

    key = "research/persona_similarity"
    primary_key = ("tenant_id", "persona_id", "other_persona_id")
    only_changed = True
    row_rules = (
        Rule("pair_is_told_once", "the smaller id comes first", pl.col("persona_id") < pl.col("other_persona_id")),
    )

    persona_id: str = column("One of the two, whose id is smaller.", min_length=1)
    other_persona_id: str = column("The other.", min_length=1, derived_from=[Personas.persona_id])
    project_id: str | None = column("Project of the one; null where it serves several.")
    other_project_id: str | None = column("Project of the other.", derived_from=[Personas.project_id])
    similarity: float = column("Cosine, to six digits: 1 is the same.", ge=-1, le=1, derived_from=VECTOR_SOURCES)
    basis: str = column(
        "What was compared: `own_vector` that came with the personas, else `text_vector` of their descriptions "
        "(research/embeddings), else `traits`: segment, demographics and values.",
        isin=BASES,
        derived_from=VECTOR_SOURCES,
    )
    model: str | None = column(
        "Model of the vectors, and its version; null for traits.",
        derived_from=[Personas.embedding, Embeddings.model, Embeddings.model_version],
    )


class Mentions(OfTenant):
    """What personas spoke of: one row per day, project, persona and concept. A concept is a run of up to three words
    without a stop word or a mark between them, or one word, as a response of the persona has it."""

    key = "research/mentions"
    partition = "mention_date"
    within_tenant = "project_id"
    primary_key = ("mention_date", "tenant_id", "project_id", "persona_id", "concept")
    profiled = False

    mention_date: dt.date = column("UTC day of the responses.", derived_from=[DiscussionEvents.event_date])
    project_id: str = column("Project of the discussions.", min_length=1)
    persona_id: str = column("The persona.", min_length=1)
    concept: str = column("The concept, in small letters.", min_length=1, derived_from=[DiscussionEvents.text])
    texts: int = column("Responses with it.", unit="events", ge=1, derived_from=[DiscussionEvents.text])
    mentions: int = column("How often it was said.", ge=1, derived_from=[DiscussionEvents.text])


class Concepts(OfTenant):
    """What a project's personas speak of: one row per project and concept."""

    key = "research/concepts"
    within_tenant = "project_id"
    primary_key = ("tenant_id", "project_id", "concept")
    profiled = False

    project_id: str = column("The project.", min_length=1)
    concept: str = column("The concept, in small letters.", min_length=1)
    words: int = column("Words that it has.", unit="words", ge=1, le=MOST_WORDS, derived_from=[Mentions.concept])
    personas: int = column("Personas who spoke of it.", unit="personas", ge=1, derived_from=[Mentions.persona_id])
    texts: int = column("Responses with it.", unit="events", ge=1)
    mentions: int = column("How often it was said.", ge=1)
    first_day: dt.date = column("First day that it was said (UTC).", derived_from=[Mentions.mention_date])
    last_day: dt.date = column("Last day that it was said (UTC).", derived_from=[Mentions.mention_date])


class PersonaCommunities(OfTenant):
    """Where each persona stands in the graph of its tenant: one row per persona that there is, also without an edge.
    Communities are those of Louvain, seeded; the same graph has the same ones."""

    key = "research/persona_communities"
    within_tenant = "project_id"
    primary_key = ("tenant_id", "persona_id")
    only_changed = True
    row_rules = (
        Rule(
            "has_a_community",
            "every persona has a community (the extra `graph` is installed)",
            pl.col("community").is_not_null(),
            Severity.INFO,
        ),
    )

    persona_id: str = column("The persona.", min_length=1)
    project_id: str | None = column("Its project; null where it serves several.")
    name: str | None = column("Its invented name.")
    segment: str | None = column("Market segment it stands for.")
    community: int | None = column(
        "Its community: 1 is the tenant's largest, of two alike that with the smallest id; null without the extra "
        "`graph`.",
        ge=1,
        derived_from=[PersonaSimilarity.similarity],
    )
    community_size: int | None = column(
        "Personas in it.", unit="personas", ge=1, derived_from=[PersonaSimilarity.similarity]
    )
    component: int = column(
        "What of the graph hangs together, numbered as communities are.",
        ge=1,
        derived_from=[PersonaSimilarity.persona_id],
    )
    neighbours: int = column("Personas like it.", unit="personas", ge=0, derived_from=[PersonaSimilarity.persona_id])
    pagerank: float = column(
        "PageRank over the similarities (damping 0.85); of a tenant they add up to 1.",
        ge=0,
        le=1,
        derived_from=[PersonaSimilarity.similarity],
    )
    betweenness: float | None = column(
        "Shortest paths between two others that pass it, where there are several the share of them; null in a tenant "
        f"with more than {LARGEST_BETWEENNESS:,} personas, and without the extra `graph`.",
        ge=0,
        derived_from=[PersonaSimilarity.persona_id],
    )
