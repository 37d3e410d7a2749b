"""Vectors as a table keeps them: bytes of half precision, little-endian. Not here: where vectors come from.

Half precision halves table and reading; of unit vectors with 384 dimensions a dot product moves by less than 1e-4."""

from __future__ import annotations

import numpy as np
import polars as pl

from data_platform.domains.research.search.models import Vectors

_HALF = np.dtype("<f2")


def packed(vectors: Vectors) -> list[bytes]:
    """(n, dimensions) → one value of a column `vector` each."""
    return [row.tobytes() for row in vectors.astype(_HALF)]


def unpacked(column: pl.Series, dimensions: int) -> Vectors:
    """A column `vector` without nulls → (n, dimensions). Raises ValueError where one has other dimensions."""
    if not (column.bin.size() == dimensions * _HALF.itemsize).all():
        raise ValueError(f"a vector of another length than {dimensions} numbers")
    return np.frombuffer(b"".join(column), _HALF).reshape(-1, dimensions).astype(np.float32)


def of_length_one(vectors: Vectors) -> Vectors:
    """The same directions; raises ValueError for a vector that has none (zeros, infinities)."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("a vector without a direction")
    found: Vectors = vectors / lengths
    return found
