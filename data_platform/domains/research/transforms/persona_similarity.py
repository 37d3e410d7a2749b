"""Which personas are alike: the nearest of each by cosine, exactly. Not here: vectors of traits (persona_traits), of
texts (search).

10,000 personas of 384 dimensions take 1.4 s on two cores (benchmark `research_graph`): every pair is compared, block by
block, in 8 MB at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.research.contracts.graph import LEAST_SIMILARITY, NEAREST, PersonaSimilarity
from data_platform.domains.research.search.models import Vectors
from data_platform.domains.research.search.vectors import of_length_one, unpacked
from data_platform.domains.research.transforms.persona_traits import trait_vectors

BLOCK = 512
"""Personas that are compared with all others at once."""
DIGITS = 6
"""Of a cosine: what two ways of adding up the same numbers agree in."""


@dataclass(frozen=True)
class Compared:
    """Vectors of all personas of a tenant, of one kind."""

    vectors: Vectors
    basis: str
    model: str | None = None


def persona_similarity(personas: pl.LazyFrame, texts: pl.LazyFrame) -> pl.DataFrame:
    """All Personas and Embeddings → PersonaSimilarity. The order of rows does not matter."""
    now = current_personas(personas)
    described = _described(texts)
    found = [
        _edges(of_tenant, _compared(of_tenant, described.filter(pl.col("tenant_id") == tenant)))
        for (tenant,), of_tenant in now.group_by("tenant_id", maintain_order=True)
    ]
    return pl.concat([PersonaSimilarity.empty(), *found])


def current_personas(personas: pl.LazyFrame) -> pl.DataFrame:
    """Those of Personas that there are now, in order of tenant and id."""
    return personas.filter("is_current").sort("tenant_id", "persona_id").collect()


def _described(texts: pl.LazyFrame) -> pl.DataFrame:
    """The newest vector of each persona's description."""
    rows = texts.filter(pl.col("text_kind") == "persona").select(
        "tenant_id", "persona_id", "text_date", "is_removed", "model", "model_version", "dimensions", "vector"
    )
    newest = rows.sort("text_date").unique(["tenant_id", "persona_id"], keep="last", maintain_order=True)
    return newest.filter(~pl.col("is_removed")).collect()


def _compared(personas: pl.DataFrame, described: pl.DataFrame) -> Compared:
    """By vectors that came with the personas, if all have one of one model; else by those of their descriptions, if all
    have one; else by traits. Never by several kinds: their cosines do not compare."""
    return _own(personas) or _of_texts(personas, described) or Compared(trait_vectors(personas.to_dicts()), "traits")


def _own(personas: pl.DataFrame) -> Compared | None:
    found, models = [], set()
    for text in personas["embedding"]:
        told = _told_vector(text)
        if told is None:
            return None
        models.add(told[0])
        found.append(told[1])
    if len(models) != 1 or len({len(vector) for vector in found}) != 1:
        return None
    return _directed(np.array(found, np.float32), "own_vector", models.pop())


def _told_vector(text: str | None) -> tuple[str, list[float]] | None:
    try:
        told = json.loads(text or "null")
        vector = [float(number) for number in told["vector"]]
        model = " ".join(str(told[name]) for name in ("model", "version") if told.get(name) is not None)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return (model, vector) if vector and all(math.isfinite(number) for number in vector) else None


def _of_texts(personas: pl.DataFrame, described: pl.DataFrame) -> Compared | None:
    space = ["model", "model_version", "dimensions"]
    rows = personas.select("persona_id").join(described, on="persona_id", how="left", maintain_order="left")
    if rows["vector"].null_count() or rows.select(space).n_unique() != 1:
        return None
    model, version, dimensions = rows.select(space).row(0)
    return _directed(unpacked(rows["vector"], dimensions), "text_vector", f"{model} {version}")


def _directed(vectors: Vectors, basis: str, model: str) -> Compared | None:
    """None where a vector has no direction."""
    try:
        return Compared(of_length_one(vectors), basis, model)
    except ValueError:
        return None


def _edges(personas: pl.DataFrame, compared: Compared) -> pl.DataFrame:
    one, other, cosine = nearest_pairs(compared.vectors, NEAREST, LEAST_SIMILARITY[compared.basis])
    ids, projects = personas["persona_id"], personas["project_id"]
    columns: dict[str, Any] = {
        "tenant_id": pl.Series([personas["tenant_id"][0]] * len(one), dtype=pl.String),
        "persona_id": ids.gather(one),
        "other_persona_id": ids.gather(other),
        "project_id": projects.gather(one),
        "other_project_id": projects.gather(other),
        "similarity": pl.Series(cosine, dtype=pl.Float64),
        "basis": pl.Series([compared.basis] * len(one), dtype=pl.String),
        "model": pl.Series([compared.model] * len(one), dtype=pl.String),
    }
    return conform(PersonaSimilarity, pl.LazyFrame(columns)).collect()


Places = npt.NDArray[np.int64]
Cosines = npt.NDArray[np.float64]


def nearest_pairs(vectors: Vectors, count: int, least: float) -> tuple[Places, Places, Cosines]:
    """Pairs (i < j) of rows of which one is among the `count` nearest of the other with a cosine of `least` or more; of
    several as near those with the smallest places. In order of i, then j. Vectors are of length 1, or 0."""
    parts = list(_nearest(vectors, count, least))
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    one, other, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
    low, high = np.minimum(one, other), np.maximum(one, other)
    # Both ends may name a pair, and their products may differ in the last bit: the greater counts.
    order = np.lexsort((-cosine, high, low))
    low, high, cosine = low[order], high[order], cosine[order]
    first = np.ones(len(low), bool)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return low[first], high[first], cosine[first]


def _nearest(vectors: Vectors, count: int, least: float) -> Iterator[tuple[Places, Places, Cosines]]:
    total = len(vectors)
    for start in range(0, total, BLOCK):
        cosine = np.clip(np.round(vectors[start : start + BLOCK] @ vectors.T, DIGITS), -1, 1)
        rows = np.arange(len(cosine))
        cosine[rows, start + rows] = -2  # nobody is near itself
        if total > count:
            bound = np.partition(cosine, total - count, axis=1)[:, total - count, None]
            found = np.nonzero(cosine >= np.maximum(bound, least))
        else:
            found = np.nonzero(cosine >= least)
        one, other, near = found[0], found[1], cosine[found].astype(np.float64).round(DIGITS)
        order = np.lexsort((other, -near, one))
        one, other, near = one[order], other[order], near[order]
        rank = np.arange(len(one)) - np.searchsorted(one, one)
        kept = rank < count
        yield one[kept] + start, other[kept], near[kept]
