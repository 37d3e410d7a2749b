"""One version of research/embeddings in memory, tenant by tenant: what is looked through is a tenant's own, so that no
filter can let another's text pass, and no other's words weigh on the order.
Not here: when it is made anew (corpus), what a question is (searching)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from data_platform.domains.research.search.models import EmbeddingModel, Vectors
from data_platform.domains.research.search.nearest import Allowed, Approximate, Exact, Places, Ranked, best
from data_platform.domains.research.search.vectors import unpacked
from data_platform.domains.research.search.words import WordIndex

ORDER = ("tenant_id", "text_kind", "discussion_id", "sequence", "text_id")
"""What follows each other in a discussion is next to each other."""


Space = tuple[str, str, int]
"""Name, version and dimensions of a model: vectors of one space compare with each other."""


def space_of(model: EmbeddingModel | None) -> Space | None:
    return (model.name, model.version, model.dimensions) if model else None


class TenantIndex:
    """The texts of one tenant. Places count from 0."""

    def __init__(self, rows: pl.DataFrame, model: EmbeddingModel | None, approximate_above: int | None) -> None:
        """`rows`: Embeddings of one tenant, in ORDER."""
        self._with_vector, vectors = _vectors(rows, model)
        is_large = approximate_above is not None and len(vectors) > approximate_above
        self.dense = Approximate(vectors) if is_large else Exact(vectors)
        self.words = WordIndex(rows["text"])
        self.rows = rows.drop("vector")
        questions = self.rows.filter(pl.col("text_kind") == "question")
        self.asked = {
            row[:3]: row[3] for row in questions.select("project_id", "survey_id", "question_id", "text").rows()
        }
        """(project, survey, question) → what is asked."""

    def allowed(self, conditions: Sequence[pl.Expr]) -> Allowed | None:
        """Which texts meet all conditions; None without any."""
        if not conditions:
            return None
        met: Allowed = self.rows.select(pl.all_horizontal(conditions).fill_null(False)).to_series().to_numpy()
        return met

    def by_meaning(self, query: Vectors, count: int, allowed: Allowed | None) -> Ranked:
        """The nearest texts, and their cosine."""
        if not len(self.dense):
            return best(np.empty(0, np.float32), 0)
        of_vectors = None if allowed is None else allowed[self._with_vector]
        found = self.dense.nearest(query, count, of_vectors)
        return Ranked(self._with_vector[found.places], found.scores)

    def by_words(self, query: str, count: int, allowed: Allowed | None) -> Ranked:
        """The texts that share words with the query, and their BM25."""
        scores = self.words.scores(query, allowed)
        shares = scores > 0
        return best(scores, count, shares if allowed is None else shares & allowed)


@dataclass(frozen=True)
class Index:
    """All texts of one version of the table."""

    version: int | None
    space: Space | None
    """Of the model whose vectors are in it; None without any."""
    tenants: dict[str, TenantIndex]
    texts: int
    vectors: int
    """Texts that have a vector of the model: the others are found by their words alone."""


def indexed(
    rows: pl.DataFrame, version: int | None, model: EmbeddingModel | None, approximate_above: int | None = None
) -> Index:
    """An index of rows of Embeddings; of a text of several days the newest row counts. More vectors of a tenant than
    `approximate_above` (None: however many) are searched approximately."""
    newest = rows.sort("text_date").unique(["tenant_id", "text_kind", "text_id"], keep="last")
    standing = newest.filter(~pl.col("is_removed")).sort(ORDER)
    by_tenant = {
        str(tenant): TenantIndex(part, model, approximate_above)
        for (tenant,), part in standing.partition_by("tenant_id", as_dict=True, maintain_order=True).items()
    }
    return Index(version, space_of(model), by_tenant, len(standing), sum(len(one.dense) for one in by_tenant.values()))


def chosen(index: Index, tenants: Collection[str] | None) -> dict[str, TenantIndex]:
    """What these tenants have; None is everybody."""
    return {name: one for name, one in index.tenants.items() if tenants is None or name in tenants}


def _vectors(rows: pl.DataFrame, model: EmbeddingModel | None) -> tuple[Places, Vectors]:
    """Places of rows with a vector of the model, and these."""
    if model is None:
        return np.empty(0, np.int64), np.empty((0, 1), np.float32)
    of_model = (pl.col("model") == model.name) & (pl.col("model_version") == model.version)
    of_model &= pl.col("dimensions") == model.dimensions
    places = rows.select((of_model & pl.col("vector").is_not_null()).fill_null(False)).to_series().arg_true()
    return places.to_numpy().astype(np.int64), unpacked(rows["vector"].gather(places), model.dimensions)
