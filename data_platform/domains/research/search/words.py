"""Finding texts by their words: an inverted index with BM25 weights. Not here: meaning (nearest), putting both together
(index).

A word is what Unicode calls letters and digits, in small letters without marks, cut to its first letters: that is a
crude stemmer, and one for every language; Polish, where a word has a dozen endings, has no other in a wheel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

Scores = npt.NDArray[np.float32]
STEM = 6
"""Letters of a word that count."""
K1, B = 1.2, 0.75
"""How soon a repeated word adds no more, and how much a long text has to pay: BM25's usual ones."""
MOST_WORDS = 64
"""Different words of a query that count: the first ones."""


def stems(texts: pl.Expr) -> pl.Expr:
    """Texts → lists of their words' stems, in order, with repetitions."""
    plain = texts.str.to_lowercase().str.normalize("NFKD").str.replace_all(r"\p{M}+", "").str.replace_all("ł", "l")
    return plain.str.extract_all(r"[\p{L}\p{N}]+").list.eval(pl.element().str.slice(0, STEM))


class WordIndex:
    """The words of so many texts, which are known by their place from 0."""

    def __init__(self, texts: pl.Series) -> None:
        """Some 1.5 µs a word. Texts must not be null."""
        self.texts = len(texts)
        words = (
            pl.LazyFrame({"text": texts})
            .select(stems(pl.col("text")).alias("stem"))
            .with_row_index("place")
            .explode("stem")
            .drop_nulls("stem")
        )
        counted = words.group_by("stem", "place").agg(times=pl.len()).sort("stem", "place").collect()
        lengths = np.zeros(self.texts, np.float64)
        by_text = counted.group_by("place").agg(pl.col("times").sum())
        lengths[by_text["place"].to_numpy()] = by_text["times"].to_numpy()
        found_in = counted.group_by("stem", maintain_order=True).len()
        numbers = found_in["len"].to_numpy().astype(np.int64)
        self._starts = np.concatenate([[0], np.cumsum(numbers)])
        self._known = {stem: number for number, stem in enumerate(found_in["stem"])}
        self._places = counted["place"].to_numpy().astype(np.int64)
        self._weights = _weights(counted["times"].to_numpy(), lengths[self._places], lengths, numbers)

    def scores(self, query: str) -> Scores:
        """(texts,): how well each answers the query by its words; 0 for none of them."""
        total = np.zeros(self.texts, np.float32)
        for word in query_stems(query):
            number = self._known.get(word)
            if number is not None:
                here = slice(self._starts[number], self._starts[number + 1])
                total[self._places[here]] += self._weights[here]
        return total


def query_stems(query: str) -> Sequence[str]:
    """The different stems of a query, in order."""
    found: list[str] = pl.select(stems(pl.lit(query)).alias("stem")).item().to_list()
    return list(dict.fromkeys(found))[:MOST_WORDS]


def _weights(
    times: npt.NDArray[np.uint32],
    length: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.float64],
    found_in: npt.NDArray[np.int64],
) -> Scores:
    """BM25 of each (word, text): rare words count more, repeated ones less and less, long texts less."""
    rarity = np.log1p((len(lengths) - found_in + 0.5) / (found_in + 0.5))
    mean = lengths.mean() if lengths.any() else 1.0
    damped = times * (K1 + 1) / (times + K1 * (1 - B + B * length / mean))
    return (np.repeat(rarity, found_in) * damped).astype(np.float32)
