"""Texts get their vectors: each distinct text once, and none that has one already.
Not here: which texts (transforms/search_texts), models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.core.lake.store import Lake
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.search.models import EmbeddingModel
from data_platform.domains.research.search.vectors import packed

BATCH = 512
"""Texts given to a model at once."""
OF_A_VECTOR = {"text_digest": pl.String(), "vector": pl.Binary()}


def with_vectors(texts: pl.DataFrame, model: EmbeddingModel | None, known: pl.DataFrame) -> pl.DataFrame:
    """What `search_texts` makes → Embeddings, with vectors; null without a model.

    `known` (text_digest, vector) are vectors that this model has made before. Whether it is empty or not changes how
    long this takes, and nothing else: a text's vector depends on text and model alone.
    """
    if model is None:
        return _conformed(texts.with_columns(vector=pl.lit(None, pl.Binary())), None)
    wanted = texts.filter(~pl.col("is_removed")).unique("text_digest", maintain_order=True)
    missing = wanted.join(known, on="text_digest", how="anti").sort("text_digest")
    made = pl.concat(
        [known.select(pl.col(name).cast(kind) for name, kind in OF_A_VECTOR.items()), *_made(missing, model)]
    )
    joined = texts.join(made, on="text_digest", how="left").with_columns(
        vector=pl.when(~pl.col("is_removed")).then("vector")
    )
    return _conformed(joined, model)


def known_vectors(lake: Lake, model: EmbeddingModel, digests: Sequence[str]) -> pl.DataFrame:
    """text_digest, vector of the texts that have one by this very model, on whatever day."""
    if not lake.exists(Embeddings):
        return pl.DataFrame(schema=OF_A_VECTOR)
    of_model = (pl.col("model") == model.name) & (pl.col("model_version") == model.version)
    rows = lake.scan(Embeddings).filter(
        pl.col("text_digest").is_in(list(digests)), of_model, pl.col("vector").is_not_null()
    )
    return rows.select(*OF_A_VECTOR).unique("text_digest").collect()


def _made(texts: pl.DataFrame, model: EmbeddingModel) -> Iterator[pl.DataFrame]:
    for part in texts.iter_slices(BATCH):
        vectors = packed(model.passages(part["shown"].to_list()))
        yield pl.DataFrame({"text_digest": part["text_digest"], "vector": vectors}, schema=OF_A_VECTOR)


def _conformed(rows: pl.DataFrame, model: EmbeddingModel | None) -> pl.DataFrame:
    """With what is said of each vector, in the contract's columns and types."""
    facts = {
        "model": model.name if model else None,
        "model_version": model.version if model else None,
        "dimensions": model.dimensions if model else None,
    }
    there = pl.col("vector").is_not_null()
    told = rows.with_columns(pl.when(there).then(pl.lit(value)).alias(name) for name, value in facts.items())
    return conform(Embeddings, told)
