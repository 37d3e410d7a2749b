"""Concepts of texts, after RAKE (Rose and others, 2010): stop words and marks cut a text into candidate phrases.
Not here: whose texts they are (concepts), the stop words.

- A text is read in small letters, NFKC, its first 20,000 characters. A word begins with a letter; apostrophes and
  hyphens within it belong to it. Numbers, marks, direction characters, NUL and words of more than 40 characters cut
  like stop words.
- The language is the one of whose stop words the text has most; where several have as many, those of each count.
- A run of words without a cut is a candidate. Of up to three words it is a concept as it stands; each of its words with
  three letters or more is one too, so that “the price matters” and “a fair price” meet."""

from __future__ import annotations

import polars as pl

from data_platform.domains.research.contracts.graph import MOST_WORDS
from data_platform.domains.research.contracts.search import LONGEST_TEXT
from data_platform.domains.research.stop_words import STOP_WORDS

LONGEST_WORD = 40
SHORTEST_CONCEPT = 3
"""Letters."""
TOKEN = r"\p{L}[\p{L}\p{M}\p{N}]*(?:['-][\p{L}\p{N}]+)*|\p{N}+|[^\s\p{L}\p{N}]|[\n\r]"


def key_phrases(texts: pl.LazyFrame) -> pl.LazyFrame:
    """In: `place` (different for each text) and `text`, which is not null. Out: `place`, `concept`, `mentions`: each
    concept of a text once, and how often the text has it."""
    words = _tokens(texts).with_columns(_run=pl.col("_cuts").cum_sum()).filter(~pl.col("_cuts"))
    runs = words.group_by("place", "_run", maintain_order=True).agg(pl.col("_token"))
    phrases = runs.filter(pl.col("_token").list.len().is_between(2, MOST_WORDS)).select(
        "place", concept=pl.col("_token").list.join(" ")
    )
    single = words.select("place", concept="_token").filter(pl.col("concept").str.len_chars() >= SHORTEST_CONCEPT)
    return pl.concat([phrases, single]).group_by("place", "concept").agg(mentions=pl.len().cast(pl.Int64))


def _tokens(texts: pl.LazyFrame) -> pl.LazyFrame:
    """Words and marks in order; `_cuts` where one ends a run. The first of a text always does: it is a mark of ours."""
    plain = pl.col("text").str.slice(0, LONGEST_TEXT).str.normalize("NFKC").str.to_lowercase()
    plain = plain.str.replace_all("[’ʼ]", "'").str.replace_all("[‐‑]", "-")
    tokens = (
        texts.select("place", _token=("." + plain).str.extract_all(TOKEN))
        .explode("_token")
        .with_columns(pl.col("_token").is_in(list(words)).alias(language) for language, words in STOP_WORDS.items())
    )
    counts = {language: pl.col(language).sum().over("place") for language in STOP_WORDS}
    most = pl.max_horizontal(counts.values())
    stops = pl.any_horizontal(pl.col(language) & (count == most) for language, count in counts.items())
    is_word = pl.col("_token").str.contains(r"^\p{L}") & (pl.col("_token").str.len_chars() <= LONGEST_WORD)
    return tokens.select("place", "_token", _cuts=stops | ~is_word)
