"""Rows in the order of their key, as `DataFrame.sort` has them, for a fraction of its time.
Belongs here: an order by whole numbers that stand for the values of a key. Not here: which tables are sorted.

Sorting by several columns compares encoded rows: a million rows by seven columns of text take 2.6 s of a processor. Few
different texts are as good as their places in the order of all of them, several small numbers and the beginning of a
text are one number of 64 bits, and the few rows that these numbers do not tell apart are sorted by themselves: 0.3 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

FEWEST_ROWS = 20_000
"""Fewer are sorted as they are: 10 ms."""
FEW = 8
"""Texts of which each is there so many times, on average, are known by their place in the order of them all."""
MOST_TIES = 0.1
"""Beyond this share of rows that their numbers do not tell apart, all rows are compared."""
BITS = 64


@dataclass(frozen=True)
class _Code:
    """Whole numbers (UInt64) of so many bits, in the order of the values of a column. Those of a text's beginning are
    equal also for texts that differ behind it: what follows them tells nothing more."""

    numbers: pl.Series
    bits: int
    is_beginning: bool = False


class _Uncodable(Exception):
    """Values of a type that no whole numbers stand for."""


def sorted_by(frame: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The frame's rows by the columns of its key, nulls first. Rows of one key are in any order."""
    if len(frame) < FEWEST_ROWS:
        return frame.sort(key)
    words = list[np.ndarray]()
    ties: np.ndarray | None = None
    try:
        for word in _packed(code for name in key for code in _codes(frame[name])):
            words.append(word.to_numpy())
            order = np.lexsort(words[::-1]) if len(words) > 1 else word.arg_sort().to_numpy()
            ties = _ties([one[order] for one in words])
            if ties.mean() <= MOST_TIES:
                break
    except _Uncodable:
        return frame.sort(key)
    if ties is None:
        return frame  # of one key
    if ties.mean() > MOST_TIES:
        return frame.sort(key)
    if ties.any():
        order = _untied(frame.select(key), order.copy(), ties)
    return frame[pl.Series(order.astype(np.uint32))]


def _codes(values: pl.Series) -> Iterator[_Code]:
    """What stands for a column: nothing where all its values are equal."""
    if values.dtype == pl.String:
        yield from _codes_of_text(values)
    elif values.dtype.is_signed_integer() or values.dtype.is_temporal() or values.dtype == pl.Boolean():
        numbers = values.cast(pl.UInt8) if values.dtype == pl.Boolean() else values.to_physical()
        least, most = numbers.min(), numbers.max()
        if not isinstance(least, int) or not isinstance(most, int):
            return  # all of them are missing
        if most - least > 2**62:
            raise _Uncodable
        if most > least or numbers.null_count():
            code = (numbers.cast(pl.Int64) - least + 1).fill_null(0).cast(pl.UInt64)
            yield _Code(code, (most - least + 1).bit_length())
    else:
        raise _Uncodable


def _codes_of_text(texts: pl.Series) -> Iterator[_Code]:
    about: Any = texts.approx_n_unique()
    if about * FEW <= len(texts):
        named = texts.cast(pl.Categorical(pl.Categories.random()))
        different = named.unique().drop_nulls()
        if len(different) > 1 or texts.null_count():
            ascending = different.to_physical()[different.cast(pl.String).arg_sort()].to_numpy()
            places = np.zeros(int(ascending.max(initial=0)) + 2, np.uint64)
            places[ascending] = np.arange(1, len(ascending) + 1)
            numbers = places[named.to_physical().fill_null(len(places) - 1).to_numpy()]
            yield _Code(pl.Series(numbers), len(ascending).bit_length())
        return
    least, most = str(texts.min()).encode(), str(texts.max()).encode()
    alike = next((n for n, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(len(least), len(most)))
    if texts.null_count():
        yield _Code(texts.is_not_null().cast(pl.UInt64), 1)
    padded = (texts.fill_null("") + "\0" * (alike + 8)).cast(pl.Binary)
    yield _Code(padded.bin.slice(alike, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big"), BITS, is_beginning=True)


def _packed(codes: Iterator[_Code]) -> Iterator[pl.Series]:
    """The codes as few numbers of 64 bits, in the same order, up to the first beginning of a text, of which as much
    as fits."""
    word: pl.Series | None = None
    used = 0
    for code in codes:
        numbers, bits = code.numbers, code.bits
        if code.is_beginning and BITS - used >= BITS // 2:
            numbers, bits = numbers // 2 ** (bits - (BITS - used)), BITS - used
        if word is not None and used + bits <= BITS:
            word = word * 2**bits + numbers
            used += bits
        else:
            if word is not None:
                yield word
            word, used = numbers, bits
        if code.is_beginning:
            break
    if word is not None:
        yield word


def _ties(ordered: Sequence[np.ndarray]) -> np.ndarray:
    """Of each row in order whether another has the same numbers."""
    same = np.ones(len(ordered[0]) - 1, bool)
    for word in ordered:
        same &= word[:-1] == word[1:]
    tied: np.ndarray = np.append(same, False) | np.append(False, same)
    return tied


def _untied(key: pl.DataFrame, order: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """The order with tied rows by their whole keys: they are in runs, and a key of a later run is a larger one."""
    rows = order[ties]
    order[ties] = rows[key[pl.Series(rows)].select(pl.arg_sort_by(key.columns)).to_series().to_numpy()]
    return order
