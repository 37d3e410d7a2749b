"""The vectors nearest to one: exactly, by looking at all, or nearly, by a graph (HNSW) for very many.
Not here: which of them may be seen (index)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_platform.core.errors import PlatformError
from data_platform.domains.research.search.models import Vectors

Places = npt.NDArray[np.int64]
Allowed = npt.NDArray[np.bool_]
EXACT_UP_TO = 500_000
"""Vectors that are looked at one by one: 500,000 of 384 dimensions are 0.8 GB, looked at in about 40 ms."""
WIDTH, LOOKS_BUILDING, LOOKS = 32, 128, 256
"""Of the graph: neighbours of a vector, and how many candidates are held while building and while searching. With
these it finds at least 99 % of the true ten nearest (benchmark `search`)."""
FEW = 0.25
"""Share of the vectors below which these are taken out and looked at alone: copying costs three times the looking."""
MORE = 4
"""How many more than wanted are asked of the graph where some of them may not be seen."""


@dataclass(frozen=True)
class Ranked:
    """Places, the best first, and how good each is."""

    places: Places
    scores: npt.NDArray[np.float32]


def best(scores: npt.NDArray[np.float32], count: int, allowed: Allowed | None = None) -> Ranked:
    """The `count` highest of the allowed scores; of equals the one with the lower place."""
    places = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    found = scores[places]
    if len(found) > count:
        least = np.partition(found, len(found) - count)[len(found) - count]
        # All that are as good as the last: which of equals counts must not depend on how a partition falls out.
        kept = np.flatnonzero(found >= least)
        places, found = places[kept], found[kept]
    order = np.lexsort((places, -found))[:count]
    return Ranked(places[order].astype(np.int64), found[order])


class Exact:
    """Looks at every vector."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def nearest(self, query: Vectors, count: int, allowed: Allowed | None = None) -> Ranked:
        """By cosine: vectors and query have length 1."""
        if allowed is not None and allowed.mean() < FEW:
            seen = np.flatnonzero(allowed)
            return _among(self.vectors, seen, query, count)
        return best(_cosines(self.vectors, query), count, allowed)


class Approximate(Exact):
    """Looks at some hundred vectors along a graph, of which it takes a minute per 100,000 to build. Where only some may
    be seen, and too few of those are among the ones that the graph finds, it looks at every vector after all."""

    def __init__(self, vectors: Vectors) -> None:
        """Raises PlatformError without usearch (the extra `search`)."""
        super().__init__(vectors)
        try:
            from usearch.index import Index
        except ImportError:
            raise PlatformError(
                f"More than {EXACT_UP_TO:,} texts are searched with usearch, which is not installed.",
                "Run `pip install 'data-platform[search]'`.",
            ) from None
        self._graph = Index(
            ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=WIDTH, expansion_add=LOOKS_BUILDING,
            expansion_search=LOOKS,
        )  # fmt: skip
        self._graph.add(np.arange(len(vectors)), vectors)

    def nearest(self, query: Vectors, count: int, allowed: Allowed | None = None) -> Ranked:
        wanted = count if allowed is None else MORE * count
        if allowed is not None and allowed.mean() < FEW:
            return super().nearest(query, count, allowed)
        candidates = np.sort(np.asarray(self._graph.search(query, wanted).keys, np.int64))
        seen = candidates if allowed is None else candidates[allowed[candidates]]
        if len(seen) < min(count, len(self)):
            return super().nearest(query, count, allowed)
        # The graph holds half the digits; the order is that of the vectors themselves.
        return _among(self.vectors, seen, query, count)


def _among(vectors: Vectors, places: Places, query: Vectors, count: int) -> Ranked:
    """The nearest of the vectors at these ascending places."""
    ranked = best(_cosines(vectors[places], query), count)
    return Ranked(places[ranked.places], ranked.scores)


def _cosines(vectors: Vectors, query: Vectors) -> npt.NDArray[np.float32]:
    """To six digits: equal vectors have equal ones, wherever they stand.

    Row by row and not as one product: that would start a thread per core, which on a busy machine waits for its turn
    (2,500 vectors: p95 90 ms, not 0.1; 100,000: p50 29 ms, not 9, and twice the processor time)."""
    found = np.empty(len(vectors), np.float32)
    np.vecdot(vectors, query, out=found)
    return np.round(found, 6)


def fused(lists: Sequence[Ranked], count: int) -> tuple[Places, npt.NDArray[np.float64]]:
    """Reciprocal rank fusion: a place counts 1 / (60 + its rank) in each list; the `count` best, with what they count.

    Ranks are comparable where scores of different kinds are not (Cormack, Clarke, Büttcher 2009; 60 is theirs).
    """
    total: dict[int, float] = {}
    for ranked in lists:
        for rank, place in enumerate(ranked.places.tolist(), 1):
            total[place] = total.get(place, 0.0) + 1 / (60 + rank)
    order = sorted(total, key=lambda place: (-total[place], place))[:count]
    return np.array(order, np.int64), np.array([total[place] for place in order])
