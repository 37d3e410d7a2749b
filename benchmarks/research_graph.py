"""The graph of research: who of 10,000 personas is like whom, how they group, and who is related to one; and concepts
of a day. Not here: replay, search."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Iterator
from statistics import quantiles

import numpy as np
import polars as pl

from benchmarks.bench import START, Bench
from benchmarks.table import Row
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.contracts.graph import NEAREST
from data_platform.domains.research.contracts.registry import Personas
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.graph.related import PersonaGraph
from data_platform.domains.research.search.vectors import of_length_one, packed
from data_platform.domains.research.transforms.concepts import mentions
from data_platform.domains.research.transforms.persona_communities import persona_communities
from data_platform.domains.research.transforms.persona_similarity import persona_similarity

PERSONAS = 10_000
DIMENSIONS = 384
KINDS = 40
"""Of persona: those of one kind are alike."""
RESPONSES = 33_000
"""Of a day: a million a month."""
ASKED = 500
HOPS = 3
MOST_SECONDS = 10
MOST_MILLISECONDS = 100
SUBJECTS = ("price", "story", "friends", "loot boxes", "fair play", "music", "family plan", "cena", "muzyka")


def research_graph(bench: Bench) -> Iterator[Row]:
    count = bench.scaled(PERSONAS)
    personas, texts = _personas(count), _texts(count)
    for basis, vectors in (("vectors of texts", texts), ("traits", texts.clear())):
        began = time.perf_counter()
        edges = persona_similarity(personas.lazy(), vectors.lazy())
        seconds = time.perf_counter() - began
        yield Row(
            f"similarity of {count:,} personas by {basis}, the {NEAREST} nearest of each, exact",
            f"{seconds:.1f} s",
            f"{len(edges):,} edges",
            "",
            f"< {MOST_SECONDS} s",
            seconds < MOST_SECONDS,
        )
        if basis != "traits":
            by_texts = edges
    began = time.perf_counter()
    nodes = persona_communities(personas.lazy(), by_texts.lazy())
    seconds = time.perf_counter() - began
    yield Row(
        "… their communities, components and PageRank", f"{seconds:.1f} s", f"{nodes['community'].max()} communities"
    )

    graph = PersonaGraph(personas.select("persona_id", "project_id", "name"), by_texts)
    rng = random.Random(7)
    took, reached = [], []
    for _ in range(ASKED):
        asked = personas["persona_id"][rng.randrange(count)]
        began = time.perf_counter()
        reached.append(len(graph.related(asked, HOPS)))
        took.append(1000 * (time.perf_counter() - began))
    cuts = quantiles(took, n=20)
    yield Row(
        f"… personas related to one within {HOPS} hops, from memory, p95",
        f"{cuts[18]:.1f} ms",
        f"p50 {cuts[9]:.1f} ms, {sum(reached) / ASKED:.0f} personas each",
        "",
        f"< {MOST_MILLISECONDS} ms",
        cuts[18] < MOST_MILLISECONDS,
    )
    events = _responses(bench.scaled(RESPONSES))
    began = time.perf_counter()
    found = mentions(events.lazy()).collect()
    seconds = time.perf_counter() - began
    yield Row(f"concepts of a day of {len(events):,} responses", f"{seconds:.1f} s", f"{len(found):,} mentions")


def _personas(count: int) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    kind = np.arange(count) % KINDS
    traits = [
        f'{{"age": {20 + at % 60}, "region": "r{at % 7}", "job": "j{at}", "hobby": "h{hobby}"}}'
        for at, hobby in zip(kind.tolist(), rng.integers(0, 30, count).tolist(), strict=True)
    ]
    rows = pl.DataFrame({"persona_id": [f"p-{n:06}" for n in range(count)], "demographics": traits}).with_columns(
        tenant_id=pl.lit("t-1"),
        project_id=pl.lit("project-1"),
        name=pl.lit("Ana"),
        segment="s" + pl.Series(kind % 4).cast(pl.String),
        is_current=pl.lit(True),
        valid_from=pl.lit(dt.datetime.combine(START, dt.time(), dt.UTC)),
    )
    return _filled(rows, Personas.schema())


def _texts(count: int) -> pl.DataFrame:
    """Vectors around those of the kinds."""
    rng = np.random.default_rng(2)
    kinds = rng.standard_normal((KINDS, DIMENSIONS))
    vectors = kinds[np.arange(count) % KINDS] + 0.4 * rng.standard_normal((count, DIMENSIONS))
    rows = pl.DataFrame(
        {
            "persona_id": [f"p-{n:06}" for n in range(count)],
            "vector": packed(of_length_one(vectors.astype(np.float32))),
        }
    ).with_columns(
        tenant_id=pl.lit("t-1"), text_kind=pl.lit("persona"), text_date=pl.lit(START), is_removed=pl.lit(False),
        model=pl.lit("m"), model_version=pl.lit("1"), dimensions=pl.lit(DIMENSIONS, pl.Int64),
    )  # fmt: skip
    return _filled(rows, Embeddings.schema())


def _responses(count: int) -> pl.DataFrame:
    rng = random.Random(3)
    texts = [
        f"For me it is all about the {rng.choice(SUBJECTS)} after a long day. The {rng.choice(SUBJECTS)} matters less."
        for _ in range(count)
    ]
    at = dt.datetime.combine(START, dt.time(12), dt.UTC)
    rows = pl.DataFrame({"text": texts}).with_columns(
        event_date=pl.lit(START), tenant_id=pl.lit("t-1"), project_id=pl.lit("project-1"), occurred_at=pl.lit(at),
        persona_id="p-" + (pl.int_range(pl.len()) % 500).cast(pl.String), event_type=pl.lit("response"),
    )  # fmt: skip
    return _filled(rows, DiscussionEvents.schema())


def _filled(rows: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    missing = [pl.lit(None).alias(name) for name in schema if name not in rows.columns]
    return rows.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in schema.items())
